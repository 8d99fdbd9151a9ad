"""The parts of a streamed reply, taken as the reader asks for them."""

from __future__ import annotations

import time
from typing import Any, Dict, Iterator, Optional

from .connection import Connection, Pending
from .errors import DeadlineExceeded, HeadgateError, InvalidRequest, error_for

GRACE = 0.25  # seconds that this end waits longer than it has told the gateway to
STALL = 60.0  # seconds without a part before this end gives a stream up


class Stream:
    """The parts of a streamed reply, in order; ends with the reply. Close it to stop early: what
    iterates over it then raises InvalidRequest.

    A stream of a transaction that is closed early is read to its end and dropped, since a cancel
    would roll the transaction back.
    """

    def __init__(self, conn: Connection, pending: Pending, credit: int,
                 tx: Optional[int] = None) -> None:
        self._conn = conn
        self._pending = pending
        self._credit = credit
        self._window = credit
        self._taken = 0
        self._ended = False
        self._cut = False  # before its end
        self.meta: Dict[str, Any] = {}
        self.connection = conn
        self.tx = tx
        if tx is not None:
            conn.open_streams.add(self)

    def __iter__(self) -> Iterator[Any]:
        """Yields the body of each part, then the reply's body when it has one."""
        try:
            while not self._ended:
                body = self._next()
                if body is not None:
                    yield body
            if self._cut:
                raise InvalidRequest("this stream was closed before its end", code="invalid",
                                     outcome="unknown")
        finally:
            self.close()

    def _next(self) -> Any:
        p = self._pending
        limit = time.monotonic() + STALL
        while not p.parts:
            if self._ended:
                return None
            if p.error is not None:
                self._ended = True
                raise p.error
            if p.reply is not None:
                self._ended = True
                self.meta.update(p.reply.meta)
                if p.reply.code != "ok":
                    raise error_for(p.reply.code, p.reply.meta, p.reply.body)
                return p.reply.body
            left = limit - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded("the gateway sent no further part in time", code="deadline",
                                       outcome="unknown")
            self._conn.pump(min(left, 1.0), p)  # another thread may end it, and take in what comes
        part = p.parts.popleft()
        self._taken += 1
        if p.reply is None and p.error is None and self._credit - self._taken <= self._window // 2:
            self._credit = self._taken + self._window
            self._conn.send_credit(p, self._credit)
        return part.body

    def close(self) -> None:
        """Ends the stream; the store stops sending. Nothing happens when it has ended already."""
        if self._ended:
            return
        self._cut = True
        # A garbage collector may come here while this thread takes frames in.
        if self.tx is None or self._conn.inside():
            return self.abandon()
        try:
            while not self._ended:
                self._next()
        except HeadgateError:
            self.abandon()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Cancels it. In a transaction: that is rolled back by it."""
        if not self._ended:
            self._ended = self._cut = True
            self._conn.give_up(self._pending)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()
