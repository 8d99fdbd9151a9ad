"""How PostgreSQL statements run behind the real daemon: which lane, which transaction, which plan."""

import signal
import subprocess
import time

import pytest
from gateway import DENIED, OK, REJECTED, REPLY, ROLLED_BACK, binary, until
from postgres import begin, call, execute, grant, query, store

ABORTED = 15


def batch(client, *items, atomic=False, **options):
    reply = call(client, "batch", {"atomic": atomic, "items": [list(i) for i in items]}, **options)
    assert reply[3] == OK, reply
    return reply[5]


@pytest.fixture
def gw(start, pg, table):
    return start(stores=store(pg), grants=grant())


LANE = "SELECT current_setting('statement_timeout'), pg_sleep($1)::text"  # 1s: a shared one


def on_shared(client, seconds=0.0):
    reply = query(client, LANE, seconds)
    assert reply[3] == OK, reply
    return reply[5]["rows"][0][0] == "1s"


def slow_at(start, pg, ms):
    return start(stores=store(pg, options=f'slow_ms = "{ms}ms"'), grants=grant())


def test_a_statement_that_is_slow_twice_leaves_the_shared_lane(start, pg):
    c = slow_at(start, pg, 200).client()
    for _ in range(2):  # once in a while is an accident
        assert on_shared(c, 0.3)
        assert all(on_shared(c) for _ in range(16))
    assert on_shared(c, 0.3)
    assert on_shared(c, 0.3), "where it runs is known before how long it takes"
    assert not on_shared(c)
    until(lambda: on_shared(c))  # quick runs bring it back


def test_a_stopped_daemon_says_nothing_about_its_statements(start, pg):
    """What the server answered in time while the loop did not look was not slow."""
    gw = slow_at(start, pg, 500)
    c = gw.client()
    assert on_shared(c)
    for _ in range(4):
        id = c.request("pg", "query", {"sql": LANE, "params": [0.3]}, timeout_ms=30_000)
        time.sleep(0.1)
        gw.signal(signal.SIGSTOP)
        time.sleep(0.7)
        gw.signal(signal.SIGCONT)
        reply = c.receive(40)
        assert reply[2] == id and reply[3] == OK and reply[5]["rows"][0][0] == "1s", reply
    assert on_shared(c)


def test_a_timeout_on_the_shared_lane_moves_at_once(gw):
    c = gw.client()
    assert not on_shared(c, 1.5)
    assert not on_shared(c)


# -- `-- access: read`

STATEMENTS = """
-- name: honest
-- access: read
SELECT count(*)::int FROM t

-- name: liar
-- access: read
SELECT public.sneak($1::bigint)

-- name: lifts
-- access: read
SELECT public.lift($1::bigint)

-- name: asks
-- access: read
SELECT current_setting('transaction_read_only')

-- name: streams
-- access: read
SELECT i, CASE WHEN i = 900 AND $1::bigint > 0 THEN public.sneak($1::bigint) END
FROM generate_series(1, 1000) i
"""


@pytest.fixture
def named(start, pg, table, tmp_path):
    pg.sql("CREATE OR REPLACE FUNCTION public.sneak(n bigint) RETURNS bigint LANGUAGE sql AS "
           "$$ INSERT INTO t SELECT n, 'sneaked' WHERE n IS NOT NULL RETURNING id $$")
    pg.sql("CREATE OR REPLACE FUNCTION public.lift(n bigint) RETURNS bigint LANGUAGE plpgsql AS $$ "
           "BEGIN PERFORM set_config('transaction_read_only', 'off', true); "
           "INSERT INTO t VALUES (n, 'lifted'); RETURN n; END $$")
    (tmp_path / "statements").mkdir()
    (tmp_path / "statements" / "pg.sql").write_text(STATEMENTS)
    gw = start(stores=store(pg), grants=grant(), folder=str(tmp_path))
    return gw.client()


