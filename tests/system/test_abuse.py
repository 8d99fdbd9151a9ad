"""Clients that die, never read, stop, or ask for everything: others go on, and nothing is left."""

import os
import signal
import subprocess
import sys
import pathlib
import time

import pytest
from gateway import (CANCEL, CANCELLED, CREDIT, DATA, DEADLINE, EXPIRED, NOT_SENT, OK, PART, PING,
                     PONG, QUEUE_TIMEOUT, REPLY, ROLLED_BACK, UNKNOWN, until)

SLOW = "with recursive n(i) as (select 1 union all select i+1 from n) select count(*) from n"
MANY = ("with recursive n(i) as (select 1 union all select i+1 from n where i < {}) "
        "select i, printf('%0200d', i) from n")
LONG_LEASES = 'writer_lease_idle = "60s"\nwriter_lease_total = "60s"'


def child(gw, script):
    """A client in a process of its own: prints a line when it is where it should be."""
    text = ("import sys, time\n"
            f"sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n"
            "import gateway, zmq, pathlib\n"
            "class G: pass\n"
            "g = G(); g.context = zmq.Context(); g.sockets = []; g.log = lambda: ''\n"
            f"g.url = {gw.url!r}\n"
            "g.raw = lambda **o: gateway.Gateway.raw(g, **o)\n"
            "c = gateway.Client(g, g.raw(), PONGS, True)\n".replace(
                "PONGS", "True" if "# pongs" in script else "False")
            + script + "\nprint('there', flush=True)\ntime.sleep(600)\n")
    p = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "there\n"
    return p


def end(p):
    p.kill()
    p.wait()


def test_a_client_that_dies_in_a_transaction_is_rolled_back_at_once(start):
    gw = start(stores=LONG_LEASES)
    c = gw.client()
    c.sql("create table t(a)")
    p = child(gw, "tx = c.request('sql', 'begin'); assert c.receive()[3] == 0\n"
                  "c.ok('sql', 'execute', {'sql': 'insert into t values (1)'}, tx=tx)")
    assert len(c.show("leases")) == 1
    before = time.monotonic()
    end(p)
    until(lambda: not c.show("leases"), 10)
    assert time.monotonic() - before < 5
    assert c.rows("select count(*) from t") == [[0]]
    c.sql("insert into t values (2)")
    until(lambda: len(c.show("peers")) == 1)


def test_a_client_that_dies_in_an_upload_applies_nothing(start):
    gw = start(stores=LONG_LEASES)
    c = gw.client()
    c.sql("create table t(a)")
    p = child(gw, "i = c.request('sql', 'copy_in', {'table': 't'})\n"
                  "assert c.receive()[1] == gateway.CREDIT\n"
                  "c.send([1, gateway.DATA, i, 1, False, [[1], [2]]])\n")
    until(lambda: c.show("calls"))
    end(p)
    until(lambda: not c.show("calls"))
    assert c.rows("select count(*) from t") == [[0]]


def test_a_stopped_client_that_promised_pongs_loses_its_transaction(start):
    gw = start(stores=LONG_LEASES)
    c = gw.client()
    c.sql("create table t(a)")
    p = child(gw, "# pongs\ntx = c.request('sql', 'begin'); assert c.receive()[3] == 0")
    try:
        p.send_signal(signal.SIGSTOP)
        until(lambda: not c.show("leases"), 20, "three pings unanswered")
        assert "answered no ping" in gw.log()
    finally:
        p.send_signal(signal.SIGCONT)
        end(p)


def test_a_client_that_holds_a_lease_for_ever_meets_its_limits(start):
    gw = start(stores='writer_lease_idle = "200ms"\nwriter_lease_total = "2s"')
    c = gw.client()
    c.sql("create table t(a)")
    tx = c.request("sql", "begin")
    assert c.receive()[3] == OK
    c.ok("sql", "execute", {"sql": "insert into t values (1)"}, tx=tx)
    other = gw.client()
    until(lambda: not other.show("leases"))
    reply = c.call("sql", "commit", tx=tx)
    assert reply[3] == EXPIRED and reply[4]["outcome"] == ROLLED_BACK, reply
    assert other.rows("select count(*) from t") == [[0]]


