"""What goes over the wire: greetings, refusals, cuts. Nobody else notices a bad peer."""

import os
import random
import time

import msgpack
import pytest
from gateway import (APPLIED, CANCEL, CANCELLED, CREDIT, DATA, DEADLINE, DENIED, HELLO, INVALID, NOT_FOUND, NOT_SENT, OK,
                     OVERLOADED, PING, PONG, QUEUE_TIMEOUT, REPLY, REQUEST, TOO_LARGE,
                     UNAUTHENTICATED, UNAVAILABLE, UNSUPPORTED, WELCOME, until)


def test_hello_and_ping(gw):
    c = gw.client()
    assert c.welcome[1] == WELCOME and c.welcome[3] == 1
    assert c.welcome[4]["message_max"] == 20 << 20
    assert {s[0]: s[1] for s in c.welcome[6]} == {"headgate": "admin", "sql": "sql"}
    reply = c.call("headgate", "ping")
    assert reply[3:] == [OK, {"outcome": APPLIED, "attempts": 0}, {}]
    c.send([1, PING, 77])
    assert c.receive() == [1, PONG, 77]


def test_a_request_before_hello_is_refused_and_hello_may_follow(gw):
    c = gw.client(hello=False)
    reply = c.call("headgate", "ping")
    assert reply[3] == UNAUTHENTICATED and reply[4]["outcome"] == NOT_SENT
    assert c.hello()[1] == WELCOME
    c.ok("headgate", "ping")


def test_a_refused_hello_may_be_said_again(gw):
    c = gw.client(hello=False)
    c.send([1, HELLO, 5, "test", "1", 7, 9, False])
    assert c.receive()[3] == UNSUPPORTED
    assert c.hello()[1] == WELCOME


@pytest.mark.parametrize("store, verb, options, body, code, words", [
    ("nothing", "ping", {}, {}, NOT_FOUND, "store"),
    ("sql", "fly", {}, {}, UNSUPPORTED, "verb"),
    ("sql", "query", {"colour": 1}, {}, INVALID, "colour"),
    ("sql", "query", {"timeout_ms": 0}, {}, INVALID, "timeout_ms"),
    ("sql", "query", {"read_only": 1}, {}, INVALID, "read_only"),
    ("sql", "query", {}, {"sql": "select 1", "what": 1}, INVALID, "what"),
    ("sql", "query", {}, {"sql": 7}, INVALID, "sql"),
    ("sql", "query", {}, {}, INVALID, "sql"),
    ("sql", "begin", {"fetch": 5}, {}, INVALID, "fetch"),
    ("headgate", "show", {}, {"what": "everything"}, INVALID, "what"),
    ("headgate", "show", {}, {"whatever": "x"}, INVALID, "whatever"),
    ("headgate", "kill", {}, {}, INVALID, "call"),
    ("headgate", "ping", {"tx": 3}, {}, INVALID, "tx"),
])
def test_a_bad_request_is_refused_with_a_sentence(gw, store, verb, options, body, code, words):
    c = gw.client()
    reply = c.call(store, verb, body, **options)
    assert reply[3] == code, reply
    assert words in reply[4]["message"]
    assert reply[4]["outcome"] in (NOT_SENT, 1)
    c.ok("headgate", "ping")


CUTTING = {
    "no array": msgpack.packb({"a": 1}),
    "empty": b"",
    "one byte": b"\xc1",
    "two fields": msgpack.packb([1, 3]),
    "id is text": msgpack.packb([1, 3, "x", 0, "sql", "ping", {}, {}]),
    "version 2": msgpack.packb([2, 3, 4, 0, "sql", "ping", {}, {}]),
    "a daemon's frame": msgpack.packb([1, REPLY, 4, 0, {}, None]),
    "a malformed credit": msgpack.packb([1, CREDIT, 4]),
    "a malformed cancel": msgpack.packb([1, CANCEL, 4, 5]),
    "a lying array": b"\xdd\xff\xff\xff\xff",
    "a second hello": msgpack.packb([1, HELLO, 9, "test", "1", 1, 1, False]),
}


