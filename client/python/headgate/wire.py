"""Frames of the protocol: encoding what a client sends, decoding what the gateway sends.

One frame is one msgpack array ``[version, type, id, ...]``; see PROTOCOL.md, "Frames". Nothing here
knows a socket.
"""

from __future__ import annotations

import re
import struct
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
        packed: bytes = msgpack.packb(value, default=values.to_wire, use_bin_type=True, strict_types=True)
        return packed
    except (OverflowError, ValueError, TypeError, struct.error) as e:
        raise InvalidRequest(f"this value cannot be sent: {e}", code="invalid") from e


# How an instant (ext -1) begins in its three forms: only frames that may hold one are walked for it.
_INSTANT = re.compile(rb"\xd6\xff|\xd7\xff|\xc7\x0c\xff")


# What msgpack and the readers raise; not Exception, which a signal handler's may be.
_NO_VALUE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
             struct.error, msgpack.UnpackException)


def unpack(data: bytes) -> Any:
    """The value in ``data``; raises ProtocolError when it is not exactly one well-formed value."""
    try:
        value = msgpack.unpackb(data, ext_hook=values.from_wire, raw=False, strict_map_key=False)
        return values.instants(value) if _INSTANT.search(data) else value
    except _NO_VALUE as e:
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


def _wrong(what: str) -> ProtocolError:
    return ProtocolError(f"a frame of the gateway: {what}", outcome="unknown")


def _uint(v: Any, what: str, least: int = 0, most: int = 2**64 - 1) -> int:
    if isinstance(v, bool) or not isinstance(v, int) or not least <= v <= most:
        raise _wrong(f"{what} must be an integer of {least} to {most}")
    return v


def _stores(v: Any) -> List[Any]:
    if not isinstance(v, list):
        raise _wrong("stores must be an array")
    for s in v:
        if (not isinstance(s, list) or len(s) != 3 or not isinstance(s[2], list)
                or not all(isinstance(t, str) for t in [s[0], s[1], *s[2]]) or not s[0] or not s[1]):
            raise _wrong("a store must be [name, kind, [verb, ...]]")
    return v


def _map(v: Any, what: str) -> Dict[str, Any]:
    if not isinstance(v, dict):
        raise _wrong(f"{what} must be a map, got {type(v).__name__}")
    return v


_FIELDS = {WELCOME: 7, PART: 5, REPLY: 6, CREDIT: 4, PING: 3, PONG: 3, GOAWAY: 4}


def decode(frame: bytes) -> Optional[Incoming]:
    """What the gateway sent; None for a type that this version does not know (ignored)."""
    f = unpack(frame)
    if not isinstance(f, list) or len(f) < 3:
        raise _wrong("it must be an array of three or more")
    if f[0] != VERSION or isinstance(f[0], bool):
        raise _wrong(f"protocol version {f[0]!r}, this client speaks {VERSION}")
    kind, id = _uint(f[1], "the frame's type"), _uint(f[2], "the frame's id")
    if kind not in _FIELDS:
        if kind in (HELLO, REQUEST, DATA, CANCEL):
            raise _wrong(f"type {kind} is a client's")
        return None
    if len(f) != _FIELDS[kind]:
        raise _wrong(f"type {kind} has {_FIELDS[kind]} fields, got {len(f)}")
    if kind == WELCOME:
        limits = {str(k): _uint(v, f"the limit {k}") for k, v in _map(f[4], "limits").items()}
        return Welcome(id, _uint(f[3], "version"), limits, _uint(f[5], "heartbeat_ms", 1, 2**32 - 1),
                       _stores(f[6]))
    if kind == PART:
        return Part(id, _uint(f[3], "the part's seq", 1), f[4])
    if kind == REPLY:
        return Reply(id, CODES[_uint(f[3], "the code", 0, len(CODES) - 1)], _map(f[4], "meta"), f[5])
    if kind == CREDIT:
        return Credit(id, _uint(f[3], "the credit"))
    if kind == PING:
        return Ping(id)
    if kind == PONG:
        return Pong(id)
    if id != 0:
        raise _wrong("a goaway has the id 0")
    return Goaway(_uint(f[3], "drain_ms", 0, 2**32 - 1))
