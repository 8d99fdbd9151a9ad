#!/usr/bin/env python3
"""Writes the golden vectors of PROTOCOL.md, and the seeds of the fuzzers in tests/fuzz/corpus.

Built with Python's msgpack and bytes made by hand, never with the code that they bind. A released
vector never changes: add new ones at the end of a list.

    proto/vectors/generate.py            writes proto/vectors/*.json and tests/fuzz/corpus/*
    proto/vectors/generate.py --check    exit code 1 when the committed files differ
"""

import json
import math
import pathlib
import struct
import sys

import msgpack

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE.parent.parent / "tests" / "fuzz" / "corpus"

CODES = ["ok", "invalid", "unsupported", "unauthenticated", "denied", "not_found", "exists", "conflict",
         "constraint", "too_large", "overloaded", "queue_timeout", "deadline", "cancelled",
         "transaction_expired", "transaction_aborted", "in_progress", "unavailable", "store_error",
         "draining", "internal"]
OUTCOMES = ["not_sent", "rejected", "rolled_back", "applied", "unknown"]
(HELLO, WELCOME, REQUEST, DATA, PART, REPLY, CREDIT, CANCEL, PING, PONG, GOAWAY) = range(1, 12)
U64 = 2**64 - 1


def pack(v):
    return msgpack.packb(v, use_bin_type=True)


def readable(v):
    """The JSON form of a value."""
    if isinstance(v, bytes):
        return {"$bin": v.hex()}
    if isinstance(v, msgpack.ExtType):
        return {"$ext": [v.code, v.data.hex()]}
    if isinstance(v, float) and not math.isfinite(v):
        return {"$float": {math.inf: "inf", -math.inf: "-inf"}.get(v, "nan")}
    if isinstance(v, (list, tuple)):
        return [readable(x) for x in v]
    if isinstance(v, dict):
        if all(isinstance(k, str) for k in v):
            return {k: readable(x) for k, x in v.items()}
        return {"$map": [[readable(k), readable(x)] for k, x in v.items()]}
    return v


class File:
    def __init__(self, name):
        self.name = name
        self.vectors = []

    def add(self, **v):
        assert all(v["name"] != o["name"] for o in self.vectors), v["name"]
        self.vectors.append(v)

    def frame(self, name, sender, data, shown, **more):
        self.add(name=name, **{"from": sender}, **more, **hexed(data), accept=True, readable=shown)

    def refuse(self, name, sender, data, code, contains, cut=False, **more):
        self.add(name=name, **{"from": sender}, **more, **hexed(data), accept=False, code=code, cut=cut,
                 reason_contains=contains)


def hexed(data):
    """bytes, or a list of (bytes, times)."""
    if isinstance(data, bytes):
        return {"hex": data.hex()}
    return {"hex_repeat": [[b.hex(), n] for b, n in data]}


def arr(*parts):
    """An array of parts that are msgpack bytes already."""
    assert len(parts) < 16
    return bytes([0x90 | len(parts)]) + b"".join(parts)


def request(id=7, sent_us=1000, store="orders", verb="query", options=None, body=None):
    options = {} if options is None else options
    body = {} if body is None else body
    shown = {"type": "request", "id": id, "sent_us": sent_us, "store": store, "verb": verb,
             "options": readable(options), "body": readable(body)}
    return pack([1, REQUEST, id, sent_us, store, verb, options, body]), shown


def head(options=b"\x80", id=7):
    """A request up to its body, the options as bytes."""
    return b"\x98\x01\x03" + pack(id) + pack(1000) + pack("orders") + pack("query") + options


