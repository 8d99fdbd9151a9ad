"""Replays proto/vectors against the Python client: what it reads, what it refuses, what it writes."""

import json
import pathlib

import msgpack
import pytest

from headgate import wire
from headgate.errors import CODES, ProtocolError

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "proto" / "vectors"


def data_of(vector):
    if "hex" in vector:
        return bytes.fromhex(vector["hex"])
    return b"".join(bytes.fromhex(text) * count for text, count in vector["hex_repeat"])


def load(file, sender=None):
    vectors = json.loads((FOLDER / f"{file}.json").read_text())
    return [v for v in vectors if sender is None or v.get("from") == sender]


FILES = [p.stem for p in FOLDER.glob("*.json")]
FROM_DAEMON = [v for f in FILES for v in load(f, "daemon")]
FROM_CLIENT = [v for f in FILES for v in load(f, "client")]


def name(v):
    return v["name"]


def test_there_are_enough():
    assert sum(len(load(f)) for f in FILES) >= 120


@pytest.mark.parametrize("vector", FROM_DAEMON, ids=name)
def test_frames_of_the_daemon(vector):
    frame = data_of(vector)
    if not vector["accept"]:
        if not vector["cut"]:  # a type of a later version is ignored
            assert wire.decode(frame) is None
        else:
            with pytest.raises(ProtocolError):
                wire.decode(frame)
        return
    got = wire.decode(frame)
    wanted = vector["readable"]
    kind = wanted["type"]
    assert type(got).__name__.lower() == kind
    if kind == "welcome":
        assert (got.id, got.version, got.limits, got.heartbeat_ms, got.stores) == (
            wanted["id"], wanted["version"], wanted["limits"], wanted["heartbeat_ms"], wanted["stores"])
    elif kind == "reply":
        assert got.code == wanted["code"] and got.code in CODES and got.id == wanted["id"]
        plain = {k: v for k, v in wanted["meta"].items() if not isinstance(v, dict)}
        assert {k: got.meta[k] for k in plain} == plain
    elif kind in ("part", "credit"):
        assert (got.id, got.sequence) == (wanted["id"], wanted["seq"])
    elif kind == "goaway":
        assert got.drain_ms == wanted["drain_ms"]
    else:
        assert got.id == wanted["id"]


def plain(value):
    """A vector's readable value as Python's: {"$bin": hex}, {"$ext": [type, hex]}, {"$map": pairs}."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        tag, inner = next(iter(value.items()))
        if tag == "$bin":
            return bytes.fromhex(inner)
        if tag == "$ext":
            return msgpack.ExtType(inner[0], bytes.fromhex(inner[1]))
        if tag == "$map":
            return {plain(k): plain(v) for k, v in inner}
    return {k: plain(v) for k, v in value.items()}


def build(readable):
    """The client's own encoder for what a vector says."""
    r = readable
    kind = r["type"]
    if kind == "hello" and (r["proto_min"], r["proto_max"]) == (1, 1):
        return wire.hello(r["id"], r["name"], r["version"], r["pongs"])
    if kind == "request":
        return wire.request(r["id"], r["sent_us"], r["store"], r["verb"], r["options"], r["body"])
    if kind == "data":
        return wire.data(r["id"], r["seq"], r["last"], r["body"])
    if kind == "credit":
        return wire.credit(r["id"], r["seq"])
    if kind in ("cancel", "ping", "pong"):
        return getattr(wire, kind)(r["id"])
    return None


WRITABLE = [v for v in FROM_CLIENT if v["accept"] and "readable" in v]


@pytest.mark.parametrize("vector", WRITABLE, ids=name)
def test_frames_of_the_client(vector):
    text = json.dumps(vector["readable"])
    if any(tag in text for tag in ('"$size"', '"$float"', '"$ext"')):
        pytest.skip("too long to stand in the vector, or a value with no plain form in Python")
    built = build(plain(vector["readable"]))
    if built is None:
        pytest.skip("a frame that this client never makes")
    # The same values; a vector may use a longer form of an integer than a writer would.
    assert msgpack.unpackb(built, strict_map_key=False) == msgpack.unpackb(data_of(vector), strict_map_key=False)


VALUES = [v for f in ("values",) for v in load(f)]


@pytest.mark.parametrize("vector", VALUES, ids=name)
def test_values(vector):
    data = data_of(vector)
    if not vector["accept"]:
        with pytest.raises(ProtocolError):
            wire.unpack(data)
        return
    value = wire.unpack(data)
    again = wire.unpack(wire.pack(value))
    assert again == value or value != value  # NaN is not itself
