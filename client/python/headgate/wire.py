"""Frames of the protocol: encoding what a client sends, decoding what the gateway sends.

One frame is one msgpack array ``[version, type, id, ...]``; see PROTOCOL.md, "Frames". Nothing here
knows a socket.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Union

import msgpack

from . import values
from .errors import CODES, InvalidRequest, ProtocolError, TooLarge

VERSION = 1
HELLO, WELCOME, REQUEST, DATA, PART, REPLY, CREDIT, CANCEL, PING, PONG, GOAWAY = range(1, 12)
DEPTH_MAX = 128
MESSAGE_MAX = 20 << 20


class Welcome(NamedTuple):
    id: int
    version: int
    limits: Dict[str, int]
    heartbeat_ms: int
    stores: List[Any]


class Part(NamedTuple):
    id: int
    sequence: int
    body: Any


class Reply(NamedTuple):
    """The one answer of a request: ``code`` (str), ``meta`` (dict), ``body``."""

    id: int
    code: str
    meta: Dict[str, Any]
    body: Any


class Credit(NamedTuple):
    id: int
    sequence: int


class Ping(NamedTuple):
    id: int


class Pong(NamedTuple):
    id: int


class Goaway(NamedTuple):
    drain_ms: int


Incoming = Union[Welcome, Part, Reply, Credit, Ping, Pong, Goaway]


def pack(value: Any) -> bytes:
    """One value as msgpack, with the protocol's ext types; refuses what has no exact form."""
    try:
        return msgpack.packb(value, default=values.to_wire, use_bin_type=True, strict_types=True)
    except (OverflowError, ValueError, TypeError) as e:
        raise InvalidRequest(f"this value cannot be sent: {e}", code="invalid") from e


def _unpackb(data: bytes, timestamp: int) -> Any:
    return msgpack.unpackb(data, ext_hook=values.from_wire, raw=False, strict_map_key=False,
                           timestamp=timestamp)


def unpack(data: bytes) -> Any:
    """The value in ``data``; raises ProtocolError when it is not exactly one well-formed value."""
    try:
        try:
            return _unpackb(data, 3)
        except (OverflowError, OSError):  # an instant that no datetime holds: all as msgpack.Timestamp
            return _unpackb(data, 0)
    except Exception as e:  # msgpack raises many kinds; all mean the same here
        raise ProtocolError(f"the gateway sent what is no msgpack of this protocol: {e}",
                            code="internal", outcome="unknown") from e


def hello(id: int, name: str, version: str, pongs: bool) -> bytes:
    return pack([VERSION, HELLO, id, name, version, VERSION, VERSION, pongs])


def request(id: int, sent_us: int, store: str, verb: str, options: Dict[str, Any], body: Any,
            message_max: int = MESSAGE_MAX) -> bytes:
    frame = pack([VERSION, REQUEST, id, sent_us, store, verb, options, body])
    if len(frame) > message_max:
        raise TooLarge(f"the request has {len(frame)} bytes, the gateway takes {message_max}",
                       code="too_large")
    return frame


def data(id: int, sequence: int, last: bool, body: Any) -> bytes:
    return pack([VERSION, DATA, id, sequence, last, body])


def credit(id: int, sequence: int) -> bytes:
    return pack([VERSION, CREDIT, id, sequence])


def cancel(id: int) -> bytes:
    return pack([VERSION, CANCEL, id])


def ping(id: int) -> bytes:
    return pack([VERSION, PING, id])


def pong(id: int) -> bytes:
    return pack([VERSION, PONG, id])


def _uint(v: Any, what: str) -> int:
    if isinstance(v, bool) or not isinstance(v, int) or v < 0:
        raise ProtocolError(f"{what} must be an unsigned integer, got {type(v).__name__}",
                            outcome="unknown")
    return v


def _map(v: Any, what: str) -> Dict[str, Any]:
    if not isinstance(v, dict):
        raise ProtocolError(f"{what} must be a map, got {type(v).__name__}", outcome="unknown")
    return v


_FIELDS = {WELCOME: 7, PART: 5, REPLY: 6, CREDIT: 4, PING: 3, PONG: 3, GOAWAY: 4}


def decode(frame: bytes) -> Optional[Incoming]:
    """What the gateway sent; None for a type that this version does not know (ignored)."""
    f = unpack(frame)
    if not isinstance(f, list) or len(f) < 3:
        raise ProtocolError("a frame must be an array of three or more", outcome="unknown")
    if f[0] != VERSION:
        raise ProtocolError(f"frame of protocol version {f[0]!r}, this client speaks {VERSION}",
                            outcome="unknown")
    kind, id = _uint(f[1], "the frame's type"), _uint(f[2], "the frame's id")
    if kind not in _FIELDS:
        if kind in (HELLO, REQUEST, DATA, CANCEL):
            raise ProtocolError(f"frame type {kind} is a client's", outcome="unknown")
        return None
    if len(f) != _FIELDS[kind]:
        raise ProtocolError(f"frame type {kind} has {_FIELDS[kind]} fields, got {len(f)}",
                            outcome="unknown")
    if kind == WELCOME:
        if not isinstance(f[6], list):
            raise ProtocolError("the welcome's stores must be an array", outcome="unknown")
        return Welcome(id, _uint(f[3], "version"), _map(f[4], "limits"), _uint(f[5], "heartbeat"), f[6])
    if kind == PART:
        return Part(id, _uint(f[3], "the part's sequence"), f[4])
    if kind == REPLY:
        code = _uint(f[3], "the reply's code")
        if code >= len(CODES):
            raise ProtocolError(f"unknown code {code}", outcome="unknown")
        return Reply(id, CODES[code], _map(f[4], "meta"), f[5])
    if kind == CREDIT:
        return Credit(id, _uint(f[3], "the credit"))
    if kind == PING:
        return Ping(id)
    if kind == PONG:
        return Pong(id)
    return Goaway(_uint(f[3], "the drain deadline"))