def run(client, name, *params, **options):
    return call(client, "run", {"name": name, "params": list(params)}, **options)


def refused(code, meta):
    """Denied because it writes, and not mistaken for a server that has become a standby."""
    return code == DENIED and meta["outcome"] in (REJECTED, ROLLED_BACK) \
        and meta["sqlstate"] == "25006"


@pytest.mark.parametrize("name", ["liar", "lifts"])
def test_a_statement_that_says_it_reads_is_held_to_it_alone(named, table, name):
    c = named
    reply = run(c, name, 1)
    assert reply[3] != OK and table() == 0, reply
    if name == "liar":
        assert refused(reply[3], reply[4]), reply
    assert run(c, "honest")[5]["rows"] == [[0]]
    assert run(c, "asks")[5]["rows"] == [["on"]]
    assert execute(c, "INSERT INTO t VALUES (1, '')")[3] == OK  # nothing of it stays


def test_a_refused_write_drops_no_connection(named, pg, table):
    c = named
    assert run(c, "asks")[3] == OK
    before = {r["lane"]: r["connections"] for r in c.show("pools") if r["store"] == "pg"}
    for i in range(5):
        assert refused(*run(c, "liar", i)[3:5])
    after = {r["lane"]: r["connections"] for r in c.show("pools") if r["store"] == "pg"}
    assert after == before


@pytest.mark.parametrize("name", ["liar", "lifts"])
def test_a_statement_that_says_it_reads_is_held_to_it_in_a_transaction(named, table, name):
    c = named
    tx = begin(c)
    assert execute(c, "INSERT INTO t VALUES (10, 'mine')", tx=tx)[3] == OK
    assert run(c, "honest", tx=tx)[5]["rows"] == [[1]], "it sees what the transaction wrote"
    assert run(c, "asks", tx=tx)[5]["rows"] == [["on"]]
    assert query(c, "SELECT current_setting('transaction_read_only')", tx=tx)[5]["rows"] == [["off"]]
    assert execute(c, "INSERT INTO t VALUES (11, 'mine')", tx=tx)[3] == OK, "it may still write"
    assert call(c, "savepoint", {"name": "here"}, tx=tx)[3] == OK
    reply = run(c, name, 1, tx=tx)
    assert reply[3] != OK, reply
    if name == "liar":
        assert refused(reply[3], reply[4]), reply
    assert execute(c, "INSERT INTO t VALUES (12, '')", tx=tx)[3] == ABORTED, "as after any failure"
    assert call(c, "rollback_to", {"name": "here"}, tx=tx)[3] == OK
    assert execute(c, "INSERT INTO t VALUES (13, '')", tx=tx)[3] == OK
    assert call(c, "commit", {}, tx=tx)[3] == OK
    assert table() == 3


def test_a_bad_parameter_leaves_the_transaction_writable(named, table):
    c = named
    tx = begin(c)
    reply = run(c, "liar", "no number", tx=tx)
    assert reply[3] != OK, reply
    assert query(c, "SELECT current_setting('transaction_read_only')", tx=tx)[5]["rows"] == [["off"]]
    assert execute(c, "INSERT INTO t VALUES (1, '')", tx=tx)[3] == OK
    assert call(c, "commit", {}, tx=tx)[3] == OK
    assert table() == 1


def test_a_stream_in_a_transaction_is_held_read_only_to_its_end(named, table):
    c = named
    tx = begin(c)

    def stream(*params):
        id = c.request("pg", "run", {"name": "streams", "params": list(params)}, tx=tx, fetch=100,
                       credit=100, timeout_ms=30_000)
        while (frame := c.receive(40))[1] != REPLY:
            pass
        assert frame[2] == id
        return frame

    reply = stream(None)
    assert reply[3] == OK, reply
    assert execute(c, "INSERT INTO t VALUES (1, '')", tx=tx)[3] == OK
    reply = stream(2)
    assert reply[3] == DENIED, reply
    assert call(c, "rollback", {}, tx=tx)[3] == OK
    assert table() == 0


