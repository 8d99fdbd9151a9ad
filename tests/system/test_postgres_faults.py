"""PostgreSQL behind the real daemon, with faults between: what is answered is what happened."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from gate import CUT, Gate
from gateway import (APPLIED, DEADLINE, EXPIRED, NOT_SENT, OK, ROLLED_BACK,
                     UNKNOWN, binary, until)
from postgres import BIN, begin, execute, grant, query, store

FULL = os.environ.get("HEADGATE_FULL") == "1"
UNAVAILABLE, ABORTED = 17, 15
COMMIT = b"COMMIT\0"


@pytest.fixture
def gw(start, pg, table):
    return start(stores=store(pg), grants=grant())


@pytest.fixture
def gated(start, pg, table):
    """(gateway, gate): the store is reached through the gate, in plain text."""
    with Gate(("127.0.0.1", pg.port)) as gate:
        yield start(stores=store(pg, where=f"127.0.0.1:{gate.port}", tls='"off"'),
                    grants=grant()), gate


def truth(reply, rows, before=0):
    """One row was to be written: does the reply say what is there?"""
    outcome = reply[4]["outcome"]
    there = rows - before
    assert there in (0, 1), reply
    if reply[3] == OK or outcome == APPLIED:
        assert there == 1, reply
    elif outcome != UNKNOWN:
        assert there == 0, reply


def running(pg, what):
    return until(lambda: pg.sql(f"SELECT pid FROM pg_stat_activity WHERE state = 'active' "
                                f"AND query LIKE '{what}%' AND usename = 'app'"), what=what)


@pytest.mark.parametrize("how", ["terminate", "cancel"])
def test_a_backend_that_is_ended_during_a_statement(gw, pg, table, how):
    c = gw.client()
    c.request("pg", "execute", {"sql": "INSERT INTO t SELECT 1, pg_sleep(1)::text"},
              timeout_ms=20_000)
    running(pg, "INSERT INTO t")
    pg.kill_backends("query LIKE 'INSERT INTO t%'", how)
    reply = c.receive(20)
    truth(reply, table())
    assert reply[4]["outcome"] != UNKNOWN, "the server said what it did"
    assert query(c, "SELECT 1")[5]["rows"] == [[1]]


def test_a_crash_during_a_statement_is_unknown_or_not_there(start, own_pg):
    pg = own_pg()
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, who text); ALTER TABLE t OWNER TO app")
    gw = start(stores=store(pg), grants=grant())
    c = gw.client()
    c.request("pg", "execute", {"sql": "INSERT INTO t SELECT 1, pg_sleep(2)::text"},
              timeout_ms=20_000)
    running(pg, "INSERT INTO t")
    pg.restart("kill")
    reply = c.receive(20)
    truth(reply, int(pg.sql("SELECT count(*) FROM t")))
    until(lambda: query(c, "SELECT 1")[3] == OK)


def test_a_transaction_whose_connection_dies_is_rolled_back(gw, pg, table):
    c = gw.client()
    tx = begin(c)
    assert execute(c, "INSERT INTO t VALUES (1, 'x')", tx=tx)[3] == OK
    pg.kill_backends("state LIKE 'idle in transaction%'")
    reply = execute(c, "INSERT INTO t VALUES (2, 'x')", tx=tx)
    assert reply[3] in (EXPIRED, ABORTED) and reply[4]["outcome"] == ROLLED_BACK, reply
    assert c.call("pg", "commit", tx=tx)[3] != OK
    assert table() == 0


def test_a_commit_whose_answer_is_lost_is_unknown(gated, table):
    gw, gate = gated
    c = gw.client()
    tx = begin(c)
    assert execute(c, "INSERT INTO t VALUES (1, 'x')", tx=tx)[3] == OK
    seen = threading.Event()

    def lose(link, to_server, data):
        if to_server and COMMIT in data:
            link.committing = True
        if not to_server and getattr(link, "committing", False):
            seen.set()
            return CUT
        return None

    gate.on_bytes = lose
    reply = c.call("pg", "commit", tx=tx)
    assert seen.is_set()
    assert reply[3] != OK and reply[4]["outcome"] == UNKNOWN, reply
    assert table() == 1
    gate.heal()
    until(lambda: query(c, "SELECT 1")[3] == OK)


def test_a_commit_that_never_arrives_is_unknown_too(gated, table):
    gw, gate = gated
    c = gw.client()
    tx = begin(c)
    assert execute(c, "INSERT INTO t VALUES (1, 'x')", tx=tx)[3] == OK
    gate.on_bytes = lambda link, to_server, data: CUT if to_server and COMMIT in data else None
    reply = c.call("pg", "commit", tx=tx)
    assert reply[3] != OK and reply[4]["outcome"] == UNKNOWN, reply
    gate.heal()
    assert table() == 0


@pytest.mark.parametrize("arrives", [True, False])
def test_a_lost_commit_is_asked_for(start, pg, table, arrives):
    with Gate(("127.0.0.1", pg.port)) as gate:
        gw = start(stores=store(pg, where=f"127.0.0.1:{gate.port}", tls='"off"',
                                options='lost_commit = "ask"'), grants=grant())
        c = gw.client()
        tx = begin(c)
        assert execute(c, "INSERT INTO t VALUES (1, 'x')", tx=tx)[3] == OK

        def lose(link, to_server, data):
            if to_server and COMMIT in data:
                link.committing = True
                return None if arrives else CUT
            return CUT if not to_server and getattr(link, "committing", False) else None

        gate.on_bytes = lose
        reply = c.call("pg", "commit", tx=tx, timeout_ms=9000)
        assert table() == (1 if arrives else 0)
        assert reply[4]["outcome"] == (APPLIED if arrives else ROLLED_BACK), reply


def test_half_open_connections_end_with_the_deadline(gated, table):
    gw, gate = gated
    c = gw.client()
    assert query(c, "SELECT 1")[3] == OK
    gate.silence()
    begun = time.monotonic()
    reply = execute(c, "INSERT INTO t VALUES (1, 'x')", timeout_ms=1000)
    assert time.monotonic() - begun < 3
    assert reply[3] == DEADLINE and reply[4]["outcome"] == UNKNOWN, reply
    gate.heal()
    gate.cut()
    until(lambda: query(c, "SELECT 1", timeout_ms=2000)[3] == OK, 30)


@pytest.mark.parametrize("fault", ["slice", "delay", "limit"])
def test_slow_and_sliced_connections_change_no_answer(gated, fault):
    gw, gate = gated
    {"slice": lambda: gate.slice(1), "delay": lambda: gate.delay(0.02),
     "limit": lambda: gate.limit(2_000_000)}[fault]()
    c = gw.client()
    reply = query(c, "SELECT i, repeat('x', i % 50) FROM generate_series(1, 500) i",
                  timeout_ms=30_000)
    assert reply[3] == OK and len(reply[5]["rows"]) == 500
    assert all(r == [i + 1, "x" * ((i + 1) % 50)] for i, r in enumerate(reply[5]["rows"]))


def test_a_store_that_is_dead_at_start_heals(start, own_pg):
    pg = own_pg()
    pg.stop()
    gw = start(stores=store(pg), grants=grant())
    c = gw.client()
    reply = query(c, "SELECT 1", timeout_ms=2000)
    assert reply[3] == UNAVAILABLE and reply[4]["outcome"] == NOT_SENT, reply
    assert c.rows("select 1") == [[1]]  # the other store
    pg.start()
    until(lambda: query(c, "SELECT 1", timeout_ms=2000)[3] == OK)


class Writer(threading.Thread):
    """Inserts rows of its own one after the other, and counts what it was told."""

    def __init__(self, gw, number, key=False):
        super().__init__(daemon=True)
        self.client, self.number, self.key = gw.client(), number, key
        self.acknowledged, self.unknown, self.others = set(), set(), {}
        self.stopping = False
        self.start()

    def run(self):
        id = self.number * 1_000_000
        while not self.stopping:
            id += 1
            options = {"key": f"k{id}"} if self.key else {}
            reply = execute(self.client, "INSERT INTO t VALUES ($1, 'w')", id, **options)
            if reply[3] == OK:
                self.acknowledged.add(id)
            elif reply[4]["outcome"] == UNKNOWN:
                self.unknown.add(id)
            else:
                self.others[id] = reply
                time.sleep(0.01)


def end(writers):
    for w in writers:
        w.stopping = True
    for w in writers:
        w.join(40)
        assert not w.is_alive()


def count(pg, writers):
    """acknowledged <= rows <= acknowledged + unknown, id by id."""
    rows = {int(x) for x in pg.sql("SELECT id FROM t").split()}
    acknowledged = set().union(*(w.acknowledged for w in writers))
    unknown = set().union(*(w.unknown for w in writers))
    lost = acknowledged - rows
    assert not lost, f"{len(lost)} acknowledged rows are not there: {sorted(lost)[:5]}"
    invented = rows - acknowledged - unknown
    assert not invented, f"{len(invented)} rows were denied: {sorted(invented)[:5]}"
    return acknowledged, unknown


def test_writes_through_cut_connections_are_counted(gated, pg):
    gw, gate = gated
    dice = random.Random(4)
    writers = [Writer(gw, n) for n in range(1, 9)]
    rounds = 200 if FULL else 40
    while gate.cuts < rounds:
        before = sum(len(w.acknowledged) for w in writers)
        until(lambda: sum(len(w.acknowledged) for w in writers) > before, 120, "a write")
        time.sleep(dice.uniform(0, 0.03))
        gate.cut(reset=dice.random() < 0.5)
    end(writers)
    acknowledged, unknown = count(pg, writers)
    assert len(acknowledged) > rounds
    print(f"{len(acknowledged)} acknowledged, {len(unknown)} unknown, {gate.cuts} cut")


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_restarts_under_load_are_counted(start, own_pg, how):
    pg = own_pg()
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, who text); ALTER TABLE t OWNER TO app")
    gw = start(stores=store(pg), grants=grant())
    writers = [Writer(gw, n) for n in range(1, 5)]
    for _ in range(3):
        before = [len(w.acknowledged) for w in writers]
        until(lambda: all(len(w.acknowledged) > b + 10 for w, b in zip(writers, before)))
        pg.restart(how)
    before = [len(w.acknowledged) for w in writers]
    until(lambda: all(len(w.acknowledged) > b + 10 for w, b in zip(writers, before)), 60)
    end(writers)
    count(pg, writers)


def test_failover_to_the_standby(start, own_pg):
    pg = own_pg()
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, who text); ALTER TABLE t OWNER TO app")
    standby = pg.standby()
    pg.set(synchronous_standby_names="standby1")
    until(lambda: pg.sql("SELECT sync_state FROM pg_stat_replication") == "sync")
    both = f'["127.0.0.1:{standby.port}", "127.0.0.1:{pg.port}"]'  # the standby first
    gw = start(stores=store(pg, where=both, tls='"off"'), grants=grant())
    writers = [Writer(gw, n) for n in range(1, 5)]
    until(lambda: all(len(w.acknowledged) > 20 for w in writers))
    pg.stop("kill")
    standby.promote()
    before = [len(w.acknowledged) for w in writers]
    until(lambda: all(len(w.acknowledged) > b + 20 for w, b in zip(writers, before)), 60)
    end(writers)
    count(standby, writers)


def test_read_endpoints_serve_reads_and_the_primary_stands_in(start, own_pg):
    pg = own_pg()
    standby = pg.standby()
    extra = f'read_endpoints = ["127.0.0.1:{standby.port}"]'
    gw = start(stores=store(pg, where=f"127.0.0.1:{pg.port}", tls='"off"', extra=extra),
               grants=grant())
    c = gw.client()

    def on_standby():
        reply = query(c, "SELECT pg_is_in_recovery()", read_only=True)
        return reply[3] == OK and reply[5]["rows"][0][0]

    assert on_standby() is True
    assert query(c, "SELECT pg_is_in_recovery()")[5]["rows"] == [[False]]
    standby.stop()
    until(lambda: on_standby() is False, what="the primary stands in")
    standby.start()
    until(lambda: on_standby() is True, 30, "back to the standby")


def test_too_many_connections_make_callers_wait_not_fail(start, own_pg):
    pg = own_pg()
    pg.sql("ALTER ROLE app CONNECTION LIMIT 4")
    gw = start(stores=store(pg), grants=grant())
    c = gw.client()
    ids = {c.request("pg", "query", {"sql": "SELECT pg_sleep(0.1)"}, timeout_ms=20_000)
           for _ in range(60)}
    while ids:
        reply = c.receive(20)
        assert reply is not None and reply[3] == OK, (reply, gw.log()[-2000:])
        ids.discard(reply[2])


def test_a_full_server_meets_no_storm_and_callers_are_served(start, own_pg):
    pg = own_pg("max_connections = 12\nsuperuser_reserved_connections = 3\nmax_wal_senders = 0\n"
                "log_connections = on")
    psql = BIN / "psql"
    holders = [subprocess.Popen([psql, "-XqAt", pg.dsn("billing"), "-c", "SELECT pg_sleep(600)"])
               for _ in range(6)]
    try:
        until(lambda: pg.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'billing' "
                             "AND state = 'active'") == "6")
        gw = start(stores=store(pg), grants=grant())
        c, watcher = gw.client(), gw.client()

        def load(seconds):
            waiting, done, end = set(), 0, time.monotonic() + seconds
            while time.monotonic() < end or waiting:
                while len(waiting) < 40 and time.monotonic() < end:
                    waiting.add(c.request("pg", "query", {"sql": "SELECT 1, pg_sleep(0.03)"},
                                          timeout_ms=20_000))
                reply = c.receive(30)
                assert reply is not None and reply[3] == OK, (reply, gw.log()[-2000:])
                waiting.discard(reply[2])
                done += 1
            return done

        def pools():
            return [r for r in watcher.show("pools") if r["store"] == "pg"]

        def refused():
            log = pg.log()
            return log.count("too many clients") + log.count("remaining connection slots")

        assert load(8) > 100
        rows = pools()
        assert 1 <= sum(r["connections"] for r in rows) <= 3, rows
        assert all(r["ceiling"] <= 3 for r in rows if r["credential"] == "pg"), rows
        assert 1 <= refused() <= 8, "a storm"
        lowered = gw.log().count("event=pool_ceiling_lowered")
        assert 1 <= lowered <= refused()
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'billing'")
        begun = time.monotonic()
        while sum(r["connections"] for r in pools()) < 6:
            load(2)
            assert time.monotonic() < begun + 90, pools()
        assert "event=pool_ceiling_raised" in gw.log()
        assert refused() <= 12, "growth is no storm either"
    finally:
        for h in holders:
            h.kill()
            h.wait()


def test_a_client_killed_in_the_middle_of_a_result_leaves_nothing(gw, pg):
    script = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import msgpack, zmq
        TEXT = "SELECT * FROM generate_series(1, 1000000)"
        s = zmq.Context().socket(zmq.DEALER)
        s.connect({gw.url!r})
        s.send(msgpack.packb([1, 1, 1, "victim", "1", 1, 1, False]))
        s.recv()
        s.send(msgpack.packb([1, 3, 2, 0, "pg", "query",
               {{"fetch": 10, "credit": 2}}, {{"sql": TEXT}}]))
        s.recv()
        print("first part", flush=True)
        time.sleep(60)
        """)
    c = gw.client()
    for _ in range(3):
        p = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert p.stdout.readline() == b"first part\n"
        until(lambda: c.show("leases"))
        p.send_signal(signal.SIGKILL)
        p.wait()
        until(lambda: not c.show("leases"), what="the lease ends")
        assert query(c, "SELECT 1")[5]["rows"] == [[1]]
    assert pg.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' "
                  "AND state = 'active'") == "0"