def client_frames():
    f = File("client")
    for name, fields in {
        "hello": [1, "headgate-python", "0.1.0", 1, 1, False],
        "hello with pongs": [2, "libheadgate", "0.1.0", 1, 1, True],
        "hello of a later client": [1, "x", "9", 1, 7, True],
        "hello with empty version": [1, "x", "", 1, 1, True],
        "hello with the largest id": [U64, "x", "1", 1, 2**32 - 1, True],
        "hello with the longest name": [1, "n" * 255, "1", 1, 1, False],
        "hello in Unicode": [1, "wärter-客户", "1", 1, 1, False],
    }.items():
        f.frame(name, "client", pack([1, HELLO] + fields), dict(zip(
            ["type", "id", "name", "version", "proto_min", "proto_max", "pongs"], ["hello"] + fields)))
    f.refuse("hello with name of 256 bytes", "client", pack([1, HELLO, 1, "n" * 256, "1", 1, 1, False]),
             "invalid", "name")
    f.refuse("hello without a name", "client", pack([1, HELLO, 1, "", "1", 1, 1, False]), "invalid", "name")
    f.refuse("hello with a name as bin", "client", pack([1, HELLO, 1, b"x", "1", 1, 1, False]), "invalid",
             "name")
    f.refuse("hello with pongs as integer", "client", pack([1, HELLO, 1, "x", "1", 1, 1, 1]), "invalid",
             "pongs")
    f.refuse("hello with proto_min 0", "client", pack([1, HELLO, 1, "x", "1", 0, 1, False]), "invalid",
             "proto_min")
    f.refuse("hello with proto_max below proto_min", "client", pack([1, HELLO, 1, "x", "1", 3, 2, False]),
             "invalid", "proto_max")
    f.refuse("hello of a client that only speaks later versions", "client",
             pack([1, HELLO, 1, "x", "1", 2, 3, False]), "unsupported", "protocol 2 to 3")
    f.refuse("hello in a frame of version 2", "client", pack([2, HELLO, 1, "x", "1", 2, 2, False]),
             "unsupported", "version 2")
    f.refuse("hello with id 0", "client", pack([1, HELLO, 0, "x", "1", 1, 1, False]), "invalid", "id")
    f.refuse("hello with seven fields", "client", pack([1, HELLO, 1, "x", "1", 1, 1]), "invalid", "7 fields")
    f.refuse("hello with nine fields", "client", pack([1, HELLO, 1, "x", "1", 1, 1, False, 0]), "invalid",
             "9 fields")
    f.refuse("hello with bytes after it", "client", pack([1, HELLO, 1, "x", "1", 1, 1, False]) + b"\xc0",
             "invalid", "after")

    for name, kw in {
        "request with an empty body": {},
        "request with parameters": {"body": {"sql": "select $1", "params": [1, "zwei", None, 2.5, b"\x00"]}},
        "request with the largest numbers": {"id": U64, "sent_us": U64},
        "request with names of 255 bytes": {"store": "s" * 255, "verb": "v" * 255},
        "request of every kind of value": {"body": {
            "nil": None, "t": True, "f": False, "max": U64, "min": -2**63, "neg": -1, "float": 0.1,
            "inf": math.inf, "ninf": -math.inf, "text": "ключ", "empty": "", "bin": b"\xff\x00",
            "list": [[], [[]]], "map": {"a": {"b": 1}}, "uuid": msgpack.ExtType(6, bytes(range(16)))}},
        "request with a map of integer keys in its body": {"body": {"m": {1: "one", 2: "two"}}},
    }.items():
        f.frame(name, "client", *request(**kw))
    _, shown = request()
    wide = b"\xdd\x00\x00\x00\x08" + b"\xcc\x01" + b"\xcd\x00\x03" + b"\xcf" + struct.pack(">Q", 7) + \
        b"\xd3" + struct.pack(">q", 1000) + b"\xdb\x00\x00\x00\x06orders" + b"\xda\x00\x05query" + \
        b"\xdf\x00\x00\x00\x00" + b"\xde\x00\x00"
    f.frame("request written in the widest forms", "client", wide, shown)
    f.refuse("request with id 0", "client", request(id=0)[0], "invalid", "id")
    f.refuse("request with an empty store", "client", request(store="")[0], "invalid", "store")
    f.refuse("request with a store of 256 bytes", "client", request(store="s" * 256)[0], "invalid", "store")
    f.refuse("request with an empty verb", "client", request(verb="")[0], "invalid", "verb")
    f.refuse("request with a verb of 256 bytes", "client", request(verb="v" * 256)[0], "invalid", "verb")
    f.refuse("request with a verb as integer", "client", request(verb=5)[0], "invalid", "verb")
    f.refuse("request with a negative sent_us", "client", request(sent_us=-1)[0], "invalid", "sent_us")
    f.refuse("request with a float as sent_us", "client", request(sent_us=1.0)[0], "invalid", "sent_us")
    f.refuse("request with options as array", "client", request(options=[])[0], "invalid", "options")
    f.refuse("request with options as nil", "client", head(b"\xc0") + b"\x80", "invalid", "options")
    f.refuse("request with a body as array", "client", head() + b"\x90", "invalid", "body must be a map")
    f.refuse("request with a body as nil", "client", head() + b"\xc0", "invalid", "body must be a map")
    f.refuse("request without a body", "client", b"\x97" + head()[1:], "invalid", "7 fields")
    f.refuse("request whose body is missing", "client", head(), "invalid", "truncated")
    f.refuse("request with two bodies", "client", b"\x99" + head()[1:] + b"\x80\x80", "invalid", "9 fields")
    f.refuse("request with bytes after it", "client", head() + b"\x80\x00", "invalid", "bytes after")
    f.refuse("request cut in its body", "client", request(body={"sql": "select 1"})[0][:-1], "invalid",
             "truncated")
    f.refuse("request cut in its verb", "client", head()[:-3], "invalid", "verb")
    f.refuse("request with the byte c1 in its body", "client", head() + b"\x81\xa1a\xc1", "invalid", "0xc1")
    f.refuse("request with a str that is not UTF-8", "client", head() + b"\x81\xa1a\xa2\xc3\x28", "invalid",
             "UTF-8")
    f.refuse("request with an overlong UTF-8 form", "client", head() + b"\x81\xa1a\xa2\xc0\xaf", "invalid",
             "UTF-8")
    f.refuse("request with a UTF-16 surrogate", "client", head() + b"\x81\xa1a\xa3\xed\xa0\x80", "invalid",
             "UTF-8")
    f.refuse("request with a store that is not UTF-8", "client",
             b"\x98\x01\x03\x07\x00\xa1\xff\xa1v\x80\x80", "invalid", "store")
    f.refuse("request with an array that claims 4294967295 elements", "client",
             head() + b"\x81\xa1a\xdd\xff\xff\xff\xff", "invalid", "truncated")
    f.refuse("request with a str that claims 4294967295 bytes", "client",
             head() + b"\x81\xa1a\xdb\xff\xff\xff\xffabc", "invalid", "truncated")
    f.refuse("request with an ext that claims 4294967295 bytes", "client",
             head() + b"\x81\xa1a\xc9\xff\xff\xff\xff\x01abc", "invalid", "truncated")
    f.refuse("request in a frame of version 2", "client", b"\x98\x02" + head()[2:] + b"\x80", "unsupported",
             "version 2", cut=True)
    return f


