"""What the client refuses before it sends anything, and values at the ends of their ranges."""

import collections
import datetime
import decimal
import enum
import itertools
import random
import types

import headgate
import pytest
from headgate import wire
from headgate.address import addresses
from headgate.key_value import encode

UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=14))


@pytest.mark.parametrize("instant", [
    datetime.datetime(1900, 1, 1, 1, 1, 1, 1, tzinfo=UTC),
    datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime.datetime(1, 1, 1, tzinfo=UTC),
    datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime.datetime(2026, 7, 1, 12, 0, 0, 123457, tzinfo=EAST),
])
def test_instants_are_exact_to_the_microsecond(instant):
    assert wire.unpack(wire.pack(instant)) == instant


def test_an_instant_before_the_year_1_keeps_its_value():
    """Python's datetime cannot hold it, so it comes back as what msgpack calls it."""
    back = wire.unpack(wire.pack(datetime.datetime(1, 1, 1, tzinfo=EAST)))
    assert (back.seconds, back.nanoseconds) == (-62135596800 - 14 * 3600, 0)


@pytest.mark.parametrize("value", ["\ud800", {1, 2}, object(), 1j, headgate.Interval(2**40, 0, 0),
                                   headgate.Bson(300, b"")])
def test_what_has_no_form_is_refused(value):
    with pytest.raises(headgate.InvalidRequest):
        wire.pack(value)


def key_file(path, public, secret):
    path.write_bytes(b'public = "' + public + b'"\nsecret = "' + secret + b'"\n')
    return str(path)


@pytest.mark.parametrize("public", ["é".encode() * 40, b"'" * 40, b"\xff" * 40, b"a" * 39])
def test_a_key_that_is_no_z85_is_refused(tmp_path, public):
    url = "tcp://127.0.0.1:1?server_key=" + "a" * 40
    with pytest.raises(headgate.InvalidRequest, match="is no key file"):
        addresses(url, key_file(tmp_path / "key", public, b"b" * 40))
    with pytest.raises(headgate.InvalidRequest, match="server_key"):
        addresses("tcp://127.0.0.1:1?server_key=" + "é" * 40, None)


def test_a_key_of_every_character_of_z85_is_taken(tmp_path):
    z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    for at in (0, 40, 45):
        key = z85[at:at + 40]
        a, = addresses("tcp://h:1?server_key=" + key.decode(), key_file(tmp_path / "key", key, key))
        assert a.server_key == a.public_key == a.secret_key == key


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), 86401, 1e12])
def test_a_timeout_that_is_none(timeout):
    with pytest.raises(headgate.InvalidRequest, match="timeout must be"):
        headgate.connect("ipc:///nowhere/hg.sock", timeout=timeout)


def test_an_endpoint_that_no_socket_takes():
    with pytest.raises(headgate.InvalidRequest, match="too long"):
        headgate.connect("ipc://" + "/long" * 50, timeout=1)


@pytest.mark.parametrize("query", ["server_key=" + "a" * 40 + "&sever_key=x", "x=1&server_key=" + "a" * 40])
def test_an_option_that_is_none_beside_the_key(query):
    with pytest.raises(headgate.InvalidRequest, match="unknown option"):
        addresses("tcp://h:1?" + query, None)


@pytest.mark.parametrize("timeout", [None, "5", datetime.timedelta(seconds=5)])
def test_a_timeout_of_another_type(timeout):
    with pytest.raises(headgate.InvalidRequest, match="timeout must be"):
        headgate.connect("ipc:///nowhere/hg.sock", timeout=timeout)