@pytest.mark.parametrize("name", CUTTING)
def test_a_peer_that_breaks_the_protocol_is_cut_and_others_are_not(gw, name):
    other = gw.client()
    c = gw.client().watch()
    c.send(CUTTING[name])
    assert c.is_cut(), gw.log()
    other.ok("headgate", "ping")
    until(lambda: len(other.show("peers")) == 1, what="the slot is free again")


def test_several_frames_in_one_message_cut(gw):
    c = gw.client().watch()
    c.socket.send_multipart([b"", msgpack.packb([1, REQUEST, 4, 0, "sql", "ping", {}, {}])])
    assert c.is_cut(), gw.log()


def test_a_client_that_chooses_its_routing_id_is_cut(gw):
    c = gw.client(hello=False, routing_id=b"me").watch()
    c.send([1, HELLO, 9, "test", "1", 1, 1, False])
    assert c.is_cut(), gw.log()


REFUSED = {
    "unknown type": ([1, 42, 7], UNSUPPORTED),
    "truncated": (msgpack.packb([1, REQUEST, 7, 0, "sql", "ping", {}, {"a": 1}])[:-1], INVALID),
    "trailing": (msgpack.packb([1, REQUEST, 7, 0, "sql", "ping", {}, {}]) + b"\x01", INVALID),
    "body is a list": ([1, REQUEST, 7, 0, "sql", "ping", {}, []], INVALID),
    "lying body": (msgpack.packb([1, REQUEST, 7, 0, "sql", "ping", {}, {}])[:-1]
                   + b"\xdf\xff\xff\xff\xff", INVALID),
    "deep": (msgpack.packb([1, REQUEST, 7, 0, "sql", "ping", {}, {}])[:-1]
             + b"\x81\xa1a" + b"\x91" * 200 + b"\xc0", TOO_LARGE),
    "too many": (msgpack.packb([1, REQUEST, 7, 0, "sql", "ping", {}, {}])[:-1]
                 + b"\x81\xa1a\xdd\x00\x10\x00\x00" + b"\xc0" * 0x100000, TOO_LARGE),
    "no UTF-8": (msgpack.packb([1, REQUEST, 7, 0, "sql", "ping", {}, {}])[:-1]
                 + b"\x81\xa1a\xa1\xff", INVALID),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_frame_with_an_id_is_answered(gw, name):
    frame, code = REFUSED[name]
    c = gw.client()
    c.send(frame)
    reply = c.receive()
    assert reply[1:4] == [REPLY, 7, code], reply
    assert reply[4]["message"]
    c.ok("headgate", "ping")


def test_above_message_max_is_answered_and_above_twice_that_drops_the_connection(start):
    gw = start(daemon='message_max = "64KiB"\nreply_max = "32KiB"\npart_max = "16KiB"')
    c = gw.client().watch()
    reply = c.call("sql", "query", {"sql": "select ?", "params": [b"x" * 100_000]})
    assert reply[3] == TOO_LARGE, reply
    c.ok("headgate", "ping")
    c.request("sql", "query", {"sql": "select ?", "params": [b"x" * 200_000]})
    assert c.is_cut()
    gw.client().ok("headgate", "ping")


def test_an_id_of_a_call_in_flight_cuts(gw):
    c = gw.client().watch()
    slow = "with recursive n(i) as (select 1 union all select i+1 from n) select count(*) from n"
    id = c.request("sql", "query", {"sql": slow}, timeout_ms=20_000)
    c.request("headgate", "ping", id=id)
    assert c.is_cut(), gw.log()
    until(lambda: not gw.client().show("calls"), what="its call ends too")


def test_random_bytes_do_no_harm(gw):
    good = gw.client()
    random.seed(int(os.environ.get("HEADGATE_SEED", "1")))
    frame = msgpack.packb([1, REQUEST, 7, 123456, "sql", "query", {"timeout_ms": 100},
                           {"sql": "select ?", "params": [1]}])
    for _ in range(400):
        c = gw.client()
        for _ in range(5):
            mutated = bytearray(frame)
            for _ in range(random.randint(1, 6)):
                mutated[random.randrange(len(mutated))] = random.randrange(256)
            c.send(bytes(mutated[:random.randint(0, len(mutated))]))
        c.close()
    good.ok("headgate", "ping")
    assert gw.alive()
    until(lambda: len(good.show("peers")) == 1, what="all slots are free again")


def test_thousands_of_frames_are_all_answered(gw):
    c = gw.client(sndhwm=0, rcvhwm=0)
    ids = [c.request("headgate", "ping") for _ in range(20_000)]
    answered = [c.receive()[2] for _ in ids]
    assert answered == ids


def test_calls_above_the_limit_of_a_peer_are_refused_at_once(start):
    gw = start(daemon="calls_per_peer_max = 10")
    c = gw.client()
    slow = "with recursive n(i) as (select 1 union all select i+1 from n) select count(*) from n"
    for _ in range(10):
        c.request("sql", "query", {"sql": slow}, timeout_ms=3000)
    reply = c.call("sql", "query", {"sql": "select 1"})
    assert reply[3] == OVERLOADED and reply[4]["retryable"] and reply[4]["outcome"] == NOT_SENT


def test_a_request_that_was_long_on_its_way_is_not_executed(gw):
    c = gw.client()
    now = time.monotonic_ns() // 1000
    c.ok("headgate", "ping")  # the shortest way known
    reply = c.call("sql", "execute", {"sql": "create table stale(a)"}, sent_us=now - 10_000_000,
                   timeout_ms=5000)
    assert reply[3] == QUEUE_TIMEOUT and reply[4]["outcome"] == NOT_SENT
    assert c.rows("select count(*) from sqlite_schema where name = 'stale'") == [[0]]


def test_cancel_ends_a_call_and_is_ignored_for_others(gw):
    c = gw.client()
    c.send([1, CANCEL, 4711])
    slow = "with recursive n(i) as (select 1 union all select i+1 from n) select count(*) from n"
    id = c.request("sql", "query", {"sql": slow}, timeout_ms=60_000)
    until(lambda: gw.client().show("calls"))
    c.send([1, CANCEL, id])
    reply = c.receive()
    assert reply[2:4] == [id, 13], reply
    c.ok("sql", "query", {"sql": "select 1"})


def test_data_for_a_call_without_upload_ends_it(gw):
    c = gw.client()
    slow = "with recursive n(i) as (select 1 union all select i+1 from n) select count(*) from n"
    id = c.request("sql", "query", {"sql": slow}, timeout_ms=60_000)
    c.send([1, DATA, id, 1, True, []])
    reply = c.receive()
    assert reply[2:4] == [id, INVALID], reply
    c.send([1, DATA, 4711, 1, True, []])
    c.ok("headgate", "ping")


def test_grants_are_default_deny(start):
    gw = start(services='[services.other]\nunix_users = [12345]',
               stores='[stores.kv]\nplugin = "sqlite"\nkind = "key_value"\n'
                      'options = { path = "kv.db" }')
    c = gw.client()
    assert "kv" not in {s[0] for s in c.welcome[6]}
    reply = c.call("kv", "get", {"key": b"a"})
    assert reply[3] == DENIED and reply[4]["outcome"] == NOT_SENT
    verdict = c.ok("headgate", "can", {"service": "app", "store": "sql", "verb": "query"})
    assert verdict["allowed"] and f"{gw.file}:" in verdict["why"]
    verdict = c.ok("headgate", "can", {"service": "app", "store": "kv", "verb": "get"})
    assert not verdict["allowed"] and "no grant" in verdict["why"]


def test_an_atomic_batch_that_failed_under_a_key_is_tried_again(gw):
    c = gw.client()
    c.sql("create table if not exists batched (a integer primary key)")
    c.sql("delete from batched")
    c.sql("insert into batched values (1)")
    body = {"items": [["execute", {"sql": "insert into batched values (2)"}],
                      ["execute", {"sql": "insert into batched values (1)"}]]}
    first = c.call("sql", "batch", body, key="failed-batch")
    assert [item[0] for item in first[5]] == [15, 6], first
    c.sql("delete from batched")
    again = c.call("sql", "batch", body, key="failed-batch")
    assert [item[0] for item in again[5]] == [OK, OK] and "replayed" not in again[4], again
    once = c.call("sql", "batch", body, key="failed-batch")
    assert once[4]["replayed"] and c.rows("select count(*) from batched") == [[2]]


def test_who_waited_longest_for_a_list_is_served_first(start):
    gw = start(grants='[[grants]]\nservice = "app"\nstore = "kv"\naccess = "write"',
               stores='[stores.kv]\nplugin = "sqlite"\nkind = "key_value"\n'
                      'options = { path = "kv.db" }')
    pusher = gw.client()

    def calls():
        return sum(int(p["calls"]) for p in pusher.show("pools") if p["store"] == "kv")

    def wait(client):
        return client.request("kv", "blpop", {"keys": [b"q"], "wait_ms": 60_000}, timeout_ms=70_000)

    waiters = []
    for i in range(6):
        before = calls()
        waiters.append((gw.client(), b"%d" % i))
        wait(waiters[-1][0])
        until(lambda: calls() > before, what="parked")
    for client, value in waiters:
        pushed = pusher.request("kv", "rpush", {"key": b"q", "values": [value]})
        late = wait(pusher)  # right behind the push: it is not served before those that were there
        reply = client.receive()
        assert reply is not None and reply[5]["value"] == value, reply
        assert pusher.receive()[2:4] == [pushed, OK]
        pusher.send([1, CANCEL, late])
        assert pusher.receive()[2:4] == [late, CANCELLED]


def test_a_quick_read_that_becomes_slow_is_no_matter_of_its_callers(gw):
    c = gw.client()
    count = ("with recursive n(i) as (select 1 union all select i + 1 from n limit ?) "
             "select count(*) from n")

    def run(limit, **options):
        reply = c.call("sql", "query", {"sql": count, "params": [limit]}, **options)
        assert reply[3] == OK and reply[5]["rows"] == [[limit]], reply
        return reply[4]["attempts"]

    for _ in range(200):  # one of them takes a tenth of a millisecond or less
        assert run(10) == 1
    assert run(1_000_000) == 2, "it was cut, so that nobody stood behind it"
    assert run(1_000_000) == 1, "which is remembered"
    for _ in range(200):
        assert run(10) == 1
    tx = c.request("sql", "begin", read_only=True)
    assert c.receive()[3] == OK
    assert run(1_000_000, tx=tx) == 1
    c.ok("sql", "commit", {}, tx=tx)


def test_a_read_past_its_deadline_ends_its_transaction(gw):
    c = gw.client()
    c.sql("create table if not exists late (a integer)")
    tx = c.request("sql", "begin")
    c.receive()
    assert c.call("sql", "execute", {"sql": "insert into late values (1)"}, tx=tx)[3] == OK
    slow = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    assert c.call("sql", "query", {"sql": slow}, tx=tx, timeout_ms=200)[3] == DEADLINE
    assert c.call("sql", "commit", {}, tx=tx)[3] != OK
    assert c.rows("select count(*) from late") == [[0]]


def test_nothing_is_acknowledged_into_a_file_that_was_removed(start):
    gw = start()
    c = gw.client()
    c.sql("create table t (a integer)")
    c.sql("insert into t values (1)")
    assert c.rows("select count(*) from t") == [[1]]
    tx = c.request("sql", "begin")
    c.receive()
    assert c.call("sql", "execute", {"sql": "insert into t values (2)"}, tx=tx)[3] == OK
    (gw.folder / "sql.db").unlink()
    assert c.call("sql", "commit", {}, tx=tx)[3] == UNAVAILABLE
    for suffix in ("-wal", "-shm"):
        (gw.folder / f"sql.db{suffix}").unlink(missing_ok=True)
    reply = c.call("sql", "execute", {"sql": "insert into t values (3)"})
    assert reply[3] != OK, "there is a new file, without the table"
    c.sql("create table t (a integer)")
    c.sql("insert into t values (4)")
    assert c.rows("select a from t") == [[4]], "readers and the writer have the same file"


def test_analyze_and_reindex_of_everything(gw):
    c = gw.client()
    c.sql("create table if not exists analyzed (a integer primary key, b text unique)")
    for text in ("analyze", "reindex", "analyze analyzed", "insert into analyzed values (1, 'x')"):
        c.sql(text)
    assert c.call("sql", "execute", {"sql": "delete from headgate_idempotency"})[3] == DENIED
