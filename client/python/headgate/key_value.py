"""Key-value stores, with the names of redis-py.

Keys and values are bytes in the store. ``str`` is sent as UTF-8, ``int`` and ``float`` as their
text, and bytes come back, as with redis-py; so redis-cli and other programs read the same thing.
"""

from __future__ import annotations

import uuid
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple, Union

from .checks import milliseconds
from .client import Answer, Client
from .errors import Conflict, HeadgateError, InvalidRequest

Value = Union[bytes, bytearray, memoryview, str, int, float]


def encode(value: Value) -> bytes:
    """The bytes of a key or value. Raises InvalidRequest for what has no obvious ones (None, bool)."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError as e:
            raise InvalidRequest(f"this text has no UTF-8: {e}", code="invalid") from e
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    # Not repr(value): an IntEnum's member has one of its own.
    if isinstance(value, float):
        return float.__repr__(value).encode("ascii")
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value).encode("ascii")
    raise InvalidRequest(f"keys and values are bytes, str, int or float, not {type(value).__name__}",
                         code="invalid")


def _all(values: Iterable[Value]) -> List[bytes]:
    return [encode(v) for v in values]


def _keys(keys: Union[Value, Iterable[Value]], rest: Iterable[Value] = ()) -> List[bytes]:
    """One key, several, or a list of them, as redis-py takes them."""
    alone = isinstance(keys, (bytes, bytearray, memoryview, str, int, float))
    return _all([keys, *rest] if alone else [*keys, *rest])  # type: ignore[list-item, misc]


def _whole(amount: int) -> int:
    """A float would turn the number in the store into one."""
    if not isinstance(amount, int):
        raise InvalidRequest(f"an amount must be an integer, got {amount!r}; others have incrbyfloat "
                             "and hincrbyfloat", code="invalid")
    return amount


class KeyValue:
    def __init__(self, client: Client, store: str) -> None:
        self._client = client
        self.store = store

    def request(self, verb: str, body: Any, *, timeout: Optional[float] = None,
                key: Optional[str] = None) -> Answer:
        return self._client.request(self.store, verb, body, timeout=timeout, key=key)

    def _ask(self, verb: str, timeout: Optional[float] = None, **body: Any) -> Dict[str, Any]:
        body = {k: v for k, v in body.items() if v is not None}
        result: Dict[str, Any] = self.request(verb, body, timeout=timeout).body
        return result

    # -- strings -----------------------------------------------------------------------------

    def get(self, key: Value) -> Optional[bytes]:
        """The value, or None when there is no such key."""
        value: Optional[bytes] = self._ask("get", key=encode(key))["value"]
        return value

    def get_with_version(self, key: Value) -> Tuple[Optional[bytes], Optional[bytes]]:
        """The value and its opaque version, for ``set(..., if_version=...)``."""
        r = self._ask("get", key=encode(key))
        return r["value"], r["version"]

    def set(self, key: Value, value: Value, ex: Optional[float] = None, px: Optional[int] = None,
            nx: bool = False, xx: bool = False, keepttl: bool = False, get: bool = False, *,
            if_version: Optional[bytes] = None) -> Any:
        """Sets the value. ``ex`` seconds or ``px`` milliseconds to live.

        Returns True, or None when ``nx`` (only if absent) or ``xx`` (only if present) prevented it;
        with ``get`` the old value instead. ``if_version``: raises Conflict unless the key has that
        version (``b""``: unless it is absent).
        """
        r = self._ask("set", key=encode(key), value=encode(value), ttl_ms=_ttl(ex, px), nx=nx or None,
                      xx=xx or None, keep_ttl=keepttl or None, get_old=get or None, if_version=if_version)
        if get:
            return r["old"]
        return True if r["set"] else None

    def compare_and_set(self, key: Value, expected: Optional[Value], value: Value,
                        px: Optional[int] = None) -> bool:
        """Sets the value if it is ``expected`` now (None: if there is no such key)."""
        body: Dict[str, Any] = {
            "key": encode(key), "value": encode(value),
            "expected": None if expected is None else encode(expected)}
        if px is not None:
            body["ttl_ms"] = px
        return bool(self.request("compare_and_set", body).body["set"])

    def delete(self, *keys: Value) -> int:
        if len(keys) == 1:
            return int(self._ask("delete", key=encode(keys[0]))["deleted"])
        return int(self._ask("delete_many", keys=_all(keys))["deleted"])

    def exists(self, *keys: Value) -> int:
        return int(self._ask("exists", keys=_all(keys))["count"])

    def mget(self, keys: Union[Value, Iterable[Value]], *args: Value) -> List[Optional[bytes]]:
        values: List[Optional[bytes]] = self._ask("get_many", keys=_keys(keys, args))["values"]
        return values

    def mset(self, mapping: Mapping[Any, Value], px: Optional[int] = None) -> bool:
        items = [[encode(k), encode(v)] for k, v in mapping.items()]
        return bool(self._ask("set_many", items=items, ttl_ms=px)["set"])

    def msetnx(self, mapping: Mapping[Any, Value]) -> bool:
        items = [[encode(k), encode(v)] for k, v in mapping.items()]
        return bool(self._ask("set_many", items=items, nx=True)["set"])

    def incr(self, key: Value, amount: int = 1, *, px: Optional[int] = None) -> int:
        """Adds and returns the new value. ``px``: time to live if the key is new."""
        return int(self._ask("increment", key=encode(key), by=_whole(amount), ttl_ms=px)["value"])

    def decr(self, key: Value, amount: int = 1) -> int:
        return self.incr(key, -_whole(amount))

    def incrbyfloat(self, key: Value, amount: float) -> float:
        return float(self._ask("increment", key=encode(key), by=float(amount))["value"])

    def append(self, key: Value, value: Value) -> int:
        return int(self._ask("append", key=encode(key), value=encode(value))["length"])

    def getdel(self, key: Value) -> Optional[bytes]:
        value: Optional[bytes] = self._ask("get_delete", key=encode(key))["value"]
        return value

    def expire(self, key: Value, seconds: float) -> bool:
        return self.pexpire(key, milliseconds(seconds, "expire"))

    def pexpire(self, key: Value, milliseconds: int) -> bool:
        return bool(self._ask("expire", key=encode(key), ttl_ms=milliseconds)["set"])

    def persist(self, key: Value) -> bool:
        return bool(self._ask("persist", key=encode(key))["set"])

    def pttl(self, key: Value) -> int:
        """Milliseconds to live; -1: no limit; -2: no such key."""
        ttl = self._ask("ttl", key=encode(key))["ttl_ms"]
        return -2 if ttl is None else int(ttl)

    def ttl(self, key: Value) -> int:
        """Seconds to live, rounded up; -1: no limit; -2: no such key."""
        ms = self.pttl(key)
        return ms if ms < 0 else -(-ms // 1000)

    def type(self, key: Value) -> Optional[str]:
        kind: Optional[str] = self._ask("type", key=encode(key))["type"]
        return kind

    def scan_iter(self, match: Optional[Value] = None, count: int = 500, *,
                  prefix: Optional[Value] = None) -> Iterator[bytes]:
        """All keys that match the glob ``match`` or begin with ``prefix``, page by page."""
        if match is None and prefix is None:
            match = b"*"
        cursor: Optional[bytes] = None
        while True:
            r = self._ask("scan", glob=None if match is None else encode(match),
                          prefix=None if prefix is None else encode(prefix), cursor=cursor, count=count)
            yield from r["keys"]
            cursor = r["cursor"]
            if cursor is None:
                return

    def delete_prefix(self, prefix: Value) -> int:
        return int(self._ask("delete_prefix", prefix=encode(prefix))["deleted"])

    # -- hashes ------------------------------------------------------------------------------

    def hset(self, name: Value, key: Optional[Value] = None, value: Optional[Value] = None,
             mapping: Optional[Mapping[Any, Value]] = None) -> int:
        fields = [[encode(k), encode(v)] for k, v in (mapping or {}).items()]
        if key is not None or value is not None:
            if key is None or value is None:
                raise InvalidRequest("hset: a field needs a value", code="invalid")
            fields.append([encode(key), encode(value)])
        return int(self._ask("hset", key=encode(name), fields=fields)["added"])

    def hget(self, name: Value, key: Value) -> Optional[bytes]:
        value: Optional[bytes] = self._ask("hget", key=encode(name), field=encode(key))["value"]
        return value

    def hmget(self, name: Value, keys: Union[Value, Iterable[Value]],
              *args: Value) -> List[Optional[bytes]]:
        values: List[Optional[bytes]] = self._ask("hmget", key=encode(name),
                                                  fields=_keys(keys, args))["values"]
        return values

    def hgetall(self, name: Value) -> Dict[bytes, bytes]:
        return {k: v for k, v in self._ask("hgetall", key=encode(name))["fields"]}

    def hdel(self, name: Value, *keys: Value) -> int:
        return int(self._ask("hdel", key=encode(name), fields=_all(keys))["deleted"])

    def hexists(self, name: Value, key: Value) -> bool:
        return bool(self._ask("hexists", key=encode(name), field=encode(key))["exists"])

    def hlen(self, name: Value) -> int:
        return int(self._ask("hlen", key=encode(name))["length"])

    def hincrby(self, name: Value, key: Value, amount: int = 1) -> int:
        return int(self._ask("hincrby", key=encode(name), field=encode(key),
                             by=_whole(amount))["value"])

    def hincrbyfloat(self, name: Value, key: Value, amount: float) -> float:
        return float(self._ask("hincrby", key=encode(name), field=encode(key), by=float(amount))["value"])

    # -- lists -------------------------------------------------------------------------------

    def lpush(self, name: Value, *values: Value) -> int:
        return int(self._ask("lpush", key=encode(name), values=_all(values))["length"])

    def rpush(self, name: Value, *values: Value) -> int:
        return int(self._ask("rpush", key=encode(name), values=_all(values))["length"])

    def _pop(self, verb: str, name: Value, count: Optional[int]) -> Any:
        r = self._ask(verb, key=encode(name), count=count)
        return r["value"] if count is None else r["values"]

    def lpop(self, name: Value, count: Optional[int] = None) -> Any:
        return self._pop("lpop", name, count)

    def rpop(self, name: Value, count: Optional[int] = None) -> Any:
        return self._pop("rpop", name, count)

    def llen(self, name: Value) -> int:
        return int(self._ask("llen", key=encode(name))["length"])

    def lrange(self, name: Value, start: int, end: int) -> List[bytes]:
        values: List[bytes] = self._ask("lrange", key=encode(name), start=start, stop=end)["values"]
        return values

    def lindex(self, name: Value, index: int) -> Optional[bytes]:
        value: Optional[bytes] = self._ask("lindex", key=encode(name), index=index)["value"]
        return value

    def lset(self, name: Value, index: int, value: Value) -> bool:
        self._ask("lset", key=encode(name), index=index, value=encode(value))
        return True

    def lrem(self, name: Value, count: int, value: Value) -> int:
        return int(self._ask("lrem", key=encode(name), count=count, value=encode(value))["removed"])

    def ltrim(self, name: Value, start: int, end: int) -> bool:
        self._ask("ltrim", key=encode(name), start=start, stop=end)
        return True

    def lmove(self, first: Value, second: Value, src: str = "left", dest: str = "right") -> Optional[bytes]:
        """Moves one element; to a list of work in progress, it is the queue that loses nothing."""
        ends: Any = {"from": src.lower(), "to": dest.lower()}
        value: Optional[bytes] = self._ask("lmove", source=encode(first), destination=encode(second),
                                           **ends)["value"]
        return value

    def blmove(self, first: Value, second: Value, timeout: float, src: str = "left",
               dest: str = "right") -> Optional[bytes]:
        """As lmove, waiting up to ``timeout`` seconds for an element (0: not at all)."""
        ends: Any = {"from": src.lower(), "to": dest.lower(), "wait_ms": _wait(timeout)}
        value: Optional[bytes] = self._ask("blmove", timeout=timeout + 5, source=encode(first),
                                           destination=encode(second), **ends)["value"]
        return value

    def blpop(self, keys: Union[Value, Iterable[Value]], timeout: float) -> Optional[Tuple[bytes, bytes]]:
        """Waits up to ``timeout`` seconds for an element of one of the lists.

        0 does not wait at all; in redis-py it waits for ever.
        """
        return self._blocking_pop("blpop", keys, timeout)

    def brpop(self, keys: Union[Value, Iterable[Value]], timeout: float) -> Optional[Tuple[bytes, bytes]]:
        return self._blocking_pop("brpop", keys, timeout)

    def _blocking_pop(self, verb: str, keys: Any, timeout: float) -> Optional[Tuple[bytes, bytes]]:
        wait_ms = _wait(timeout)
        r = self._ask(verb, timeout=timeout + 5, keys=_keys(keys), wait_ms=wait_ms)
        return None if r["key"] is None else (r["key"], r["value"])

    # -- sets --------------------------------------------------------------------------------

    def sadd(self, name: Value, *members: Value) -> int:
        return int(self._ask("sadd", key=encode(name), members=_all(members))["added"])

    def srem(self, name: Value, *members: Value) -> int:
        return int(self._ask("srem", key=encode(name), members=_all(members))["removed"])

    def smembers(self, name: Value) -> Set[bytes]:
        return set(self._ask("smembers", key=encode(name))["members"])

    def sismember(self, name: Value, member: Value) -> bool:
        return bool(self._ask("sismember", key=encode(name), member=encode(member))["exists"])

    def scard(self, name: Value) -> int:
        return int(self._ask("scard", key=encode(name))["length"])

    def spop(self, name: Value, count: Optional[int] = None) -> Any:
        members = self._ask("spop", key=encode(name), count=count)["members"]
        if count is None:
            return members[0] if members else None
        return set(members)

    def sinter(self, keys: Union[Value, Iterable[Value]], *args: Value) -> Set[bytes]:
        return set(self._ask("sinter", keys=_keys(keys, args))["members"])

    def sunion(self, keys: Union[Value, Iterable[Value]], *args: Value) -> Set[bytes]:
        return set(self._ask("sunion", keys=_keys(keys, args))["members"])

    def sdiff(self, keys: Union[Value, Iterable[Value]], *args: Value) -> Set[bytes]:
        return set(self._ask("sdiff", keys=_keys(keys, args))["members"])

    # -- sorted sets -------------------------------------------------------------------------

    def zadd(self, name: Value, mapping: Mapping[Any, float], nx: bool = False, xx: bool = False) -> int:
        members = [[float(score), encode(member)] for member, score in mapping.items()]
        return int(self._ask("zadd", key=encode(name), members=members, nx=nx or None,
                             xx=xx or None)["added"])

    def zincrby(self, name: Value, amount: float, value: Value) -> float:
        return float(self._ask("zincrby", key=encode(name), member=encode(value), by=amount)["score"])

    def zrem(self, name: Value, *members: Value) -> int:
        return int(self._ask("zrem", key=encode(name), members=_all(members))["removed"])

    def zscore(self, name: Value, member: Value) -> Optional[float]:
        score: Optional[float] = self._ask("zscore", key=encode(name), member=encode(member))["score"]
        return score

    def zrank(self, name: Value, member: Value) -> Optional[int]:
        rank: Optional[int] = self._ask("zrank", key=encode(name), member=encode(member))["rank"]
        return rank

    def zrevrank(self, name: Value, member: Value) -> Optional[int]:
        rank: Optional[int] = self._ask("zrank", key=encode(name), member=encode(member),
                                        reverse=True)["rank"]
        return rank

    def zcard(self, name: Value) -> int:
        return int(self._ask("zcard", key=encode(name))["length"])

    def zcount(self, name: Value, min: Optional[float] = None, max: Optional[float] = None) -> int:
        return int(self._ask("zcount", key=encode(name), min=min, max=max)["count"])

    def zrange(self, name: Value, start: int, end: int, desc: bool = False,
               withscores: bool = False) -> List[Any]:
        r = self._ask("zrange", key=encode(name), start=start, stop=end, reverse=desc or None)
        return _scored(r["members"], withscores)

    def zrangebyscore(self, name: Value, min: Optional[float] = None, max: Optional[float] = None,
                      start: Optional[int] = None, num: Optional[int] = None,
                      withscores: bool = False) -> List[Any]:
        r = self._ask("zrangebyscore", key=encode(name), min=min, max=max, offset=start, count=num)
        return _scored(r["members"], withscores)

    def zpopmin(self, name: Value, count: int = 1) -> List[Tuple[bytes, float]]:
        return _scored(self._ask("zpopmin", key=encode(name), count=count)["members"], True)

    def zpopmax(self, name: Value, count: int = 1) -> List[Tuple[bytes, float]]:
        return _scored(self._ask("zpopmax", key=encode(name), count=count)["members"], True)

    # -- locks -------------------------------------------------------------------------------

    def lock(self, name: Value, timeout: float, blocking_timeout: Optional[float] = None) -> "Lock":
        """A lock that the store holds for ``timeout`` seconds at most; use it with ``with``.

        ``blocking_timeout``: seconds to wait for it, None: do not wait. ``with`` raises Conflict when
        another holds it, and at its end when it was lost meanwhile.
        """
        return Lock(self, name, timeout, blocking_timeout)


class Lock:
    """``fence`` grows with every acquisition: give it to what the lock protects, so that a holder
    who slept past the lock's end is recognised."""

    def __init__(self, store: KeyValue, name: Value, timeout: float,
                 blocking_timeout: Optional[float]) -> None:
        self._store = store
        self._name = encode(name)
        self._timeout = timeout
        self._blocking = blocking_timeout
        self._owner: Optional[bytes] = None
        self._lost = False
        self.fence: Optional[int] = None

    def acquire(self) -> bool:
        owner = uuid.uuid4().hex.encode("ascii")
        wait = self._blocking or 0
        wait_ms = _wait(wait) if wait else None
        r = self._store._ask("lock", timeout=wait + 5, name=self._name, owner=owner,
                             ttl_ms=milliseconds(self._timeout, "timeout"), wait_ms=wait_ms)
        if r["locked"]:
            self._owner, self.fence, self._lost = owner, r["fence"], False
        return bool(r["locked"])

    def extend(self) -> bool:
        """Starts the lock's time anew; False when it was lost meanwhile."""
        if self._owner is None:
            return False
        r = self._store._ask("lock", name=self._name, owner=self._owner,
                             ttl_ms=milliseconds(self._timeout, "timeout"))
        if not r["locked"] or r["fence"] != self.fence:  # another fence: acquired anew
            self._lost = True
        return not self._lost

    def release(self) -> bool:
        """False when the lock had been lost already."""
        if self._owner is None:
            return False
        owner, self._owner = self._owner, None
        unlocked = self._store._ask("unlock", name=self._name, owner=owner)["unlocked"]
        return bool(unlocked) and not self._lost

    def __enter__(self) -> "Lock":
        if not self.acquire():
            raise Conflict(f"the lock {self._name!r} is held by another", code="conflict",
                           outcome="rejected")
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._owner is None:  # released inside
            return
        try:
            held = self.release()
        except HeadgateError:
            if exc[0] is None:
                raise
            return
        if not held and exc[0] is None:
            raise Conflict(f"the lock {self._name!r} was lost before it was released", code="conflict",
                           outcome="rejected")


def _ttl(ex: Optional[float], px: Optional[int]) -> Optional[int]:
    if ex is not None and px is not None:
        raise InvalidRequest("give ex or px, not both", code="invalid")
    return milliseconds(ex, "ex") if ex is not None else px


def _wait(seconds: float) -> int:
    ms = milliseconds(seconds, "a time to wait")
    if ms < 0:
        raise InvalidRequest(f"a time to wait must be 0 seconds or more, got {seconds!r}", code="invalid")
    return max(1, ms)


def _scored(members: List[Any], withscores: bool) -> List[Any]:
    return [(m, s) for m, s in members] if withscores else [m for m, _ in members]
