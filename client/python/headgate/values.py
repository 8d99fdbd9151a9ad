"""Values that plain msgpack lacks, as ext types: PROTOCOL.md, "Values".

| Python | wire |
|---|---|
| aware ``datetime.datetime`` | -1, an instant (comes back in UTC) |
| ``decimal.Decimal`` | 1, exact; NaN and infinities are a float |
| ``datetime.date`` | 2 |
| ``datetime.time``, :class:`TimeWithOffset` | 3 |
| naive ``datetime.datetime`` | 4, a local timestamp |
| :class:`Interval`, ``datetime.timedelta`` | 5 (comes back as Interval) |
| ``uuid.UUID`` | 6 |
| :class:`Json` | 7, JSON text |
| ``int`` beyond 64 bits | 8 |
| :class:`ObjectId`, :class:`Int64`, :class:`Bson` | 16 |
| :class:`RawBson` | 17 |

What Python's type cannot hold (infinity, years beyond 9999) comes as ``msgpack.ExtType`` or
``msgpack.Timestamp``: unchanged rather than wrong.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
import os
import re
import struct
import time
import uuid
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

import msgpack

_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_EPOCH = datetime.datetime(1970, 1, 1)
_EPOCH_UTC = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_DAY_US = 86_400_000_000
_DIGITS_MAX = 150_000
_HEX = re.compile(r"[0-9a-fA-F]{24}")
_SECONDS_MAX = 2_147_483_646 * 86_400
_MICROSECOND = datetime.timedelta(microseconds=1)
_SECOND = datetime.timedelta(seconds=1)


class Interval(NamedTuple):
    """Three parts that do not add up: a month has no fixed days, a day no fixed hours."""

    months: int = 0
    days: int = 0
    microseconds: int = 0


class TimeWithOffset(NamedTuple):
    """A time of day at ``offset`` seconds east of UTC."""

    time: datetime.time
    offset: int


class Json:
    """JSON text, as a store keeps it. ``value()`` parses; ``Json.of(x)`` formats."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def of(cls, value: Any) -> "Json":
        return cls(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))

    def value(self) -> Any:
        return json.loads(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Json) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Json({self.text!r})"


class Bson(NamedTuple):
    """A BSON value that msgpack has no form for: BSON's type byte and the value's bytes."""

    type: int
    data: bytes


class RawBson(bytes):
    """A whole BSON document, passed through untouched."""


class Int64(int):
    """An integer that a document store keeps as 64 bits though 32 would hold it."""


class ObjectId:
    """MongoDB's 12-byte document id. Without an argument a new one."""

    __slots__ = ("binary",)
    _count = itertools.count(int.from_bytes(os.urandom(3), "big"))
    _random = os.urandom(5)
    _pid = os.getpid()

    def __init__(self, value: Any = None) -> None:
        if value is None:
            self.binary = self._new()
        elif isinstance(value, ObjectId):
            self.binary = value.binary
        elif isinstance(value, bytes) and len(value) == 12:
            self.binary = value
        elif isinstance(value, str) and _HEX.fullmatch(value):  # fromhex() passes over blanks
            self.binary = bytes.fromhex(value)
        else:
            raise ValueError(f"an ObjectId is 12 bytes or 24 hexadecimal digits, not {value!r}")

    @classmethod
    def _new(cls) -> bytes:
        if ObjectId._pid != os.getpid():  # a fork must not make its parent's ids
            ObjectId._random, ObjectId._pid = os.urandom(5), os.getpid()
        return struct.pack(">I", int(time.time()) & 0xFFFFFFFF) + ObjectId._random + \
            (next(ObjectId._count) & 0xFFFFFF).to_bytes(3, "big")

    @property
    def generation_time(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(int.from_bytes(self.binary[:4], "big"),
                                               datetime.timezone.utc)

    def __str__(self) -> str:
        return self.binary.hex()

    def __repr__(self) -> str:
        return f"ObjectId('{self}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectId) and other.binary == self.binary

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, ObjectId):
            return NotImplemented
        return self.binary < other.binary

    def __hash__(self) -> int:
        return hash(self.binary)


def _decimal(value: decimal.Decimal) -> Any:
    if not value.is_finite():
        return float(value)
    sign, digits, exponent = value.as_tuple()
    scale = -int(exponent)
    if not -32768 <= scale <= 32767:
        raise ValueError(f"the exponent of {value} is out of range")
    text = "".join(map(str, digits)).lstrip("0") or "0"
    negative = sign and text != "0"
    return msgpack.ExtType(1, struct.pack(">Bh", 1 if negative else 0, scale) + text.encode("ascii"))


