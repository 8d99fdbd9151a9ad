"""The client: finds a gateway, sends requests, waits for their answers.

A Client may be shared by threads and survives fork(): each thread (and each process) has a
connection of its own. A transaction belongs to the thread that began it.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Tuple

from . import wire
from .address import Address, addresses
from .checks import check_timeout
from .connection import Connection, Pending
from .errors import (OUTCOMES, DeadlineExceeded, HeadgateError, InvalidRequest, ProtocolError, Refused,
                     TransactionExpired, Unavailable, Unsupported, error_for)
from .stream import GRACE, Stream
from .version import __version__

if TYPE_CHECKING:
    from .documents import Documents
    from .key_value import KeyValue
    from .sql import Sql

_NOT_SENT = OUTCOMES.index("not_sent")
_STALL_UPLOAD = 30.0  # seconds without credit before this end gives an upload up


class Answer:
    """A reply: ``body``, and ``meta`` with what the gateway tells of it (see PROTOCOL.md, "Meta")."""

    __slots__ = ("body", "meta")

    def __init__(self, body: Any, meta: Dict[str, Any]) -> None:
        self.body = body
        self.meta = meta

    @property
    def rows_affected(self) -> Optional[int]:
        return self.meta.get("rows_affected")

    @property
    def last_id(self) -> Optional[int]:
        return self.meta.get("last_id")

    @property
    def replayed(self) -> bool:
        return bool(self.meta.get("replayed", False))

    def __repr__(self) -> str:
        return f"Answer(body={self.body!r}, meta={self.meta!r})"


class Client:
    """See :func:`connect`."""

    def __init__(self, targets: List[Address], *, timeout: float, name: str) -> None:
        self._addresses = targets
        self._timeout = timeout
        self._name = name
        self._local = threading.local()
        self._all: "weakref.WeakSet[Connection]" = weakref.WeakSet()
        self._closed = False
        self._next = 0
        self._guard = threading.RLock()  # of _all and _closed together
        self._pid = os.getpid()

    @property
    def timeout(self) -> float:
        """Seconds, of requests that give none."""
        return self._timeout

    # -- faces -------------------------------------------------------------------------------

    def sql(self, store: str) -> "Sql":
        """The SQL store ``store``: see :class:`headgate.Sql`."""
        from .sql import Sql
        return Sql(self, store)

    def documents(self, store: str) -> "Documents":
        """The document store ``store``: see :class:`headgate.Documents`."""
        from .documents import Documents
        return Documents(self, store)

    def key_value(self, store: str) -> "KeyValue":
        """The key-value store ``store``: see :class:`headgate.KeyValue`."""
        from .key_value import KeyValue
        return KeyValue(self, store)

    # -- requests ----------------------------------------------------------------------------

    def ping(self, store: str = "headgate", *, timeout: Optional[float] = None) -> float:
        """Seconds that a round trip took: to the gateway, or through it to ``store``."""
        begun = time.perf_counter()
        self.request(store, "ping", {}, timeout=timeout)
        return time.perf_counter() - begun

    def stores(self) -> Dict[str, Dict[str, Any]]:
        """The stores that this service may use: name -> {kind, verbs}."""
        return {s[0]: {"kind": s[1], "verbs": list(s[2])} for s in self.connection().stores.values()}

    def request(self, store: str, verb: str, body: Any = None, *, timeout: Optional[float] = None,
                read_only: bool = False, idempotent: bool = False, key: Optional[str] = None,
                tx: Optional[int] = None, trace: Optional[str] = None,
                connection: Optional[Connection] = None) -> Answer:
        """Sends one request and waits for its answer.

        ``timeout`` (seconds) covers everything: queueing, attempts and pauses inside the gateway.
        ``idempotent``: your word that repeating is harmless. ``key``: at most 255 bytes, makes a
        write apply once however often it is sent. This library never repeats what the gateway may
        have taken.

        Raises a subclass of :class:`headgate.HeadgateError`.
        """
        timeout = self._timeout if timeout is None else timeout
        options = _options(timeout, read_only, idempotent, key, tx, trace)
        deadline = time.monotonic() + timeout
        conn, pending = self._start(store, verb, options, {} if body is None else body, deadline,
                                    connection)
        reply = self._wait(conn, pending, deadline)
        return Answer(reply.body, reply.meta)

    def stream(self, store: str, verb: str, body: Any, *, fetch: int, timeout: Optional[float] = None,
               read_only: bool = False, tx: Optional[int] = None, credit: int = 4,
               connection: Optional[Connection] = None) -> "Stream":
        """Sends a request whose reply comes in parts of up to ``fetch`` rows, and waits for the first.

        ``timeout`` counts until that.
        """
        timeout = self._timeout if timeout is None else timeout
        if fetch < 1:
            raise InvalidRequest(f"fetch must be 1 or more, got {fetch}", code="invalid")
        options = _options(timeout, read_only, False, None, tx, None)
        options["fetch"] = fetch
        options["credit"] = credit
        conn, pending = self._start(store, verb, options, body, time.monotonic() + timeout, connection)
        return Stream(conn, pending, credit, tx)

    def upload(self, store: str, verb: str, body: Any, pieces: Iterable[Any], *,
               timeout: Optional[float] = None, tx: Optional[int] = None,
               connection: Optional[Connection] = None) -> Answer:
        """Sends a request and then its data, piece by piece, as fast as the gateway takes them.

        ``timeout`` counts from the last piece; before that the upload ends when the gateway takes
        nothing for 30 s. An exception in ``pieces`` cancels the upload, which undoes all of it.
        """
        timeout = self._timeout if timeout is None else timeout
        options = _options(timeout, False, False, None, tx, None)
        conn, pending = self._start(store, verb, options, body, time.monotonic() + timeout, connection,
                                    _STALL_UPLOAD)
        sequence = 0
        iterator = iter(pieces)
        try:
            while True:
                try:
                    piece, last = next(iterator), False
                except StopIteration:
                    piece, last = None, True
                sequence += 1
                self._await_credit(conn, pending, sequence)
                if pending.reply is not None or pending.error is not None:
                    break
                conn.send_data(pending, sequence, last, piece)
                if last:
                    break
            reply = self._wait(conn, pending, time.monotonic() + timeout)
            return Answer(reply.body, reply.meta)
        except BaseException:
            conn.give_up(pending)
            raise

    def begin(self, store: str, body: Any, read_only: bool,
              timeout: Optional[float]) -> Tuple[Connection, int]:
        """Begins a transaction; returns its connection and the id by which later requests name it."""
        timeout = self._timeout if timeout is None else timeout
        options = _options(timeout, read_only, False, None, None, None)
        deadline = time.monotonic() + timeout
        conn, pending = self._start(store, "begin", options, body, deadline, None)
        self._wait(conn, pending, deadline)
        return conn, pending.id

    def _start(self, store: str, verb: str, options: Dict[str, Any], body: Any, deadline: float,
               connection: Optional[Connection], patience: float = 0) -> Tuple[Connection, Pending]:
        """Sends a request and waits for what comes first for it, ``patience`` seconds if the deadline
        is sooner; elsewhere while a gateway begins nothing, unless it must be ``connection``."""
        while True:
            conn = self._connection_of(connection, options.get("tx"), deadline)
            if not patience:  # connecting took its part; an upload's time begins with its last piece
                options["timeout_ms"] = _milliseconds(deadline - time.monotonic())
            pending = conn.send_request(store, verb, options, body)
            if pending is None:  # it is sent on a new connection, while there is time
                if connection is not None or time.monotonic() >= deadline:
                    raise conn.lost()
                continue
            until = max(deadline, time.monotonic() + patience)
            self._await(conn, pending, until, first=True)
            reply = pending.reply
            if (reply is None or reply.code != "draining" or reply.meta.get("outcome") != _NOT_SENT
                    or pending.parts or connection is not None or "tx" in options
                    or not self._leave(conn, deadline)):
                return conn, pending

    # -- connections -------------------------------------------------------------------------

    def connection(self, deadline: Optional[float] = None) -> Connection:
        """This thread's connection; a new one when the last has ended."""
        if self._closed:
            raise InvalidRequest("this client has been closed", code="invalid")
        conn: Optional[Connection] = getattr(self._local, "connection", None)
        if conn is None or not conn.alive() or conn.going_away:
            if conn is not None and conn.closed is not None:
                self._next = self._addresses.index(conn.address) + 1
            # One that goes away stays open for the transactions and streams that still hold it.
            conn = self._local.connection = self.new_connection(deadline)
        return conn

    def new_connection(self, deadline: Optional[float] = None) -> Connection:
        """A connection that is nobody's yet."""
        deadline = time.monotonic() + self._timeout if deadline is None else deadline
        first: Optional[HeadgateError] = None
        begin = self._next  # other threads move it meanwhile
        for i in range(len(self._addresses)):
            at = (begin + i) % len(self._addresses)
            target = self._addresses[at]
            left = deadline - time.monotonic()
            if left <= 0:
                break
            share = left / (len(self._addresses) - i)
            try:
                conn = Connection(target, self._name, __version__, share)
            except (Unavailable, ProtocolError, Refused, Unsupported) as e:
                if first is None:
                    first = e
                else:
                    first.message += f"; {e.message}"
                continue
            self._next = at
            self._keep(conn)
            return conn
        raise first or Unavailable("no time was left to connect to a gateway", code="unavailable")

    def _connection_of(self, given: Optional[Connection], tx: Optional[int],
                       deadline: float) -> Connection:
        """The transaction's, or this thread's."""
        if given is None:
            return self.connection(deadline)
        if tx is not None and given.pid == os.getpid() and not given.alive():
            raise TransactionExpired(
                f"the transaction ended with its connection to {given.address}: {given.closed}",
                code="transaction_expired", outcome="rolled_back")
        return given

    def _keep(self, conn: Connection) -> None:
        if self._pid != os.getpid():  # the lock may have been held by a thread that is not here
            self._guard, self._all, self._pid = threading.RLock(), weakref.WeakSet(), os.getpid()
        with self._guard:
            closed = self._closed
            if not closed:
                self._all.add(conn)
        if closed:
            conn.close("the client was closed")
            raise InvalidRequest("this client has been closed", code="invalid")

    def _leave(self, conn: Connection, deadline: float) -> bool:
        """After `draining`: True when there is time to try again, elsewhere first."""
        conn.going_away = True  # not closed: a transaction or a stream may still be open there
        self._next = self._addresses.index(conn.address) + 1
        pause = random.uniform(0.02, 0.1)
        if time.monotonic() + pause >= deadline:
            return False
        time.sleep(pause)
        return True

    def _wait(self, conn: Connection, pending: Pending, deadline: float) -> wire.Reply:
        self._await(conn, pending, deadline)
        reply = pending.reply
        assert reply is not None
        if reply.code != "ok":
            raise error_for(reply.code, reply.meta, reply.body)
        return reply

    @staticmethod
    def _await(conn: Connection, pending: Pending, deadline: float, first: bool = False) -> None:
        """Waits for the reply, or for what comes ``first``: a part, or credit for an upload."""
        begun = time.monotonic()
        try:
            while pending.reply is None and not (first and (pending.parts or pending.upload_credit)):
                if pending.error is not None:
                    raise pending.error
                left = deadline + GRACE - time.monotonic()
                if left <= 0:
                    conn.suspect(begun)
                    raise DeadlineExceeded("the gateway did not answer in time", code="deadline",
                                           outcome="unknown")
                conn.pump(left, pending)
        except BaseException:
            conn.give_up(pending)
            raise

    @staticmethod
    def _await_credit(conn: Connection, pending: Pending, sequence: int) -> None:
        begun = time.monotonic()
        while pending.upload_credit < sequence and pending.reply is None and pending.error is None:
            left = begun + _STALL_UPLOAD - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded("the gateway took no more upload data", code="deadline",
                                       outcome="unknown")
            conn.pump(left, pending)

    def close(self) -> None:
        """Ends all connections, from any thread; what is in flight in other threads fails."""
        if self._pid != os.getpid():  # what it has are the parent's
            self._closed = True
            return
        with self._guard:
            self._closed = True
            connections = list(self._all)
        for conn in connections:
            conn.end("the client was closed")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({', '.join(map(str, self._addresses))})"


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _options(timeout: float, read_only: bool, idempotent: bool, key: Optional[str],
             tx: Optional[int], trace: Optional[str]) -> Dict[str, Any]:
    options: Dict[str, Any] = {"timeout_ms": _milliseconds(check_timeout(timeout))}
    if read_only:
        options["read_only"] = True
    if idempotent:
        options["idempotent"] = True
    if key is not None:
        options["key"] = key
    if tx is not None:
        options["tx"] = tx
    if trace is not None:
        options["trace"] = trace
    return options


def connect(url: Optional[str] = None, *, key_file: Optional[str] = None, timeout: float = 5.0,
            name: Optional[str] = None) -> Client:
    """A client of the gateway at ``url``.

    ``url`` is ``ipc:///path`` or ``tcp://host:port?server_key=KEY``, or several with commas between
    them, tried in turn. Without it HEADGATE_URL counts, then ipc:///run/headgate/headgate.sock.
    ``key_file`` (or HEADGATE_KEY_FILE): the client's key for tcp, as ``headgate keygen`` writes it.
    ``timeout``: seconds, the default of every request. ``name``: shown to the operator.

    The connection is made here, so a wrong address is told at once.
    """
    check_timeout(timeout)
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
    shown = (name or program).encode("utf-8", "replace")[:255].decode("utf-8", "ignore")
    client = Client(addresses(url, key_file), timeout=timeout, name=shown)
    client.connection(time.monotonic() + timeout)
    return client
