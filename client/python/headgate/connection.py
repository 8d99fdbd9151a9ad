"""One connection to a gateway: a DEALER socket, from hello to disconnect.

libzmq would reconnect silently, and then a request of an hour ago runs and the next call gets the
last one's answer. So reconnection is off; a disconnect is seen on the socket's monitor, ends this
connection for good, and fails what was in flight with the outcome that is known.

A connection is made for one thread, but what it streams may be read in another, and a garbage
collector may find a generator anywhere. So one thread at a time waits in pump() and alone touches the
sockets meanwhile; others leave it their frames and are told when something has come. Nothing of it
survives fork().
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
import weakref
from collections import deque
from typing import Any, Deque, Dict, Optional

import zmq
from zmq.utils.monitor import recv_monitor_message

from . import wire
from .address import Address
from .errors import (HeadgateError, InvalidRequest, ProtocolError, TooLarge, Unauthenticated,
                     Unavailable, error_for)

_ENDED = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_EVENTS = (_ENDED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
           | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
_SUSPICION = 2.0    # seconds for an answer, of a gateway that left a request without one
_POLL_MAX = 3600.0  # seconds of one poll; what waits longer polls again
_LOOK = 1.0         # seconds until a thread that waits for another looks itself


class Pending:
    """One request in flight: parts that have come, upload credit, and the reply once it is there.

    The connection holds it weakly: what nobody waits for any more, whatever exception came between,
    is cancelled.
    """

    def __init__(self, conn: "Connection", id: int) -> None:
        self._conn = conn
        self.id = id
        self.news = False  # something has come since its reader looked
        self.parts: Deque[wire.Part] = deque()
        self.parts_seen = 0
        self.upload_credit = 0
        self.reply: Optional[wire.Reply] = None
        self.done = False  # nobody waits for it any more

    @property
    def error(self) -> Optional[HeadgateError]:
        """That its connection was lost before the reply."""
        if self._conn.closed is None or self.reply is not None:
            return None
        return Unavailable(f"the connection to {self._conn.address} was lost while the request was in "
                           f"flight: {self._conn.closed}", code="unavailable", outcome="unknown")

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter is going away
            self._conn.give_up(self)


class Connection:
    def __init__(self, address: Address, name: str, version: str, timeout: float) -> None:
        """Connects and says hello; raises Unavailable, Unauthenticated or ProtocolError."""
        self.address = address
        self.pid = os.getpid()
        self.closed: Optional[str] = None
        self.going_away = False
        self.limits: Dict[str, int] = {}
        self.stores: Dict[str, Any] = {}
        self._ids = itertools.count(1)
        self._pending: "weakref.WeakValueDictionary[int, Pending]" = weakref.WeakValueDictionary()
        self.heard = time.monotonic()         # when a frame came last
        self.heartbeat = 10.0                 # seconds of silence, then the gateway is asked
        self._asked: Optional[float] = None   # when, if it was
        self._lock = threading.RLock()         # of all below
        self._came = threading.Condition(self._lock)  # something has come, or pump() is free
        self._pumped_by: Optional[int] = None  # the thread that waits in pump()
        self._ending: Optional[str] = None     # why another thread wants it to end
        self._left: Deque[bytes] = deque()     # frames to be sent, by the thread that pumps if one does
        self.open_streams: "weakref.WeakSet[Any]" = weakref.WeakSet()  # of transactions
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._monitor: Optional[zmq.Socket[bytes]] = None
        try:
            self._open(name, version, timeout)
        except zmq.ZMQError as e:  # an endpoint or key that libzmq does not take
            self.close("the connection could not be opened")
            raise InvalidRequest(f"{address}: {e}", code="invalid") from e
        except BaseException:
            self.close("the connection could not be opened")
            raise

    def _open(self, name: str, version: str, timeout: float) -> None:
        s = self._socket
        s.setsockopt(zmq.LINGER, 0)
        s.setsockopt(zmq.RECONNECT_IVL, -1)
        s.setsockopt(zmq.IPV6, 1)
        s.setsockopt(zmq.SNDHWM, 0)
        s.setsockopt(zmq.RCVHWM, 0)
        # Later than the deadline below, which says what happened: a handshake that took too long looks
        # like one that failed.
        s.setsockopt(zmq.HANDSHAKE_IVL, int(timeout * 1000) + 1000)
        s.setsockopt(zmq.CONNECT_TIMEOUT, int(timeout * 1000) + 1000)
        s.setsockopt(zmq.HEARTBEAT_IVL, 5000)
        s.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15000)
        if self.address.server_key:
            s.curve_serverkey = self.address.server_key
            s.curve_publickey = self.address.public_key
            s.curve_secretkey = self.address.secret_key
        self._monitor = s.get_monitor_socket(_EVENTS)
        self._monitor.setsockopt(zmq.LINGER, 0)
        self._poller = zmq.Poller()
        self._poller.register(s, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._poller.register(self._woken, zmq.POLLIN)
        self._welcome: Optional[wire.Welcome] = None
        s.connect(self.address.endpoint)
        pending = self._new_pending(next(self._ids))
        with contextlib.suppress(zmq.Again):  # cut already: the monitor tells, a send would wait for ever
            s.send(wire.hello(pending.id, name, version, False), zmq.DONTWAIT)
        deadline = time.monotonic() + timeout
        while self._welcome is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable(f"no gateway answered at {self.address} within {timeout:.3g} s",
                                  code="unavailable")
            self.pump(left)
            if self.closed:
                if "authentication" in self.closed:
                    raise Unauthenticated(f"{self.address}: {self.closed}", code="unauthenticated")
                raise Unavailable(f"cannot reach a gateway at {self.address}: {self.closed}",
                                  code="unavailable")
            if pending.reply is not None:
                raise error_for(pending.reply.code, pending.reply.meta)
        if self._welcome.version != wire.VERSION:
            raise ProtocolError(f"the gateway chose protocol version {self._welcome.version}")
        pending.done = True
        self.limits = self._welcome.limits
        self.heartbeat = self._welcome.heartbeat_ms / 1000
        self.stores = {s[0]: s for s in self._welcome.stores if isinstance(s, list) and s}

    def _new_pending(self, id: int) -> Pending:
        pending = self._pending[id] = Pending(self, id)
        return pending

    @property
    def message_max(self) -> int:
        return self.limits.get("message_max", wire.MESSAGE_MAX)

    def alive(self) -> bool:
        """Looks, without waiting, whether the other end is still there."""
        if self.closed is None and self.pid == os.getpid():
            self.pump(0)
            if self._asked is not None:
                if self.heard > self._asked:
                    self._asked = None
                elif time.monotonic() > self._asked + min(self.heartbeat, _SUSPICION):
                    self.end("the gateway has gone silent")
        return self.closed is None and self.pid == os.getpid()

    def send_request(self, store: str, verb: str, options: Dict[str, Any],
                     body: Any) -> Optional[Pending]:
        """None when nothing was handed over: see lost()."""
        id = next(self._ids)
        frame = wire.request(id, time.monotonic_ns() // 1000, store, verb, options, body,
                             self.message_max)
        pending = self._new_pending(id)
        return pending if self._send(frame) else None

    def send_data(self, pending: Pending, sequence: int, last: bool, body: Any) -> None:
        frame = wire.data(pending.id, sequence, last, body)
        if len(frame) > self.message_max:
            raise TooLarge(f"a piece of the upload has {len(frame)} bytes, the gateway takes "
                           f"{self.message_max}: send fewer rows a piece", code="too_large",
                           outcome="rolled_back")
        if not self._send(frame):
            raise self.lost("rolled_back")

    def send_credit(self, pending: Pending, sequence: int) -> None:
        self._send(wire.credit(pending.id, sequence))

    def suspect(self, since: float) -> None:
        """Something sent at ``since`` was not answered in time. When nothing else has come either
        the gateway may be stopped: it is asked, and alive() looks for the answer."""
        if self.heard < since and self._asked is None:
            self._asked = time.monotonic()
            self._send(wire.ping(0))

    def check_silence(self) -> float:
        """Asks a gateway that has said nothing for a heartbeat whether it is there; gives it up when
        it does not answer for another. Returns the seconds until the next look.

        REQUIRES: what has come has been taken in.
        """
        now = time.monotonic()
        if self._asked is not None and self._asked < self.heard:
            self._asked = None
        left = (self.heard if self._asked is None else self._asked) + self.heartbeat - now
        if left > 0:
            return left
        if self._asked is not None:
            self.end("the gateway has gone silent")
            return 0
        self._asked = now
        self._send(wire.ping(0))
        return self.heartbeat

    def give_up(self, pending: Pending) -> None:
        """Cancels what nobody waits for any more (deadline, Ctrl-C), so that the store stops too.
        What still comes for it is dropped."""
        if pending.reply is None and not pending.done and self.pid == os.getpid():
            pending.done = True
            self._send(wire.cancel(pending.id))
        self._pending.pop(pending.id, None)

    def end_streams(self, tx: Optional[int], keep: bool) -> None:
        """Ends what is open of a transaction's streams, before the transaction ends: read to their
        ends when it is to be kept, else cancelled."""
        for stream in list(self.open_streams):
            if stream.tx == tx:
                stream.close() if keep else stream.abandon()
                self.open_streams.discard(stream)

    def inside(self) -> bool:
        """This thread is in pump(): a garbage collector or a signal handler asks."""
        return self._pumped_by == threading.get_ident()

    def lost(self, outcome: str = "not_sent") -> Unavailable:
        return Unavailable(f"the connection to {self.address} was lost: {self.closed or self._ending}",
                           code="unavailable", outcome=outcome)

    def _send(self, frame: bytes) -> bool:
        """Sends a frame behind those that are left, or leaves it to the thread that waits in pump().
        False when the connection was lost before."""
        self._check_process()
        me = threading.get_ident()
        with self._lock:
            if self.closed is not None or self._ending is not None:
                return False
            self._left.append(frame)
            if self._pumped_by in (None, me):
                return self._send_left()
            self._wake_up()
            return True

    def _send_left(self) -> bool:
        """REQUIRES: the lock, and no other thread in pump()."""
        while self._left:
            try:
                self._socket.send(self._left.popleft(), zmq.DONTWAIT)
            except zmq.ZMQError:  # there is no limit but the other end's absence
                self.close("the gateway closed it")
                return False
        return True

    def _check_process(self) -> None:
        if self.pid != os.getpid():
            raise InvalidRequest("a transaction, stream or listener does not survive fork(): it "
                                 "belongs to the parent process", code="invalid")

    def pump(self, timeout: float, pending: Optional[Pending] = None) -> bool:
        """Waits up to ``timeout`` seconds for something to come and takes in all that is there; while
        another thread does that, waits for something to come for ``pending``.

        True when something came.
        """
        self._check_process()
        until = time.monotonic() + timeout
        me = threading.get_ident()
        leads = False
        try:
            with self._lock:
                while True:
                    if self.closed is not None:
                        return True
                    if pending is not None and pending.news:
                        pending.news = False
                        return True
                    if self._pumped_by in (None, me):
                        break
                    left = until - time.monotonic()
                    if left <= 0:
                        return False
                    self._came.wait(min(left, _LOOK))
                outer, self._pumped_by, leads = self._pumped_by, me, True
                self._send_left()
            return self._pump(until - time.monotonic())
        finally:
            if leads:
                self._pumped_by = outer  # first of all: a signal handler may raise anywhere below
                with self._lock:
                    if self._pumped_by in (None, me):
                        self._send_left()
                        if self._ending is not None:
                            self.close(self._ending)
                    self._came.notify_all()
                if outer is not None:  # in a signal handler inside pump(), which must look, too
                    self._wake_up()

    def _pump(self, timeout: float) -> bool:
        if self._ending is not None or self.closed is not None:
            return True
        events = dict(self._poller.poll(max(0, int(min(timeout, _POLL_MAX) * 1000 + 0.999))))
        if not events:
            return False
        if self._woken.fileno() in events:
            self._woken.recv(64)
            with self._lock:
                self._send_left()
        if self._ending is not None:
            return True
        try:
            while self.closed is None:
                try:
                    frames = self._socket.recv_multipart(zmq.DONTWAIT)
                except zmq.Again:
                    break
                if len(frames) != 1:
                    raise ProtocolError("the gateway sent a message of several frames")
                self._take(frames[0])
            if self._monitor in events:
                self._check_monitor()
        except ProtocolError as e:
            self.close(e.message)
        except BaseException:  # a signal handler's: what it hit is lost, and may be any call's
            self.close("interrupted while a frame was taken in")
            raise
        return True

    def _check_monitor(self) -> None:
        while self._monitor is not None:
            try:
                event = recv_monitor_message(self._monitor, zmq.DONTWAIT)
            except zmq.Again:
                return
            kind = event["event"]
            if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self.close("authentication failed: the gateway does not know this key")
            elif kind in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
                self.close("the handshake failed (wrong key, no gateway at this address, or it takes "
                           "no more clients)")
            elif kind == zmq.EVENT_CLOSED:
                self.close(self.address.why_not())
            elif kind in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CONNECT_RETRIED):
                self.close("the gateway closed it" if self._welcome is not None else
                           "the gateway closed it before it said welcome "
                           "(authentication failed, or it takes no more clients)")

    def _take(self, data: bytes) -> None:
        frame = wire.decode(data)
        self.heard = time.monotonic()
        if isinstance(frame, wire.Welcome):
            self._welcome = frame
        elif isinstance(frame, wire.Reply):
            pending = self._pending.get(frame.id)  # kept: a signal handler's call may overtake a part
            if pending is not None:
                pending.reply = frame
                pending.news = True
        elif isinstance(frame, wire.Part):
            pending = self._pending.get(frame.id)
            if pending is not None:
                if frame.sequence != pending.parts_seen + 1:
                    raise ProtocolError(f"part {frame.sequence} came after {pending.parts_seen}",
                                        outcome="unknown")
                pending.parts.append(frame)
                pending.parts_seen = frame.sequence
                pending.news = True
        elif isinstance(frame, wire.Credit):
            pending = self._pending.get(frame.id)
            if pending is not None:
                pending.upload_credit = max(pending.upload_credit, frame.sequence)
                pending.news = True
        elif isinstance(frame, wire.Ping):
            self._send(wire.pong(frame.id))
        elif isinstance(frame, wire.Goaway):
            self.going_away = True

    def _wake_up(self) -> None:
        try:
            self._wake.send(b"w")
        except OSError:  # closed meanwhile, or woken more often than it looked
            pass

    def end(self, reason: str) -> None:
        """As close(), from any thread or signal handler: whoever waits here is woken first."""
        if self.closed is not None or self.pid != os.getpid():
            return
        self._ending = reason
        self._wake_up()
        if self._pumped_by == threading.get_ident():
            return  # in a signal handler inside pump(), which closes it
        with self._lock:
            while self._pumped_by is not None and self.closed is None:
                self._came.wait(_LOOK)
            self.close(reason)

    def close(self, reason: str = "closed by the caller") -> None:
        """Ends the connection. Requests in flight fail with outcome ``unknown``.

        REQUIRES: no other thread is in pump().
        """
        if self.closed is not None:
            return
        self.closed = reason
        self._wake.close()
        self._woken.close()
        if self.pid != os.getpid():  # a forked child must not touch its parent's sockets
            return
        if self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._monitor = None
        self._socket.close(0)

    def __del__(self) -> None:
        """Of a thread that has ended, or of a client that nobody closed."""
        with contextlib.suppress(Exception):  # not opened, or the interpreter is going away
            self.close("given up")
