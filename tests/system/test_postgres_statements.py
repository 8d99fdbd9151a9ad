"""How PostgreSQL statements run behind the real daemon: which lane, which transaction, which plan."""

import signal
import time

import pytest
from gateway import OK, until
from postgres import grant, store

ABORTED = 15


def call(client, verb, body, seconds=40, **options):
    options.setdefault("timeout_ms", 30_000)
    return client.call("pg", verb, body, seconds, **options)


def execute(client, text, *params, **options):
    return call(client, "execute", {"sql": text, "params": list(params)}, **options)


def query(client, text, *params, **options):
    return call(client, "query", {"sql": text, "params": list(params)}, **options)


def batch(client, *items, atomic=False, **options):
    reply = call(client, "batch", {"atomic": atomic, "items": [list(i) for i in items]}, **options)
    assert reply[3] == OK, reply
    return reply[5]


def begin(client):
    reply = client.request("pg", "begin", {}, timeout_ms=30_000), client.receive(40)
    assert reply[1][3] == OK, reply
    return reply[0]


@pytest.fixture
def table(pg):
    pg.sql("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, who text)")
    pg.sql("ALTER TABLE t OWNER TO app")
    return lambda: int(pg.sql("SELECT count(*) FROM t"))


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