def _since_epoch(value: datetime.datetime) -> datetime.timedelta:
    offset = value.utcoffset()
    if offset is None:
        raise ValueError("a datetime whose zone has no offset for it")
    return value.replace(tzinfo=None) - _EPOCH - offset


def _time_of_day(value: datetime.time) -> bytes:
    us = ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    return struct.pack(">q", us)


def _interval(months: int, days: int, us: int) -> msgpack.ExtType:
    return msgpack.ExtType(5, struct.pack(">iiq", months, days, us))


def to_wire(value: Any) -> Any:
    """What msgpack is given for a value that it does not know; raises TypeError or ValueError."""
    if isinstance(value, tuple):
        if isinstance(value, Interval):
            return _interval(*value)
        if isinstance(value, TimeWithOffset):
            return msgpack.ExtType(3, _time_of_day(value.time) + struct.pack(">i", value.offset))
        if isinstance(value, Bson):
            return msgpack.ExtType(16, bytes([value.type]) + value.data)
        return list(value)
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            # Not datetime.timestamp(): as a float it loses microseconds far from 1970.
            seconds, rest = divmod(_since_epoch(value), _SECOND)
            return msgpack.Timestamp(seconds, rest // _MICROSECOND * 1000)
        return msgpack.ExtType(4, struct.pack(">q", (value - _EPOCH) // _MICROSECOND))
    if isinstance(value, datetime.date):
        return msgpack.ExtType(2, struct.pack(">i", value.toordinal() - _EPOCH_DAY))
    if isinstance(value, decimal.Decimal):
        return _decimal(value)
    if isinstance(value, datetime.time):
        if value.tzinfo is None:
            return msgpack.ExtType(3, _time_of_day(value))
        offset = value.utcoffset()
        if offset is None:
            raise ValueError("a time whose zone has no fixed offset")
        return msgpack.ExtType(3, _time_of_day(value) + struct.pack(">i", int(offset.total_seconds())))
    if isinstance(value, uuid.UUID):
        return msgpack.ExtType(6, value.bytes)
    if isinstance(value, datetime.timedelta):
        return _interval(0, value.days, value.seconds * 1_000_000 + value.microseconds)
    if isinstance(value, Json):
        return msgpack.ExtType(7, value.text.encode("utf-8"))
    if isinstance(value, ObjectId):
        return msgpack.ExtType(16, b"\x07" + value.binary)
    if isinstance(value, Int64):
        if -2**31 <= value < 2**31:
            return msgpack.ExtType(16, b"\x12" + struct.pack("<q", value))
        return int(value)
    if isinstance(value, RawBson):
        return msgpack.ExtType(17, bytes(value))
    if isinstance(value, int):
        if -2**63 <= value < 2**64:
            return int(value)  # a subclass
        return msgpack.ExtType(8, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
                               if value >= 0 else _negative(value))
    # Subclasses. A str that is an Enum's member has a str() of its own, which is not its value.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list):
        return list(value)
    if isinstance(value, (set, frozenset)):
        raise TypeError("a set has no order: send a list")
    raise TypeError(f"{type(value).__name__} has no form in the protocol")


def _negative(value: int) -> bytes:
    n = (value + 1).bit_length() // 8 + 1
    return value.to_bytes(n, "big", signed=True)


def _date(data: bytes) -> Any:
    days, = struct.unpack(">i", data)
    ordinal = days + _EPOCH_DAY
    if not 1 <= ordinal <= datetime.date.max.toordinal():
        return msgpack.ExtType(2, data)
    return datetime.date.fromordinal(ordinal)


def _read_time(data: bytes) -> Any:
    us, = struct.unpack(">q", data[:8])
    if us == _DAY_US:
        return msgpack.ExtType(3, data)  # 24:00:00
    if not 0 <= us < _DAY_US:
        raise ValueError("a time outside the day")
    seconds, micro = divmod(us, 1_000_000)
    value = datetime.time(seconds // 3600, seconds // 60 % 60, seconds % 60, micro)
    if len(data) == 8:
        return value
    offset, = struct.unpack(">i", data[8:])
    if abs(offset) > 57599:
        raise ValueError("a time with an offset of 16 hours or more")
    return TimeWithOffset(value, offset)


def _local(data: bytes) -> Any:
    us, = struct.unpack(">q", data)
    try:
        return _EPOCH + datetime.timedelta(microseconds=us)
    except OverflowError:
        return msgpack.ExtType(4, data)


def _from_decimal(data: bytes) -> decimal.Decimal:
    negative, scale = struct.unpack(">Bh", data[:3])
    digits = data[3:].decode("ascii")
    if (negative > 1 or not digits.isdigit() or len(digits) > _DIGITS_MAX
            or (digits[0] == "0" and (len(digits) > 1 or negative))):
        raise ValueError("a decimal of another form")
    return decimal.Decimal((negative, tuple(map(int, digits)), -scale))


def _instant(value: msgpack.Timestamp) -> Any:
    """A datetime in UTC; the Timestamp itself when no datetime is exactly that."""
    s, ns = value.seconds, value.nanoseconds
    if abs(s) > _SECONDS_MAX and not (ns == 0 and s in (2**63 - 1, -2**63)):
        raise ValueError("an instant out of range")
    if ns % 1000:
        return value
    try:
        return _EPOCH_UTC + datetime.timedelta(seconds=s, microseconds=ns // 1000)
    except OverflowError:
        return value


def instants(value: Any) -> Any:
    """Replaces every msgpack.Timestamp in lists and dicts, in place, by its datetime."""
    if isinstance(value, msgpack.Timestamp):
        return _instant(value)
    if isinstance(value, list):
        value[:] = [instants(v) for v in value]
    elif isinstance(value, dict):
        for k, v in value.items():
            value[k] = instants(v)
    return value


def _big_integer(data: bytes) -> int:
    value = int.from_bytes(data, "big", signed=True)
    if len(data) > 65536 or -2**63 <= value < 2**64 or to_wire(value).data != data:
        raise ValueError("an integer of another form")
    return value


def _document(data: bytes) -> RawBson:
    if len(data) < 5 or struct.unpack("<i", data[:4])[0] != len(data) or data[-1] != 0:
        raise ValueError("a BSON document with a wrong length")
    return RawBson(data)


def _has_text(data: bytes) -> bool:
    """Whether this is BSON's string: length, bytes, NUL."""
    return len(data) >= 5 and struct.unpack("<i", data[:4])[0] == len(data) - 4 and data[-1] == 0


def _code_with_scope(data: bytes) -> bool:
    if len(data) < 14 or struct.unpack("<i", data[:4])[0] != len(data):
        return False
    end = 8 + struct.unpack("<i", data[4:8])[0]
    return 9 <= end <= len(data) - 5 and _has_text(data[4:end]) and bool(_document(data[end:]))


# BSON's type byte -> whether these bytes are a value of it (https://bsonspec.org/spec.html).
_BSON: Dict[int, Callable[[bytes], bool]] = {
    0x05: lambda d: len(d) >= 5 and struct.unpack("<i", d[:4])[0] == len(d) - 5 and d[4] != 0,
    0x06: lambda d: not d,
    0x07: lambda d: len(d) == 12,
    0x0b: lambda d: d.count(0) == 2 and d[-1] == 0,
    0x0c: lambda d: len(d) > 12 and _has_text(d[:-12]),
    0x0d: _has_text,
    0x0e: _has_text,
    0x0f: _code_with_scope,
    0x10: lambda d: len(d) == 4,
    0x11: lambda d: len(d) == 8,
    0x12: lambda d: len(d) == 8,
    0x13: lambda d: len(d) == 16,
    0x7f: lambda d: not d,
    0xff: lambda d: not d,
}


def _bson(data: bytes) -> Any:
    kind, payload = data[0], data[1:]
    if kind not in _BSON or not _BSON[kind](payload):
        raise ValueError(f"a BSON value of type 0x{kind:02x} in no form of it")
    if kind == 0x07:
        return ObjectId(payload)
    if kind == 0x12:
        return Int64(struct.unpack("<q", payload)[0])
    return Bson(kind, payload)


_READERS: Dict[int, Callable[[bytes], Any]] = {
    1: _from_decimal, 2: _date, 3: _read_time, 4: _local,
    5: lambda d: Interval(*struct.unpack(">iiq", d)),
    6: lambda d: uuid.UUID(bytes=d),
    7: lambda d: Json(d.decode("utf-8")),
    8: _big_integer, 16: _bson, 17: _document,
}
_SIZES = {2: (4,), 3: (8, 12), 4: (8,), 5: (16,), 6: (16,)}


def from_wire(code: int, data: bytes) -> Any:
    """The Python value of an ext; raises ValueError for a payload that the protocol does not allow."""
    reader = _READERS.get(code)
    if reader is None:
        raise ValueError(f"unknown ext type {code}")
    sizes: Optional[Tuple[int, ...]] = _SIZES.get(code)
    if (sizes is not None and len(data) not in sizes) or not data:
        raise ValueError(f"ext type {code} with {len(data)} bytes")
    return reader(data)