def test_no_answer_goes_to_the_wrong_caller(start, pg, table):
    """Requests tagged with a nonce, while clients and connections are killed at random."""
    wanted, kills = (1_000_000, 200) if FULL else (40_000, 20)
    with Gate(("127.0.0.1", pg.port)) as gate:
        gw = start(stores=store(pg, where=f"127.0.0.1:{gate.port}", tls='"off"'), grants=grant())
        lock, state = threading.Lock(), {"asked": 0, "ok": 0, "wrong": [], "kills": 0}
        dice = random.Random(7)

        def caller(number):
            mine = random.Random(number)
            while True:
                c = gw.client()
                open_ = {}
                stay = mine.randrange(200, 4000)
                for n in range(stay):
                    nonce = f"{number}-{n}-{mine.getrandbits(60):x}"
                    verb = "query" if n % 3 else "execute"
                    text = "SELECT $1::text, pg_sleep(0)" if n % 50 == 0 else "SELECT $1::text"
                    open_[c.request("pg", verb, {"sql": text, "params": [nonce]})] = nonce
                    while len(open_) > 16 or (n == stay - 1 and open_):
                        if n == stay - 1 and mine.random() < 0.5:
                            break  # goes away with calls in flight
                        reply = c.receive(30)
                        assert reply is not None
                        nonce = open_.pop(reply[2], None)
                        with lock:
                            state["asked"] += 1
                            if reply[3] == OK:
                                state["ok"] += 1
                                if nonce is None or reply[5]["rows"][0][0] != nonce:
                                    state["wrong"].append((nonce, reply))
                c.close()
                with lock:
                    state["kills"] += 1
                    if state["asked"] >= wanted and state["kills"] >= kills:
                        return

        threads = [threading.Thread(target=caller, args=(n,), daemon=True) for n in range(8)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            time.sleep(dice.uniform(0.05, 0.4))
            gate.cut()
        assert not state["wrong"], state["wrong"][:3]
        assert state["asked"] >= wanted and state["ok"] > wanted * 0.5, state
        assert gate.cuts >= (200 if FULL else 10)


def test_session_state_is_never_seen_by_another_caller(gw, pg):
    a, b = gw.client(), gw.client()
    for make, look, clean in (
            ("SET work_mem = '77MB'", "SHOW work_mem", None),
            ("SET search_path = nowhere", "SHOW search_path", None),
            ("CREATE TEMP TABLE mine (x int)", "SELECT to_regclass('pg_temp.mine')::text",
             [[None]]),
            ("SELECT pg_advisory_lock(77)",
             "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", [[0]])):
        before = query(b, look)[5]["rows"]
        tx = begin(a)
        verb = "query" if make.startswith("SELECT") else "execute"
        assert a.call("pg", verb, {"sql": make}, tx=tx)[3] == OK
        assert a.call("pg", "commit", tx=tx)[3] == OK
        for _ in range(30):  # whichever connection it meets
            assert query(b, look)[5]["rows"] == (clean or before)


def test_ddl_under_cached_plans_fails_nobody(gw, pg, table):
    pg.sql("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i")
    stop, bad = threading.Event(), []

    def reader():
        c = gw.client()
        while not stop.is_set():
            reply = query(c, "SELECT * FROM t WHERE id = $1", 7)
            if reply[3] != OK:
                bad.append(reply)

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for t in threads:
        t.start()
    for n in range(10):
        pg.sql(f"ALTER TABLE t ADD COLUMN c{n} int DEFAULT {n}")
        pg.sql(f"ALTER TABLE t ALTER COLUMN who TYPE {('varchar', 'text')[n % 2]}")
    stop.set()
    for t in threads:
        t.join(30)
    assert not bad, bad[:3]


def test_a_storm_of_deadlocks_ends_and_loses_nothing(gw, pg, table):
    pg.sql("INSERT INTO t VALUES (1, ''), (2, '')")
    done = []

    def caller(n):
        c = gw.client()
        for i in range(10):
            order = (1, 2) if (n + i) % 2 else (2, 1)
            items = [["execute", {"sql": "UPDATE t SET who = who || 'x' WHERE id = $1",
                                  "params": [id]}] for id in order]
            reply = c.call("pg", "batch", {"items": items}, 60, timeout_ms=30_000)
            good = reply[3] == OK and all(item[0] == OK for item in reply[5])
            done.append(good)

    threads = [threading.Thread(target=caller, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    lengths = pg.sql("SELECT DISTINCT length(who) FROM t").split()
    assert lengths == [str(sum(done))], (lengths, sum(done), len(done))


def test_a_synchronous_standby_that_is_gone_while_commit_waits(start, own_pg):
    pg = own_pg()
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, who text); ALTER TABLE t OWNER TO app")
    gw = start(stores=store(pg), grants=grant())
    c = gw.client()
    assert query(c, "SELECT 1")[3] == OK
    pg.set(synchronous_standby_names="nobody")
    reply = execute(c, "INSERT INTO t VALUES (1, 'x')", timeout_ms=1000)
    if reply[3] == OK:
        assert reply[4].get("replicated") is False, reply
    else:
        assert reply[4]["outcome"] == UNKNOWN, reply
    # Nobody sees the row until the wait is given up, and then it is there in either case.
    pg.set(synchronous_standby_names="")
    until(lambda: pg.sql("SELECT count(*) FROM t") == "1")
    until(lambda: query(c, "SELECT 1")[3] == OK)


def store_init(gw, pg, name="pg"):
    """Runs what `headgate store init` prints, and lets `app` use it."""
    ddl = subprocess.run([binary("headgated"), "--config", str(gw.file), "--store-init", name],
                         capture_output=True, text=True, check=True).stdout
    assert "headgate_idempotency" in ddl
    pg.sql(ddl)
    pg.sql("GRANT ALL ON public.headgate_idempotency TO app")


def test_with_keys_a_write_through_cut_connections_happens_once(gated, pg):
    """A caller who is told `unknown` sends the same request with the same key again."""
    gw, gate = gated
    store_init(gw, pg)
    pg.sql("DROP TABLE IF EXISTS log; CREATE TABLE log (id bigint); ALTER TABLE log OWNER TO app")
    rounds = 200 if FULL else 30
    done, stopping = [], threading.Event()

    def caller(number):
        c, id = gw.client(), number * 1_000_000
        while not stopping.is_set():
            id += 1
            for _ in range(500):
                reply = execute(c, "INSERT INTO log VALUES ($1)", id, key=f"k{id}")
                if reply[3] == OK:
                    break
                time.sleep(0.01)
            assert reply[3] == OK, reply
            done.append((id, reply[4].get("replayed", False)))

    threads = [threading.Thread(target=caller, args=(n,), daemon=True) for n in range(1, 7)]
    for t in threads:
        t.start()
    dice = random.Random(11)
    while gate.cuts < rounds:
        before = len(done)
        until(lambda: len(done) > before, 120, "a write between two cuts")
        time.sleep(dice.uniform(0, 0.03))
        gate.cut()
    stopping.set()
    for t in threads:
        t.join(60)
        assert not t.is_alive()
    rows = sorted(int(x) for x in pg.sql("SELECT id FROM log").split())
    assert rows == sorted(id for id, _ in done), "each exactly once"
    print(f"{len(rows)} writes, {sum(r for _, r in done)} replayed, {gate.cuts} cut")


def test_what_shared_auto_shares(start, pg, table):
    """SECURITY.md, "Towards a server": a function's set_config is seen by the next caller of the
    same credential with `auto`, and by nobody with `off`."""
    pg.sql("CREATE OR REPLACE FUNCTION public.mark(v text) RETURNS text LANGUAGE sql AS "
           "$$ SELECT set_config('my.mark', v, false) $$")
    for shared, seen in (("auto", True), ("off", False)):
        gw = start(stores=store(pg, options=f'shared = "{shared}", shared_connections = 1'),
                   grants=grant())
        a, b = gw.client(), gw.client()
        assert query(a, "SELECT public.mark('mine')")[3] == OK
        looks = [query(b, "SELECT current_setting('my.mark', true)")[5]["rows"][0][0]
                 for _ in range(20)]
        assert ("mine" in looks) is seen, (shared, looks)