def option_frames():
    f = File("options")
    good = {
        "timeout_ms": [1, 5000, 86_400_000], "read_only": [True, False], "idempotent": [True, False],
        "key": ["k", "ü" * 127, "k" * 255], "tx": [1, U64], "fetch": [1, 1_000_000], "credit": [1, 4, 1024],
        "trace": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "t" * 128],
    }
    bad = {
        "timeout_ms": [0, 86_400_001, -1, "5", 1.0, None, True], "read_only": [1, "true", None],
        "idempotent": [0, None], "key": ["", "k" * 256, b"k", 5, None], "tx": [0, -1, "1", None],
        "fetch": [0, 1_000_001, None], "credit": [0, 1025, None], "trace": ["", "t" * 129, b"t", None],
    }
    for option, values in good.items():
        for v in values:
            shown = v if not isinstance(v, str) or len(v) < 60 else f"{len(v.encode())} bytes"
            f.frame(f"option {option} {shown}", "client", *request(options={option: v}))
    f.frame("every option", "client", *request(options={k: v[-1] for k, v in good.items()}))
    for option, values in bad.items():
        for v in values:
            shown = repr(v) if not isinstance(v, str) or len(v) < 60 else f"{len(v)} bytes"
            f.refuse(f"option {option} as {shown}", "client", request(options={option: v})[0], "invalid",
                     f"`{option}`")
    f.refuse("unknown option", "client", request(options={"time_out": 5})[0], "invalid",
             "unknown option `time_out`")
    f.refuse("unknown option with an empty name", "client", request(options={"": 5})[0], "invalid",
             "unknown option")
    f.refuse("option name in upper case", "client", request(options={"Key": "k"})[0], "invalid",
             "unknown option `Key`")
    f.refuse("option twice", "client", head(b"\x82\xa2tx\x01\xa2tx\x01") + b"\x80", "invalid", "`tx`")
    f.refuse("option name as integer", "client", head(b"\x81\x01\x01") + b"\x80", "invalid", "str keys")
    f.refuse("option name that is not UTF-8", "client", head(b"\x81\xa1\xff\x01") + b"\x80", "invalid",
             "unknown option")
    f.refuse("options that claim more pairs than bytes", "client", head(b"\xdf\xff\xff\xff\xff"), "invalid",
             "options")
    return f


def piece_frames():
    f = File("pieces")
    for name, seq, last, body in [
        ("data", 1, False, [[1, "a"], [2, "b"]]), ("data, the last", 2, True, []),
        ("data, the last with nil", 3, True, None), ("data with the largest seq", U64, False, [[None]]),
    ]:
        f.frame(name, "client", pack([1, DATA, 9, seq, last, body]),
                {"type": "data", "id": 9, "seq": seq, "last": last, "body": readable(body)})
    f.refuse("data with seq 0", "client", pack([1, DATA, 9, 0, False, []]), "invalid", "seq")
    f.refuse("data with last as nil", "client", pack([1, DATA, 9, 1, None, []]), "invalid", "last")
    f.refuse("data of id 0", "client", pack([1, DATA, 0, 1, False, []]), "invalid", "id")
    f.refuse("data with five fields", "client", pack([1, DATA, 9, 1, False]), "invalid", "5 fields")
    f.refuse("data cut in its body", "client", pack([1, DATA, 9, 1, False, ["abc"]])[:-1], "invalid",
             "truncated")
    for name, seq, body in [
        ("part", 1, {"columns": [["n", "int8", False, None, None]], "rows": [[1], [2]]}),
        ("part, a later one", 2, {"rows": [[3]]}), ("part of a backup", 1, b"SQLite format 3\x00"),
        ("part with the largest seq", U64, None),
    ]:
        f.frame(name, "daemon", pack([1, PART, 9, seq, body]),
                {"type": "part", "id": 9, "seq": seq, "body": readable(body)})
    f.refuse("part with seq 0", "daemon", pack([1, PART, 9, 0, None]), "invalid", "seq", cut=True)
    f.refuse("part with six fields", "daemon", pack([1, PART, 9, 1, None, None]), "invalid", "6 fields",
             cut=True)
    f.refuse("part cut in its body", "daemon", pack([1, PART, 9, 1, ["abc"]])[:-1], "invalid", "truncated",
             cut=True)
    for sender in ("client", "daemon"):
        for seq in (0, 1, 8, U64):
            f.frame(f"credit {seq} of the {sender}", sender, pack([1, CREDIT, 9, seq]),
                    {"type": "credit", "id": 9, "seq": seq})
        for kind, name in ((PING, "ping"), (PONG, "pong")):
            for id in (0, 1, U64):
                f.frame(f"{name} {id} of the {sender}", sender, pack([1, kind, id]), {"type": name, "id": id})
        f.refuse(f"ping with four fields of the {sender}", sender, pack([1, PING, 1, 0]), "invalid",
                 "4 fields", cut=True)
        f.refuse(f"credit with a negative seq of the {sender}", sender, pack([1, CREDIT, 9, -1]), "invalid",
                 "seq", cut=True)
    f.refuse("credit of id 0", "client", pack([1, CREDIT, 0, 1]), "invalid", "id", cut=True)
    f.frame("cancel", "client", pack([1, CANCEL, 9]), {"type": "cancel", "id": 9})
    f.refuse("cancel with four fields", "client", pack([1, CANCEL, 9, 0]), "invalid", "4 fields", cut=True)
    f.refuse("cancel with bytes after it", "client", pack([1, CANCEL, 9]) + b"\x00", "invalid", "after",
             cut=True)
    for ms in (0, 30_000, 2**32 - 1):
        f.frame(f"goaway in {ms} ms", "daemon", pack([1, GOAWAY, 0, ms]),
                {"type": "goaway", "id": 0, "drain_ms": ms})
    f.refuse("goaway with an id", "daemon", pack([1, GOAWAY, 1, 0]), "invalid", "id", cut=True)
    f.refuse("goaway with a drain_ms of 33 bits", "daemon", pack([1, GOAWAY, 0, 2**32]), "invalid",
             "drain_ms", cut=True)
    return f