def init(client, pg):
    ddl = subprocess.run([binary("headgated"), "--config", str(client.gateway.file),
                          "--store-init", "pg"], capture_output=True, text=True, check=True).stdout
    pg.sql(ddl)
    pg.sql("GRANT ALL ON public.headgate_idempotency TO app")


def item(name, *params):
    return "run", {"name": name, "params": list(params)}


def put(n):
    return "execute", {"sql": "INSERT INTO t VALUES ($1, 'put')", "params": [n]}


@pytest.mark.parametrize("name", ["liar", "lifts"])
@pytest.mark.parametrize("where", ["alone", "keyed", "transaction"])
def test_independent_items_that_say_they_read_are_held_to_it(named, pg, table, where, name):
    c = named
    options = {}
    if where == "keyed":
        init(c, pg)
        options = {"key": f"independent {name}"}
    if where == "transaction":
        options = {"tx": begin(c)}
    got = batch(c, put(1), item("honest"), item(name, 2), item("asks"), put(3), **options)
    assert [g[0] == OK for g in got] == [True, True, False, True, True], got
    if name == "liar":
        assert refused(got[2][0], got[2][1]), got
    assert got[1][2]["rows"] == [[1]] and got[3][2]["rows"] == [["on"]]
    if where == "transaction":
        assert call(c, "commit", {}, **options)[3] == OK
    assert pg.sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t") == "1 3"


@pytest.mark.parametrize("name", ["liar", "lifts"])
@pytest.mark.parametrize("where", ["alone", "keyed", "transaction"])
def test_items_of_an_atomic_batch_that_say_they_read_are_held_to_it(named, pg, table, where, name):
    c = named
    options = {}
    if where == "keyed":
        init(c, pg)
        options = {"key": f"atomic {name}"}
    if where == "transaction":
        options = {"tx": begin(c)}
    got = batch(c, put(1), item("honest"), item("asks"), put(2), atomic=True, **options)
    assert all(g[0] == OK for g in got), got
    assert got[1][2]["rows"] == [[1]] and got[2][2]["rows"] == [["on"]]
    if where == "keyed":
        options = {"key": f"atomic {name} again"}
    got = batch(c, put(3), item(name, 4), put(5), atomic=True, **options)
    assert [g[0] for g in got][::2] == [ABORTED, ABORTED] and got[1][0] != OK, got
    if where == "transaction":
        assert execute(c, "INSERT INTO t VALUES (6, '')", **options)[3] == OK, "it goes on"
        assert call(c, "commit", {}, **options)[3] == OK
    assert table() == (3 if where == "transaction" else 2)


@pytest.mark.parametrize("name", ["liar", "lifts"])
def test_a_keyed_statement_that_says_it_reads_is_held_to_it(named, pg, table, name):
    c = named
    init(c, pg)
    reply = run(c, name, 1, key=f"read {name}")
    assert reply[3] != OK and table() == 0, reply
    assert run(c, "honest", key=f"honest {name}")[5]["rows"] == [[0]]
    execute(c, "INSERT INTO t VALUES (1, '')")
    reply = run(c, "honest", key=f"honest {name}")
    assert reply[4].get("replayed") and reply[5]["rows"] == [[0]], reply


# -- plans that have gone stale

def retype(pg, n):
    pg.sql(f"ALTER TABLE t ALTER COLUMN who TYPE {('varchar(40)', 'text')[n % 2]}")


SELECT = "query", {"sql": "SELECT * FROM t ORDER BY id", "params": []}


def warmed(start, pg):
    """A client of a store with one exclusive connection, which has prepared what batches use."""
    gw = start(stores=store(pg, options='connections = 1, shared = "off"'), grants=grant())
    c = gw.client()
    got = batch(c, SELECT, put(1), returning(2))
    assert all(g[0] == OK for g in got), got
    return c