def test_a_client_that_never_reads_is_cut_and_memory_stays_bounded(start):
    gw = start(daemon='parked_max = "1MiB"')
    good = gw.client()
    c = gw.client(rcvhwm=1, rcvbuf=4096).watch()
    before = gw.memory_kb()
    big = {"sql": "select hex(zeroblob(2000000))"}
    sent = 0
    while "parked_max" not in gw.log() and sent < 100:
        c.request("sql", "query", big)
        good.ok("headgate", "ping")
        sent += 1
        time.sleep(0.02)
    until(lambda: "parked_max" in gw.log(), 20)
    assert gw.memory_kb() - before < 200_000
    good.sql("select 1")
    until(lambda: len(good.show("peers")) == 1)
    limits = {r["name"]: r["used"] for r in good.show("limits")}
    assert limits["parked_bytes"] == 0 and limits["calls"] == 1


def test_a_stream_respects_its_credit_and_memory_stays_flat(gw):
    c, other = gw.client(), gw.client()
    before = gw.memory_kb()
    id = c.request("sql", "query", {"sql": MANY.format(300_000)}, fetch=1000, credit=2)
    first, second = c.receive(), c.receive()
    assert [first[1], first[3], second[3]] == [PART, 1, 2]
    assert c.receive(0.3) is None  # no credit, no part
    other.sql("select 1")
    rows = len(first[4]["rows"]) + len(second[4]["rows"])
    credit = 2
    while True:
        credit += 2
        c.send([1, CREDIT, id, credit])
        c.send([1, CREDIT, id, credit - 1])  # a late one does no harm
        frame = c.receive()
        while frame is not None and frame[1] == PART:
            rows += len(frame[4]["rows"])
            if frame[3] == credit:
                break
            frame = c.receive()
        if frame[1] == REPLY:
            assert frame[3] == OK, frame
            rows += len(frame[5]["rows"])
            break
    assert rows == 300_000
    assert gw.memory_kb() - before < 32_000


def test_cancel_ends_a_stream(gw):
    c = gw.client()
    id = c.request("sql", "query", {"sql": MANY.format(10**9)}, fetch=100, credit=1)
    assert c.receive()[1] == PART
    c.send([1, 8, id])
    reply = c.receive()
    assert reply[1:4] == [REPLY, id, 13], reply
    until(lambda: not gw.client().show("leases"))


def test_a_stopped_daemon_does_not_run_what_its_caller_gave_up(gw):
    c = gw.client()
    c.sql("create table t(a)")
    gw.signal(signal.SIGSTOP)
    stat = pathlib.Path(f"/proc/{gw.process.pid}/stat")
    until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T")
    c.request("sql", "execute", {"sql": "insert into t values (1)"}, timeout_ms=300)
    time.sleep(0.6)
    gw.signal(signal.SIGCONT)
    reply = c.receive()
    assert reply[3] == QUEUE_TIMEOUT and reply[4]["outcome"] == NOT_SENT, reply
    assert c.rows("select count(*) from t") == [[0]]


def test_a_write_that_waits_behind_a_slow_one_is_told_that_nothing_was_done(gw):
    c, other = gw.client(), gw.client()
    c.sql("create table if not exists waited (a integer)")
    slow = ("insert into waited select x from (with recursive n(x) as (select 1 union all "
            "select x + 1 from n) select max(x) as x from n)")
    for _ in range(3):  # as a text nobody knows, and as one that is known to be slow
        id = c.request("sql", "execute", {"sql": slow}, timeout_ms=60_000)
        until(lambda: other.show("calls"))
        reply = other.call("sql", "execute", {"sql": "insert into waited values (2)"},
                           timeout_ms=300)
        assert reply[3] in (DEADLINE, QUEUE_TIMEOUT), reply
        assert reply[4]["outcome"] == NOT_SENT and reply[4].get("retryable"), reply
        c.send([1, CANCEL, id])
        assert c.receive()[3] in (CANCELLED, DEADLINE)
    assert c.rows("select count(*) from waited") == [[0]]


def test_uploads_end_to_end_and_out_of_order(gw):
    c = gw.client()
    c.sql("create table t(a, b)")

    def begin():
        id = c.request("sql", "copy_in", {"table": "t"}, timeout_ms=20_000)
        frame = c.receive()
        assert frame[1] == CREDIT and frame[3] >= 1, frame
        return id

    id = begin()
    c.send([1, DATA, id, 1, False, [[1, "a"], [2, "b"]]])
    c.send([1, DATA, id, 2, True, [[3, "c"]]])
    frame = c.receive()
    while frame[1] == CREDIT:
        frame = c.receive()
    assert frame[3] == OK and frame[4]["rows_affected"] == 3, frame
    for bad in ([1, DATA, 0, 2, False, []], [1, DATA, 0, 1, False, 7], [1, DATA, 0, 99, True, []]):
        id = begin()
        c.send([*bad[:2], id, *bad[3:]])
        frame = c.receive()
        while frame[1] == CREDIT:
            frame = c.receive()
        assert frame[2:4] == [id, 1] and frame[4]["outcome"] != UNKNOWN, frame
    id = begin()
    c.send([1, DATA, id, 1, False, [[4, "d"]]])
    c.send([1, CANCEL, id])
    frame = c.receive()
    while frame[1] == CREDIT:
        frame = c.receive()
    assert frame[2:4] == [id, CANCELLED] and frame[4]["outcome"] != UNKNOWN, frame
    assert c.rows("select count(*) from t") == [[3]]