def violations():
    f = File("violations")
    for sender in ("client", "daemon"):
        for name, data in {
            "an empty frame": b"", "nil": b"\xc0", "a map": b"\x80", "a str": b"\xa5hello",
            "the byte c1": b"\xc1", "an empty array": b"\x90", "an array of two": b"\x92\x01\x09",
            "an array header alone": b"\x93", "an array that claims 65535 elements": b"\xdc\xff\xff\x01\x09",
            "a version as str": b"\x93\xa11\x09\x01", "a negative version": b"\x93\xff\x09\x01",
            "a type as float": b"\x93\x01\xca\x41\x10\x00\x00\x01", "a type as nil": b"\x93\x01\xc0\x01",
            "an id as str": b"\x93\x01\x09\xa11", "a negative id": b"\x93\x01\x09\xff",
            "an id cut short": b"\x93\x01\x09\xcf\x00\x00",
        }.items():
            f.refuse(f"{name} of the {sender}", sender, data, "invalid", "frame", cut=True)
        f.refuse(f"a ping of version 0 of the {sender}", sender, pack([0, PING, 1]), "unsupported",
                 "version 0", cut=True)
        for kind in (0, 12, 127, U64):
            f.refuse(f"unknown type {kind} of the {sender}", sender, pack([1, kind, 5, "x"]), "unsupported",
                     f"unknown frame type {kind}")
    for kind, name in ((WELCOME, "welcome"), (PART, "part"), (REPLY, "reply"), (GOAWAY, "goaway")):
        f.refuse(f"{name} from a client", "client", pack([1, kind, 5, 1, {}, None]), "invalid",
                 "a client never sends", cut=True)
    for kind, name in ((HELLO, "hello"), (REQUEST, "request"), (DATA, "data"), (CANCEL, "cancel")):
        f.refuse(f"{name} from the daemon", "daemon", pack([1, kind, 5]), "invalid", "a daemon never sends",
                 cut=True)
    return f


def replies():
    f = File("reply")

    def reply(name, code, meta, body, id=7):
        f.frame(name, "daemon", pack([1, REPLY, id, code, meta, body]),
                {"type": "reply", "id": id, "code": CODES[code], "meta": readable(meta),
                 "body": readable(body)})

    for n, code in enumerate(CODES):
        meta = {"outcome": 3 if n == 0 else 0, "attempts": 1 if n == 0 else 0}
        if n:
            meta["message"] = f"an example of {code}"
        reply(f"reply {code}", n, meta, {} if n == 0 else None)
    for n, outcome in enumerate(OUTCOMES):
        reply(f"reply with outcome {outcome}", 0 if n == 3 else 18, {"outcome": n, "attempts": 2}, None)
    reply("reply to an unreadable id", 1, {"outcome": 0, "attempts": 0, "message": "x"}, None, id=0)
    reply("reply with every meta key", 18, EVERY_META, None)
    reply("reply with a meta key of the future", 0, {"outcome": 3, "attempts": 1, "colour": {"a": [1]}}, 5)
    reply("reply with rows", 0, {"outcome": 3, "attempts": 1, "queue_us": 12, "store_us": 40},
          {"columns": [["id", "int8", False, None, None], ["name", "text", True, None, None]],
           "rows": [[1, "eins"], [2, None]]})
    bad = {
        "code 21": ([7, 21, {"outcome": 0, "attempts": 0}, None], "code"),
        "a negative code": ([7, -1, {}, None], "code"),
        "a code as str": ([7, "ok", {}, None], "code"),
        "meta as nil": ([7, 0, None, None], "meta"),
        "meta as array": ([7, 0, [], None], "meta"),
        "five fields": ([7, 0, {}], "5 fields"),
        "seven fields": ([7, 0, {}, None, None], "7 fields"),
    }
    for name, (fields, contains) in bad.items():
        f.refuse(f"reply with {name}", "daemon", pack([1, REPLY] + fields), "invalid", contains, cut=True)
    f.refuse("reply cut in its meta", "daemon", b"\x96\x01\x06\x07\x00\x82\xa1a\x01", "invalid", "meta",
             cut=True)
    f.refuse("reply cut in its body", "daemon", b"\x96\x01\x06\x07\x00\x80\xa5abc", "invalid", "truncated",
             cut=True)
    f.refuse("reply with meta that is not UTF-8", "daemon", b"\x96\x01\x06\x07\x00\x81\xa7message\xa1\xff\xc0",
             "invalid", "UTF-8", cut=True)
    return f


EVERY_META = {
    "outcome": 4, "attempts": 3, "retryable": True, "retry_after_ms": 250, "sqlstate": "40001",
    "vendor_code": -2147483648, "message": "could not serialize access", "detail": {"table": "orders"},
    "store": "orders", "rows_affected": 0, "last_id": -1, "warnings": ["a", "b"], "replayed": True,
    "replicated": False, "queue_us": 2**40, "store_us": 1, "omitted": True,
}