def returning(n):
    return "execute", {"sql": "INSERT INTO t VALUES ($1, 'r') RETURNING *", "params": [n]}


def test_independent_items_prepare_again_when_types_change(start, pg, table):
    c = warmed(start, pg)
    for n in range(4):
        retype(pg, n)
        got = batch(c, SELECT, SELECT, put(10 + n), SELECT)
        assert all(g[0] == OK for g in got), got
        assert [len(g[2]["rows"]) for g in (got[0], got[1], got[3])].count(2 + n + 1) >= 1
        assert pg.sql(f"SELECT count(*) FROM t WHERE id = {10 + n}") == "1", "once"


def test_independent_writes_prepare_again_in_their_order(start, pg, table):
    c = warmed(start, pg)
    retype(pg, 0)
    got = batch(c, returning(20), returning(21), SELECT, returning(22))
    assert all(g[0] == OK for g in got), got
    assert [r[0] for r in got[2][2]["rows"]] in ([1, 2, 20, 21], [1, 2, 20, 21, 22])
    assert table() == 5


def test_a_stale_write_does_not_run_behind_a_later_one(start, pg, table):
    c = warmed(start, pg)
    retype(pg, 0)
    got = batch(c, returning(30), put(31))
    assert got[0][0] != OK and got[0][1]["outcome"] == REJECTED, got
    assert got[1][0] == OK
    assert pg.sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t") == "1 2 31"
    got = batch(c, returning(30), put(32))
    assert all(g[0] == OK for g in got), "the next call finds it prepared anew"


def test_stale_items_in_a_transaction_prepare_again(start, pg, table):
    c = warmed(start, pg)
    retype(pg, 0)
    tx = begin(c)
    got = batch(c, returning(40), put(41), SELECT, returning(42), tx=tx)
    assert all(g[0] == OK for g in got), got
    assert [r[0] for r in got[2][2]["rows"]] == [1, 2, 40, 41], "in their order"
    assert call(c, "commit", {}, tx=tx)[3] == OK
    assert table() == 5


def test_parameters_of_an_old_type_are_described_again_in_a_batch(start, pg, table):
    c = warmed(start, pg)
    get = "query", {"sql": "SELECT who FROM t WHERE id = $1", "params": [1]}
    assert batch(c, get)[0][0] == OK
    pg.sql("ALTER TABLE t ALTER COLUMN id TYPE text")
    got = batch(c, put(50), ("query", {**get[1], "params": ["1"]}), get)
    assert got[1][0] == OK and got[1][2]["rows"] == [["put"]], got
    assert got[2][0] != OK, "an int is no text any more"


def test_ddl_inside_the_batch_makes_later_items_prepare_again(start, pg, table):
    c = warmed(start, pg)
    got = batch(c, ("execute", {"sql": "ALTER TABLE t ADD COLUMN more int DEFAULT 7", "params": []}),
                SELECT)
    assert [g[0] for g in got] == [OK, OK], got
    assert got[1][2]["rows"][0] == [1, "put", 7]


def test_execute_many_with_rows_in_a_batch_is_refused_and_no_more(start, pg, table):
    c = warmed(start, pg)
    many = "execute_many", {"sql": "INSERT INTO t VALUES ($1, 'm') RETURNING id",
                            "params": [[60], [61]]}
    got = batch(c, put(62), many, put(63))
    assert [g[0] == OK for g in got] == [True, False, True], got
    assert pg.sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t") == "1 2 62 63"


def test_many_bad_items_are_each_told(start, pg, table):
    c = warmed(start, pg)
    got = batch(c, *[("execute", {"sql": "INSERT INTO t VALUES ($1, 'b')", "params": ["x"]})
                     for _ in range(3000)], put(70))
    assert all(g[0] != OK for g in got[:-1]) and got[-1][0] == OK