def test_a_dead_callers_waiting_calls_do_not_run(start):
    gw = start(stores=LONG_LEASES)
    c = gw.client()
    c.sql("create table t(a)")
    tx = c.request("sql", "begin")  # the writer is taken
    assert c.receive()[3] == OK
    p = child(gw, "c.request('sql', 'execute', {'sql': 'insert into t values (1)'}, "
                  "timeout_ms=60000)")
    until(lambda: c.show("calls"))
    end(p)
    until(lambda: not c.show("calls"))
    c.ok("sql", "rollback", tx=tx)
    assert c.rows("select count(*) from t") == [[0]]


def test_limits_of_a_grant(start):
    gw = start(grants='[[grants]]\nservice = "app"\nstore = "kv"\naccess = "write"\n'
                      'limits = { calls_per_second = 5, timeout_max = "2s" }',
               stores='[stores.kv]\nplugin = "sqlite"\nkind = "key_value"\n'
                      'options = { path = "kv.db" }')
    c = gw.client()
    codes = [c.call("kv", "set", {"key": b"a", "value": b"b"})[3] for _ in range(20)]
    assert codes[0] == OK and codes.count(10) >= 10
    reply = c.call("kv", "set", {"key": b"a", "value": b"b"})
    assert reply[3] == 10 and reply[4]["retry_after_ms"] > 0
    time.sleep(reply[4]["retry_after_ms"] / 1000 + 0.2)
    assert c.call("kv", "set", {"key": b"a", "value": b"b"})[3] == OK


def test_storms_of_connections_leave_nothing(gw):
    c = gw.client()
    fds = len(os.listdir(f"/proc/{gw.process.pid}/fd"))
    for _ in range(20):
        some = [gw.client() for _ in range(50)]
        for s in some:
            s.request("headgate", "ping")
        for s in some:
            s.close()
    until(lambda: len(c.show("peers")) == 1)
    until(lambda: len(os.listdir(f"/proc/{gw.process.pid}/fd")) <= fds + 2)


def test_an_upload_inside_a_transaction(gw):
    c = gw.client()
    c.sql("create table if not exists uploaded (a integer)")
    tx = c.request("sql", "begin")
    c.receive()
    for timeout in ({}, {"timeout_ms": 20_000}):  # as long as the transaction, and longer
        id = c.request("sql", "copy_in", {"table": "uploaded"}, tx=tx, **timeout)
        c.receive()
        c.send([1, DATA, id, 1, True, [[1]]])
        assert c.receive()[3] == OK
    assert c.call("sql", "commit", {}, tx=tx)[3] == OK
    assert c.rows("select count(*) from uploaded") == [[2]]


def test_a_full_disk_stops_writes_alone(start, tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path],
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("needs root, for a disk of 2 MB")
    gw = None
    try:
        gw = start(stores=f"""
[stores.small]
plugin = "sqlite"
kind = "sql"
options = {{ path = "{tmp_path}/small.db" }}
""", grants="""
[[grants]]
service = "app"
store = "small"
access = "admin"
""")
        c = gw.client()
        c.ok("small", "execute", {"sql": "create table t (a integer primary key, b text)"})
        insert = {"sql": "insert into t (b) values (hex(zeroblob(20000)))"}
        stored = 0
        while (reply := c.call("small", "execute", insert))[3] == OK:
            stored += 1
            assert stored < 1000
        assert reply[4]["outcome"] != 3, reply
        for _ in range(100):
            assert c.call("small", "execute", insert)[3] != OK
            rows = c.call("small", "query", {"sql": "select count(*) from t"})
            assert rows[3] == OK and rows[5]["rows"] == [[stored]], rows
    finally:
        if gw is not None:
            gw.stop()
        subprocess.run(["umount", "-l", tmp_path], check=True)