def metas():
    f = File("meta")
    good = {
        "least": {"outcome": 0, "attempts": 0}, "every key": EVERY_META,
        "unknown keys": {"outcome": 1, "attempts": 1, "x": None, "y": {"z": [1, [2]]}},
        "rows_affected of 64 bits": {"outcome": 3, "attempts": 1, "rows_affected": 2**63 - 1},
        "vendor_code at its top": {"outcome": 1, "attempts": 1, "vendor_code": 2**31 - 1},
        "flags at their default": {"outcome": 3, "attempts": 1, "retryable": False, "replicated": True},
    }
    bad = {
        "no outcome": {"attempts": 1}, "outcome 5": {"outcome": 5}, "outcome as str": {"outcome": "applied"},
        "attempts negative": {"outcome": 3, "attempts": -1}, "attempts of 33 bits": {"outcome": 3, "attempts": 2**32},
        "retryable as integer": {"outcome": 3, "retryable": 1}, "message as bin": {"outcome": 1, "message": b"x"},
        "vendor_code of 33 bits": {"outcome": 1, "vendor_code": 2**31},
        "rows_affected of 65 bits": {"outcome": 3, "rows_affected": 2**63},
        "warnings as str": {"outcome": 3, "warnings": "w"}, "sqlstate as integer": {"outcome": 1, "sqlstate": 40001},
    }
    for name, m in good.items():
        f.add(name=name, hex=pack(m).hex(), accept=True, readable=readable(m))
    for name, m in bad.items():
        f.add(name=name, hex=pack(m).hex(), accept=False, code="invalid", reason_contains="meta")
    f.add(name="an array", hex="90", accept=False, code="invalid", reason_contains="meta")
    return f


LIMITS = {"message_max": 20 << 20, "reply_max": 8 << 20, "part_max": 256 << 10, "depth_max": 128,
          "elements_max": 1_000_000, "timeout_ms_max": 86_400_000, "credit_max": 1024,
          "fetch_max": 1_000_000, "calls_per_peer_max": 4096}


def welcomes():
    f = File("welcome")
    stores = [["orders", "sql", ["query", "execute"]], ["cache", "key_value", []]]

    def welcome(name, limits, heartbeat, stores, version=1):
        f.frame(name, "daemon", pack([1, WELCOME, 1, version, limits, heartbeat, stores]),
                {"type": "welcome", "id": 1, "version": version, "limits": limits, "heartbeat_ms": heartbeat,
                 "stores": stores})

    welcome("welcome", LIMITS, 10_000, stores)
    welcome("welcome without stores", LIMITS, 1, [])
    welcome("welcome with no limits: their defaults", {}, 10_000, stores)
    welcome("welcome with other limits", {**LIMITS, "message_max": 1 << 20, "fetch_max": 10}, 500, stores)
    welcome("welcome with a limit of the future", {**LIMITS, "colours_max": 3}, 10_000, stores)
    for name, fields, contains in [
        ("limits as array", [1, [], 1, []], "limits"),
        ("a negative limit", [1, {"message_max": -1}, 1, []], "limits"),
        ("a limit as str", [1, {"message_max": "1"}, 1, []], "limits"),
        ("heartbeat 0", [1, {}, 0, []], "heartbeat_ms"),
        ("stores as map", [1, {}, 1, {}], "stores"),
        ("a store of two", [1, {}, 1, [["a", "sql"]]], "stores"),
        ("a store without a name", [1, {}, 1, [["", "sql", []]]], "stores"),
        ("a verb as integer", [1, {}, 1, [["a", "sql", [1]]]], "stores"),
        ("six fields", [1, {}, 1], "6 fields"),
    ]:
        f.refuse(f"welcome with {name}", "daemon", pack([1, WELCOME, 1] + fields), "invalid", contains,
                 cut=True)
    return f


