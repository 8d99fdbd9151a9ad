"""Notifications of a SQL store as they come: what PostgreSQL calls LISTEN and NOTIFY."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, Iterator, NamedTuple, Optional, Sequence

from .checks import check_timeout
from .errors import (Cancelled, DeadlineExceeded, Draining, HeadgateError, InvalidRequest, ProtocolError,
                     error_for)

if TYPE_CHECKING:
    from .client import Client

# Parts that may come ahead of the reader. While nothing is notified one comes every few seconds, so
# this is also how long a program may be busy with one notification: about a quarter of an hour.
_CREDIT = 256
_FETCH = 1000  # notifications in one part


class Notify(NamedTuple):
    """One notification; ``pid`` is the process of the server that sent it."""

    channel: str
    payload: str
    pid: int


class Listener:
    """See :meth:`headgate.Sql.listen`. Iterate, or use ``get()`` or ``notifies()``.

    It has a connection to the gateway of its own, so it may be made in one thread and read in
    another; ``close()`` may be called from any thread, and from a signal handler. It does not
    survive ``fork()``.

    **What is lost.** From the moment ``listen()`` returns until an error is raised no notification
    is left out, doubled or out of order. When an error is raised the subscription is over, and what
    is notified until the next ``listen()`` is gone: the server keeps nothing for those who are not
    there. So listen again first, and then look at the tables themselves. Nothing here does that
    silently. Once raised, the error is raised by every further call.

    Raises (all are :class:`headgate.HeadgateError`):
        Unavailable: the server, the gateway or a connection to one of them went away.
        Draining: the gateway is being stopped.
        Overloaded: this program was so far behind that notifications would have been lost.
        Cancelled: it took nothing for too long, or the operator ended it.
        DeadlineExceeded: the gateway's configuration was changed ``stream_max`` ago (an hour, unless
            configured), or its passwords were: what let this program in may be gone.
    """

    def __init__(self, client: "Client", store: str, channels: Sequence[str], read_only: bool,
                 timeout: float) -> None:
        if not channels:
            raise InvalidRequest("listen needs a channel", code="invalid")
        check_timeout(timeout)
        self.channels = tuple(channels)
        self._ready: Deque[Notify] = deque()
        self._reader = threading.Lock()
        self._closed = False
        self._error: Optional[HeadgateError] = None
        self._credit, self._taken = _CREDIT, 0
        deadline = time.monotonic() + timeout
        self._conn = client.new_connection(deadline)
        try:
            options: Any = {"timeout_ms": max(1, int(timeout * 1000)), "fetch": _FETCH,
                            "credit": _CREDIT}
            if read_only:
                options["read_only"] = True
            pending = self._conn.send_request(store, "listen", options, {"channels": list(channels)})
            if pending is None:
                raise self._conn.lost()
            self._pending = pending
            while self._taken == 0:  # the first part says that the channels are listened to
                if not self._step(deadline + 0.25) and time.monotonic() >= deadline + 0.25:
                    raise DeadlineExceeded("the store did not begin to listen in time",
                                           code="deadline", outcome="unknown")
        except BaseException:
            self.close()
            raise

    # -- reading -----------------------------------------------------------------------------

    def get(self, timeout: Optional[float] = None) -> Optional[Notify]:
        """The next notification, or None when none came within ``timeout`` seconds (None: waits for
        ever). Raises Cancelled when the listener has been closed."""
        note = self._next(timeout)
        if note is None and self._closed:
            raise Cancelled("the listener was closed", code="cancelled", outcome="applied")
        return note

    def notifies(self, *, timeout: Optional[float] = None,
                 stop_after: Optional[int] = None) -> Iterator[Notify]:
        """Notifications until ``timeout`` seconds have passed, ``stop_after`` have come, or the
        listener is closed. (As psycopg's ``Connection.notifies``.)"""
        until = None if timeout is None else time.monotonic() + timeout
        count = 0
        while stop_after is None or count < stop_after:
            note = self._next(None if until is None else until - time.monotonic())
            if note is None:
                return
            count += 1
            yield note

    def __iter__(self) -> Iterator[Notify]:
        """Notifications as they come; ends when the listener is closed."""
        return self

    def __next__(self) -> Notify:
        note = self._next(None)
        if note is None:
            raise StopIteration
        return note

    # -- its end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the subscription. Who waits for a notification in another thread is woken: iteration
        ends there."""
        self._closed = True
        self._conn.end("the listener was closed")

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Listener({', '.join(map(repr, self.channels))})"

    # -- underneath --------------------------------------------------------------------------

    def _next(self, timeout: Optional[float]) -> Optional[Notify]:
        """None: nothing came in time, or it was closed."""
        until = None if timeout is None else time.monotonic() + timeout
        if not self._reader.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return None
        try:
            while not self._closed:
                if self._ready:
                    return self._ready.popleft()
                if not self._step(until) and until is not None and time.monotonic() >= until:
                    return None
            return None
        finally:
            self._reader.release()

    def _step(self, until: Optional[float]) -> bool:
        """Takes in one part, or waits for something to come. False: nothing came until then."""
        if self._error is not None:
            raise self._error
        p = self._pending
        if p.parts:
            rows = p.parts.popleft().body.get("rows") or ()
            self._taken += 1
            self._ready.extend(Notify(*row) for row in rows)
            if p.reply is None and p.error is None and self._credit - self._taken <= _CREDIT // 2:
                self._credit = self._taken + _CREDIT
                self._conn.send_credit(p, self._credit)
            return True
        if p.error is not None or p.reply is not None:
            if self._closed:
                return False
            self._error = p.error or self._ended(p.reply)
            raise self._error
        if self._conn.going_away:  # it waits for what is in flight, and this would never end
            self._error = Draining("the gateway is being stopped: listen again, to another one",
                                   code="draining", outcome="applied")
            self._conn.end("the gateway is draining")
            raise self._error
        if self._conn.pump(0):
            return True
        left = self._conn.check_silence()
        if until is not None:
            left = min(left, until - time.monotonic())
        return self._conn.pump(max(0.0, left))

    @staticmethod
    def _ended(reply: Any) -> HeadgateError:
        if reply.code == "ok":
            return ProtocolError("the gateway ended a subscription with ok", outcome="unknown")
        return error_for(reply.code, reply.meta, reply.body)