class Colour(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Half(float):
    def __repr__(self):
        return "a half"


def test_members_of_an_enum_are_their_values():
    assert wire.unpack(wire.pack([Colour.RED, {Colour.RED: Number.ONE}, Half(0.5)])) == [
        "red", {"red": 1}, 0.5]
    assert [encode(v) for v in (Colour.RED, Number.ONE, Half(0.5))] == [b"red", b"1", b"0.5"]


def test_json_that_is_none():
    with pytest.raises(ValueError):
        headgate.Json.of([float("nan")])


class Sent:
    """In a Client's place: remembers the body, answers whatever is asked for."""

    timeout = 5

    def request(self, store, verb, body, **options):
        self.verb, self.body = verb, body
        return headgate.Answer(collections.defaultdict(lambda: []), {})

    def upload(self, store, verb, body, pieces, **options):
        self.rows = [row for piece in pieces for row in piece]
        return headgate.Answer(None, {})


@pytest.fixture
def sent():
    return Sent()


def test_one_key_is_no_list_of_letters(sent):
    kv = headgate.KeyValue(sent, "kv")
    for call, field in ((kv.mget, "keys"), (kv.sinter, "keys"), (kv.sunion, "keys"), (kv.sdiff, "keys"),
                        (lambda *keys: kv.hmget("h", *keys), "fields")):
        for args in (["abc"], [b"abc"], [["abc"]], [iter(["abc"])]):
            call(*args)
            assert sent.body[field] == [b"abc"]
        call("abc", "d")
        assert sent.body[field] == [b"abc", b"d"]


@pytest.mark.parametrize("call", [
    lambda kv: kv.incr("k", 1.5), lambda kv: kv.decr("k", 1.5), lambda kv: kv.hincrby("h", "f", 1.5),
    lambda kv: kv.hset("h", value="x"), lambda kv: kv.get("\ud800"), lambda kv: kv.set("k", 1, ex="5"),
    lambda kv: kv.set("k", 1, ex=float("nan")), lambda kv: kv.expire("k", float("inf")),
    lambda kv: kv.blpop("k", -1), lambda kv: kv.blpop("k", None), lambda kv: kv.brpop("k", float("inf")),
    lambda kv: kv.blmove("a", "b", -1), lambda kv: kv.lock("l", float("nan")).acquire(),
    lambda kv: kv.lock("l", 1, -1).acquire(),
])
def test_what_key_value_stores_are_not_asked(sent, call):
    with pytest.raises(headgate.InvalidRequest):
        call(headgate.KeyValue(sent, "kv"))
    assert not hasattr(sent, "body")


@pytest.mark.parametrize("params", [None, 5, "ab", memoryview(b"ab"), {1, 2}])
def test_parameters_that_are_none(sent, params):
    db = headgate.Sql(sent, "sql")
    with pytest.raises(headgate.InvalidRequest, match="params must be"):
        db.query("select ?, ?", params)
    with pytest.raises(headgate.InvalidRequest, match="params must be"):
        db.execute_many("select ?, ?", [params])


@pytest.mark.parametrize("row", ["ab", {"a": 1, "b": 2}, {1, 2}, 5])
def test_rows_that_are_none(sent, row):
    """A dict's keys and a text's letters would be loaded without a word."""
    db = headgate.Sql(sent, "sql")
    with pytest.raises(headgate.InvalidRequest, match="a row must be"):
        db.copy_in("t", [row])
    db.copy_in("t", iter([(1, 2), [3, 4], range(2)]), rows_per_piece=2)
    assert sent.rows == [[1, 2], [3, 4], [0, 1]]
    with pytest.raises(headgate.InvalidRequest, match="rows_per_piece"):
        db.copy_in("t", [(1, 2)], rows_per_piece=0)
    with pytest.raises(headgate.InvalidRequest, match="columns"):
        db.copy_in("t", [(1, 2)], "ab")


@pytest.mark.parametrize("call", [
    lambda c: c.find_one("6b0be6e64cd9a7d96664154c"), lambda c: c.find_one(headgate.ObjectId()),
    lambda c: list(c.find(["ab"])), lambda c: c.delete_many([]), lambda c: c.delete_one(None),
    lambda c: c.update_one({}, [{"$set": {"a": 1}}]), lambda c: c.insert_many({"a": 1}),
    lambda c: c.insert_one(None), lambda c: c.replace_one({}, "ab"), lambda c: list(c.aggregate({"a": 1})),
    lambda c: c.find_one(sort=5), lambda c: c.bulk_write({"insert_one": {}}),
])
def test_what_document_stores_are_not_asked(sent, call):
    with pytest.raises(headgate.InvalidRequest):
        call(headgate.Documents(sent, "docs")["c"])
    assert not hasattr(sent, "body")


def test_a_document_store_is_no_sequence(sent):
    """Python would ask it for 0, 1, 2 and so on without an end."""
    docs = headgate.Documents(sent, "docs")
    with pytest.raises(headgate.InvalidRequest):
        list(docs)
    with pytest.raises(headgate.InvalidRequest):
        "c" in docs


def test_what_the_stores_are_is_told_to_type_checkers():
    kinds = {"sql": headgate.Sql, "documents": headgate.Documents, "key_value": headgate.KeyValue}
    for name, kind in kinds.items():
        assert getattr(headgate.Client, name).__annotations__["return"].strip("'\"") == kind.__name__


@pytest.mark.parametrize("verb, sql", [
    ("query", "select 1;"), ("query", "values (1)"), ("query", "\n with x as (select 1) select * from x"),
    ("query", "-- a\n-- b\nselect 1"), ("query", "(select 1)"), ("query", "/* insert */select 1"), ("query", "SHOW x"),
    ("execute", "with x as (select 1) insert into t select * from x"), ("execute", "insert into t values (1)"),
    ("execute", "/* select */ delete from t"), ("execute", "-- select"), ("execute", ""),
    ("execute", "/* " * 10_000), ("execute", "/* */" * 10_000 + "update t set a = 1"),
])
def test_the_verb_of_a_cursor(sent, verb, sql):
    """A service that may only read has no `execute`."""
    headgate.Sql(sent, "sql").cursor().execute(sql)
    assert sent.verb == verb


def test_every_address_is_tried_whatever_other_threads_do(monkeypatch):
    tried = []

    def refuse(target, *args):
        tried.append(target.endpoint)
        client._next += 1  # as a thread does that has lost its connection
        raise headgate.Unavailable("nobody is there", code="unavailable")

    urls = ["ipc:///one", "ipc:///two"]
    client = headgate.Client(addresses(",".join(urls), None), timeout=5, name="test")
    monkeypatch.setattr("headgate.client.Connection", refuse)
    with pytest.raises(headgate.Unavailable):
        client.new_connection()
    assert sorted(tried) == sorted(urls)


def test_any_mapping_is_a_map():
    inner = types.MappingProxyType({"$gt": 1})
    assert wire.unpack(wire.pack(collections.ChainMap({"a": [inner]}))) == {"a": [{"$gt": 1}]}


def test_object_ids_need_no_lock_and_differ_after_a_fork(monkeypatch):
    monkeypatch.setattr(headgate.ObjectId, "_count", itertools.count(0xFFFFFF))
    ids = [headgate.ObjectId(), headgate.ObjectId()]
    assert [i.binary[9:] for i in ids] == [b"\xff\xff\xff", b"\0\0\0"]
    monkeypatch.setattr(headgate.ObjectId, "_random", ids[0].binary[4:9])
    monkeypatch.setattr(headgate.ObjectId, "_pid", -1)  # of the parent
    assert headgate.ObjectId().binary[4:9] != ids[0].binary[4:9]


def test_decimals_that_are_no_number_are_floats():
    """As PROTOCOL.md has it: a numeric of PostgreSQL's may be NaN."""
    nan, infinite = wire.unpack(wire.pack([decimal.Decimal("NaN"), decimal.Decimal("-Infinity")]))
    assert isinstance(nan, float) and nan != nan and infinite == float("-inf")
    with pytest.raises(headgate.InvalidRequest):
        wire.pack(decimal.Decimal("sNaN"))


@pytest.mark.parametrize("value", ["aa " * 8, "x" * 24, "a" * 23, b"a" * 11, 5])
def test_an_object_id_that_is_none(value):
    with pytest.raises(ValueError, match="24 hexadecimal digits"):
        headgate.ObjectId(value)
    with pytest.raises(TypeError):
        headgate.ObjectId() < 5


def test_what_a_signal_handler_raises_is_no_fault_of_the_gateway(monkeypatch):
    class TimeIsUp(Exception):
        pass

    def interrupted(*_):
        raise TimeIsUp

    data = wire.pack(decimal.Decimal(1))
    monkeypatch.setattr("headgate.values.from_wire", interrupted)
    with pytest.raises(TimeIsUp):
        wire.unpack(data)


def test_bytes_that_are_no_frame():
    """All of them are the gateway's fault, whatever the decoder makes of them."""
    good = [wire.pack(v) for v in ([1, [2, {"a": b"b"}], "c"], decimal.Decimal("1.5"), 2**70, Half(0.5),
                                   datetime.datetime(2026, 1, 1, tzinfo=UTC), datetime.date(2026, 1, 1),
                                   headgate.ObjectId(), headgate.Json("1"), {"k": [None] * 20})]
    chance = random.Random(1)
    for _ in range(20_000):
        data = bytearray(chance.choice(good))
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            wire.unpack(bytes(data[:chance.randrange(1, len(data) + 1)]))
        except headgate.ProtocolError:
            pass