def limits():
    f = File("limits")
    small = {"message_max": 100}
    data, shown = request(body={"x": "y" * 60})
    at = {"message_max": len(data)}
    f.frame("a frame of exactly message_max", "client", data, shown, limits=at)
    f.refuse("a frame of one byte more", "client", request(body={"x": "y" * 61})[0], "too_large", "bytes",
             limits=at)
    f.refuse("a hello above message_max", "client", pack([1, HELLO, 1, "n" * 200, "1", 1, 1, False]),
             "too_large", "bytes", limits=small)
    f.refuse("data above message_max", "client", pack([1, DATA, 9, 1, False, ["x" * 100]]), "too_large",
             "bytes", limits=small)
    f.refuse("a request of 20 MiB and a byte", "client",
             [(head() + b"\x81\xa1a\xc6" + struct.pack(">I", 20 << 20), 1), (b"\x00", 20 << 20)],
             "too_large", "bytes")
    room = (20 << 20) - len(head() + b"\x81\xa1a\xc6\x00\x00\x00\x00")
    _, shown = request()
    f.frame("a request of exactly 20 MiB", "client",
            [(head() + b"\x81\xa1a\xc6" + struct.pack(">I", room), 1), (b"\x00", room)],
            {**shown, "body": {"$size": room + 8}})
    # The body's map is level 1, so 127 arrays inside it make 128 levels.
    f.frame("a body of depth 128", "client", [(head() + b"\x81\xa1a", 1), (b"\x91", 126), (b"\x90", 1)],
            {**shown, "body": {"$size": 3 + 127}})
    f.refuse("a body of depth 129", "client", [(head() + b"\x81\xa1a", 1), (b"\x91", 127), (b"\x90", 1)],
             "too_large", "deep")
    f.refuse("a body of depth 100000", "client", [(head() + b"\x81\xa1a", 1), (b"\x91", 100_000), (b"\xc0", 1)],
             "too_large", "deep")
    f.refuse("a body of maps nested too deeply", "client",
             [(head(), 1), (b"\x81\xa1a", 129), (b"\xc0", 1)], "too_large", "deep")
    # The map, its key, the array, and 999997 elements.
    f.frame("a body of 1000000 values", "client",
            [(head() + b"\x81\xa1a\xdd" + struct.pack(">I", 999_997), 1), (b"\xc0", 999_997)],
            {**shown, "body": {"$size": 8 + 999_997}})
    f.refuse("a body of 1000001 values", "client",
             [(head() + b"\x81\xa1a\xdd" + struct.pack(">I", 999_998), 1), (b"\xc0", 999_998)],
             "too_large", "many")
    few = {"elements_max": 5, "depth_max": 2}
    f.frame("five values under elements_max 5", "client", *request(body={"a": [1, 2]}), limits=few)
    f.refuse("six values under elements_max 5", "client", request(body={"a": [1, 2, 3]})[0], "too_large",
             "many", limits=few)
    f.refuse("three levels under depth_max 2", "client", request(body={"a": [[]]})[0], "too_large", "deep",
             limits=few)
    own = {"timeout_ms_max": 1000, "credit_max": 8, "fetch_max": 10}
    f.frame("options at limits of the daemon's own", "client",
            *request(options={"timeout_ms": 1000, "credit": 8, "fetch": 10}), limits=own)
    for option, v in (("timeout_ms", 1001), ("credit", 9), ("fetch", 11)):
        f.refuse(f"{option} above a limit of the daemon's own", "client", request(options={option: v})[0],
                 "invalid", f"`{option}`", limits=own)
    f.frame("a reply of exactly message_max", "daemon", pack([1, REPLY, 7, 0, {"outcome": 3}, b"x" * 20]),
            {"type": "reply", "id": 7, "code": "ok", "meta": {"outcome": 3}, "body": {"$bin": "78" * 20}},
            limits={"message_max": len(pack([1, REPLY, 7, 0, {"outcome": 3}, b"x" * 20]))})
    return f


def values():
    f = File("values")

    def good(name, data, shown=..., text=None):
        v = {"name": name, **hexed(data), "accept": True}
        if shown is not ...:
            v["readable"] = readable(shown)
        if text is not None:
            v["text"] = text
        f.add(**v)

    def bad(name, data, contains=""):
        f.add(name=name, **hexed(data), accept=False, code="invalid", reason_contains=contains)

    def ext(code, payload):
        return pack(msgpack.ExtType(code, payload))

    def stamp(payload):  # ext -1, which Python's ExtType refuses
        heads = {4: b"\xd6", 8: b"\xd7"}
        return heads.get(len(payload), b"\xc7" + bytes([len(payload)])) + b"\xff" + payload

    for name, v in {"nil": None, "true": True, "false": False, "0": 0, "127": 127, "128": 128, "255": 255,
                    "256": 256, "65536": 65536, "2^32": 2**32, "2^64-1": U64, "-1": -1, "-32": -32,
                    "-33": -33, "-129": -129, "-32769": -32769, "-2^63": -2**63, "1.5": 1.5, "inf": math.inf,
                    "-inf": -math.inf, "nan": math.nan, "text": "héllo", "text of 32 bytes": "x" * 32,
                    "bytes": b"\x00\xff", "no bytes": b"", "array": [1, [2]], "array of 16": list(range(16)),
                    "document": {"b": 1, "a": {"c": None}}}.items():
        good(name, pack(v), v)
    good("float 32", b"\xca\x3f\xc0\x00\x00", 1.5)

    good("instant of 4 bytes", stamp(struct.pack(">I", 1_769_847_300)), text="2026-01-31T08:15:00Z")
    good("instant 0", stamp(struct.pack(">I", 0)), text="1970-01-01T00:00:00Z")
    good("instant of 8 bytes", stamp(struct.pack(">Q", 500_000_000 << 34 | 1_769_847_300)),
         text="2026-01-31T08:15:00.5Z")
    good("instant of 8 bytes, at the end of 34 bits", stamp(struct.pack(">Q", 2**34 - 1)),
         text="2514-05-30T01:53:03Z")
    good("instant of 12 bytes", stamp(struct.pack(">Iq", 999_999_999, -1)),
         text="1969-12-31T23:59:59.999999999Z")
    good("instant of 12 bytes, longer than needed", stamp(struct.pack(">Iq", 0, 0)),
         text="1970-01-01T00:00:00Z")
    good("instant at the start of the Julian days", stamp(struct.pack(">Iq", 0, -210_866_803_200)),
         text="-4713-11-24T00:00:00Z")
    good("instant infinity", stamp(struct.pack(">Iq", 0, 2**63 - 1)), text="infinity")
    good("instant -infinity", stamp(struct.pack(">Iq", 0, -2**63)), text="-infinity")
    bad("instant of 8 bytes with 10^9 nanoseconds", stamp(struct.pack(">Q", 1_000_000_000 << 34)))
    bad("instant of 12 bytes with 10^9 nanoseconds", stamp(struct.pack(">Iq", 1_000_000_000, 5)))
    bad("instant of 5 bytes", stamp(bytes(5)))
    bad("instant beyond any date", stamp(struct.pack(">Iq", 0, 2**63 - 2)))
    bad("instant infinity with nanoseconds", stamp(struct.pack(">Iq", 1, 2**63 - 1)))

    def decimal(sign, scale, digits):
        return ext(1, struct.pack(">Bh", sign, scale) + digits)

    for sign, scale, digits, text in [
        (0, 2, b"1250", "12.50"), (1, 2, b"1250", "-12.50"), (0, 0, b"0", "0"), (0, 3, b"0", "0.000"),
        (0, 7, b"1", "0.0000001"), (0, -3, b"5", "5000"), (0, 0, b"123456789012345678901234567890",
                                                           "123456789012345678901234567890"),
        (1, 32767, b"1", "-0." + "0" * 32766 + "1"), (0, 4, b"1234", "0.1234"),
    ]:
        good(f"decimal {text[:40]}", decimal(sign, scale, digits), text=text)
    good("decimal of 150000 digits", [(b"\xc9" + struct.pack(">I", 150_003) + b"\x01\x00\x00\x00", 1),
                                      (b"9", 150_000)])
    bad("decimal of 150001 digits", [(b"\xc9" + struct.pack(">I", 150_004) + b"\x01\x00\x00\x00", 1),
                                     (b"9", 150_001)])
    bad("decimal with a leading zero", decimal(0, 0, b"01"))
    bad("decimal of negative zero", decimal(1, 0, b"0"))
    bad("decimal without digits", decimal(0, 0, b""))
    bad("decimal with sign 2", decimal(2, 0, b"1"))
    bad("decimal with a point in its digits", decimal(0, 0, b"1.5"))
    bad("decimal of one byte", ext(1, b"\x00"))

    for days, text in [(0, "1970-01-01"), (20_484, "2026-01-31"), (-719_528, "0000-01-01"),
                       (-719_529, "-0001-12-31"), (2_932_896, "9999-12-31"), (2_932_897, "+10000-01-01"),
                       (-1, "1969-12-31"), (11_016, "2000-02-29"), (2**31 - 1, "infinity"),
                       (-2**31, "-infinity")]:
        good(f"date {text}", ext(2, struct.pack(">i", days)), text=text)
    bad("date of 3 bytes", ext(2, bytes(3)))
    bad("date of 8 bytes", ext(2, bytes(8)))

    for us, offset, text in [(0, None, "00:00:00"), (29_700_500_000, None, "08:15:00.5"),
                             (86_399_999_999, None, "23:59:59.999999"), (86_400_000_000, None, "24:00:00"),
                             (29_700_000_000, 3600, "08:15:00+01:00"), (0, -57_599, "00:00:00-15:59:59"),
                             (0, 0, "00:00:00+00:00"), (1, 20_700, "00:00:00.000001+05:45")]:
        payload = struct.pack(">q", us) + (b"" if offset is None else struct.pack(">i", offset))
        good(f"time {text}", ext(3, payload), text=text)
    bad("time beyond a day", ext(3, struct.pack(">q", 86_400_000_001)))
    bad("time before midnight", ext(3, struct.pack(">q", -1)))
    bad("time with an offset of 16 hours", ext(3, struct.pack(">qi", 0, 57_600)))
    bad("time with an offset of -16 hours", ext(3, struct.pack(">qi", 0, -57_600)))
    bad("time of 4 bytes", ext(3, bytes(4)))

    for us, text in [(0, "1970-01-01T00:00:00"), (1_769_847_300_500_000, "2026-01-31T08:15:00.5"),
                     (-1, "1969-12-31T23:59:59.999999"), (2**63 - 1, "infinity"), (-2**63, "-infinity"),
                     (2**63 - 2, "+294247-01-10T04:00:54.775806")]:
        good(f"local timestamp {text}", ext(4, struct.pack(">q", us)), text=text)
    bad("local timestamp of 4 bytes", ext(4, bytes(4)))

    for months, days, us, text in [
        (14, 3, 14_706_700_000, "P1Y2M3DT4H5M6.7S"), (0, 0, 0, "PT0S"), (-1, 2, 0, "P-1M2D"),
        (0, 0, -500_000, "PT-0.5S"), (2**31 - 1, -2**31, 0, "P178956970Y7M-2147483648D"),
        (0, 0, -2**63, "PT-2562047788H-54.775808S"),
    ]:
        good(f"interval {text}", ext(5, struct.pack(">iiq", months, days, us)), text=text)
    bad("interval of 15 bytes", ext(5, bytes(15)))

    good("uuid", ext(6, bytes.fromhex("123e4567e89b12d3a456426614174000")),
         text="123e4567-e89b-12d3-a456-426614174000")
    bad("uuid of 15 bytes", ext(6, bytes(15)))

    good("json", ext(7, '{"ä":[1,null]}'.encode()), text='{"ä":[1,null]}')
    bad("json that is empty", ext(7, b""))
    bad("json that is not UTF-8", ext(7, b'"\xff"'))

    def integer(v):
        n = 9
        while not -(1 << (8 * n - 1)) <= v < 1 << (8 * n - 1):
            n += 1
        return ext(8, v.to_bytes(n, "big", signed=True))

    for name, v in {"2^64": 2**64, "-2^63-1": -2**63 - 1, "2^64 squared": 2**128, "-2^200": -2**200}.items():
        good(f"integer {name}", integer(v), text=str(v))
    good("integer of 65536 bytes", [(b"\xc9" + struct.pack(">I", 65_536) + b"\x08\x7f", 1), (b"\xff", 65_535)])
    bad("integer of 65537 bytes", [(b"\xc9" + struct.pack(">I", 65_537) + b"\x08\x7f", 1), (b"\xff", 65_536)])
    bad("integer that fits in 64 bits", ext(8, (5).to_bytes(8, "big")))
    bad("integer 2^64-1 as ext", ext(8, (2**64 - 1).to_bytes(9, "big")))
    bad("integer with a byte more than needed", ext(8, (2**64).to_bytes(10, "big")))
    bad("negative integer with a byte more than needed", ext(8, (-2**65).to_bytes(10, "big", signed=True)
                                                            .rjust(11, b"\xff")))

    scope = b"\x05\x00\x00\x00\x00"
    good_bson = {
        "binary": (0x05, b"\x02\x00\x00\x00\x04ab"), "undefined": (0x06, b""), "ObjectId": (0x07, bytes(12)),
        "regex": (0x0b, b"^a.*\x00i\x00"), "DBPointer": (0x0c, b"\x02\x00\x00\x00a\x00" + bytes(12)),
        "code": (0x0d, b"\x02\x00\x00\x00x\x00"), "symbol": (0x0e, b"\x01\x00\x00\x00\x00"),
        "code with scope": (0x0f, struct.pack("<I", 4 + 6 + 5) + b"\x02\x00\x00\x00x\x00" + scope),
        "int32": (0x10, struct.pack("<i", -5)), "timestamp": (0x11, bytes(8)),
        "int64": (0x12, struct.pack("<q", 5)), "decimal128": (0x13, bytes(16)), "max key": (0x7f, b""),
        "min key": (0xff, b""),
    }
    for name, (kind, payload) in good_bson.items():
        good(f"bson {name}", ext(16, bytes([kind]) + payload))
    for name, (kind, payload) in {
        "double, which msgpack has": (0x01, bytes(8)), "string, which msgpack has": (0x02, b"\x01\x00\x00\x00\x00"),
        "date, which is ext -1": (0x09, bytes(8)), "type 0x14": (0x14, b""), "ObjectId of 11 bytes": (0x07, bytes(11)),
        "binary with a wrong length": (0x05, b"\x03\x00\x00\x00\x04ab"),
        "binary with a negative length": (0x05, b"\xff\xff\xff\xff\x04ab"),
        "regex without options": (0x0b, b"^a\x00"), "regex with bytes after it": (0x0b, b"a\x00i\x00x"),
        "code without NUL": (0x0d, b"\x02\x00\x00\x00xy"), "code of nothing": (0x0d, b""),
        "code with scope cut": (0x0f, struct.pack("<I", 14) + b"\x02\x00\x00\x00x\x00" + scope[:-1]),
        "int64 of 4 bytes": (0x12, bytes(4)), "min key with a value": (0xff, b"\x00"),
    }.items():
        bad(f"bson {name}", ext(16, bytes([kind]) + payload))
    bad("bson without a type", ext(16, b""))
    good("bson document", ext(17, b"\x0c\x00\x00\x00\x10a\x00\x05\x00\x00\x00\x00"))
    good("bson document, empty", ext(17, scope))
    bad("bson document with a wrong length", ext(17, b"\x06\x00\x00\x00\x00"))
    bad("bson document without its end", ext(17, b"\x05\x00\x00\x00\x01"))
    bad("bson document of 4 bytes", ext(17, b"\x04\x00\x00\x00"))
    bad("ext 9, which is nobody's", ext(9, b"x"))
    bad("ext 127, which is nobody's", ext(127, b"x"))
    bad("ext -2, which is nobody's", b"\xd4\xfe\x00")
    return f


FILES = [client_frames, option_frames, piece_frames, violations, replies, metas, welcomes, limits, values]


def seeds(files):
    """path -> bytes of the fuzzers' first inputs: a few frames of each kind, small."""
    out = {}

    def raw(v):
        return bytes.fromhex(v["hex"]) if "hex" in v else b""

    for f in files:
        if f.name == "values":
            for i, v in enumerate(f.vectors):
                data = raw(v)
                if not data or len(data) > 400:
                    continue
                out[f"check/value_{i:03}"] = data
                item = msgpack.unpackb(data, ext_hook=msgpack.ExtType, raw=True, timestamp=0) \
                    if v["accept"] else None
                if isinstance(item, msgpack.ExtType):
                    out[f"values/ext_{i:03}"] = struct.pack("b", item.code) + item.data
                elif isinstance(item, msgpack.Timestamp):
                    out[f"values/ext_{i:03}"] = b"\xff" + item.to_bytes()
                if "text" in v and len(v["text"]) < 100:
                    out[f"values/text_{i:03}"] = b"\x00" + v["text"].encode()
        elif f.name != "options":
            for i, v in enumerate(f.vectors):
                data = raw(v)
                if data and len(data) <= 400 and (v["accept"] or i % 3 == 0):
                    out[f"envelope/{f.name}_{i:03}"] = data
    every = [v for f in files if f.name == "options" for v in f.vectors if v["name"] == "every option"]
    out["envelope/every_option"] = raw(every[0])
    return out


def main():
    files = [make() for make in FILES]
    wanted = {}
    for f in files:
        lines = ",\n".join(json.dumps(v, ensure_ascii=False, sort_keys=False) for v in f.vectors)
        wanted[HERE / f"{f.name}.json"] = f"[\n{lines}\n]\n".encode()
    for path, data in seeds(files).items():
        wanted[CORPUS / path] = data
    stale = [p for p, data in wanted.items() if not p.exists() or p.read_bytes() != data]
    print(f"{sum(len(f.vectors) for f in files)} vectors in {len(files)} files")
    if "--check" in sys.argv[1:]:
        for p in stale:
            print(f"{p.relative_to(HERE.parent.parent)} is not what this script writes", file=sys.stderr)
        return 1 if stale else 0
    for p in stale:
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(wanted[p])
    return 0


if __name__ == "__main__":
    sys.exit(main())
