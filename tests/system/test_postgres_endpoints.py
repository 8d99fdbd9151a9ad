"""PostgreSQL behind the real daemon: endpoints that a reload changes, and endpoints that are dead."""

import contextlib
import time

import pytest
from gate import Gate
from gateway import OK, until
from postgres import free_port, grant, store
from test_postgres_logins import load, rows

SILENT = 3.0  # connect_timeout of these tests, in seconds
TIMEOUT = f'connect_timeout = "{int(SILENT * 1000)}ms"'


def port_of(client, **options):
    return rows(client, "SELECT inet_server_port()", **options)[0][0]


def sessions(pg):
    return int(pg.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"))


def plain(pg, *ports, extra=""):
    where = "[" + ", ".join(f'"127.0.0.1:{p}"' for p in ports) + "]"
    return store(pg, where=where, tls='"off"', extra=extra)


@pytest.fixture
def twins(own_pg):
    """Two servers that know the same accounts."""
    one, two = own_pg(), own_pg()
    for account in ("app", "reader"):
        two.set_password(account, one.passwords[account])
    return one, two


def test_a_reload_moves_the_primary_under_load(start, twins):
    one, two = twins
    patient = 'lease_idle = "1m"'
    gw = start(stores=plain(one, one.port, extra=patient), grants=grant())
    admin = gw.client()
    # a transaction that was begun before the moves ends where it began
    tx = admin.request("pg", "begin", {}, timeout_ms=30_000)
    assert admin.receive(20)[3] == OK
    leased = {one: 1, two: 0}
    with load(gw):
        for here, there in [(two, one), (one, two)] * 2 + [(two, one)]:
            gw.write(stores=plain(one, here.port, extra=patient))
            reply = admin.ok("headgate", "reload")
            assert reply == {"changed": ["stores.pg.endpoints"], "needs_restart": []}
            until(lambda: sessions(there) == leased[there], what="those to the old one end")
            until(lambda: sessions(here) > leased[here], what="new ones are made")
    assert port_of(gw.client()) == two.port
    reply = admin.call("pg", "query", {"sql": "SELECT inet_server_port()"}, tx=tx)
    assert reply[3] == OK and reply[5]["rows"] == [[one.port]], reply
    admin.ok("pg", "commit", {}, tx=tx)
    until(lambda: sessions(one) == 0, what="the last one ends with its transaction")


def test_what_is_still_named_keeps_its_connections(start, twins):
    one, two = twins
    gw = start(stores=plain(one, one.port), grants=grant())
    c = gw.client()
    pid = rows(c, "SELECT pg_backend_pid()")
    gw.write(stores=plain(one, two.port, one.port))
    assert c.ok("headgate", "reload")["changed"] == ["stores.pg.endpoints"]
    for _ in range(20):
        assert rows(c, "SELECT pg_backend_pid()") == pid


@pytest.mark.parametrize("bad", ["[]", '["no port"]', '["a:1", "a:1"]', '["[nonsense]:5"]', '"a:1"',
                                 '["a:70000"]'])
def test_a_bad_list_changes_nothing(start, pg, bad):
    good = plain(pg, pg.port)
    gw = start(stores=good, grants=grant())
    admin = gw.client()
    with load(gw, callers=2):
        before = sessions(pg)
        gw.write(stores=good.replace(f'endpoints = ["127.0.0.1:{pg.port}"]', f"endpoints = {bad}"))
        reply = admin.call("headgate", "reload")
        assert reply[3] != OK and "endpoints" in reply[4]["message"], reply
        assert str(gw.file) in reply[4]["message"]
        assert sessions(pg) >= before


def test_another_database_takes_its_endpoints_with_it(start, twins):
    one, two = twins
    gw = start(stores=plain(one, one.port), grants=grant())
    c = gw.client()
    gw.write(stores=plain(one, two.port).replace('"shop"', '"elsewhere"'))
    reply = c.ok("headgate", "reload")
    assert reply["needs_restart"] == ["stores.pg.endpoints", "stores.pg.options"], reply
    assert port_of(c) == one.port


def test_read_endpoints_come_and_go_by_reload(start, twins):
    one, two = twins
    gw = start(stores=plain(one, one.port), grants=grant())
    c = gw.client()
    assert port_of(c, read_only=True) == one.port
    with load(gw, callers=2):
        gw.write(stores=plain(one, one.port, extra=f'read_endpoints = ["127.0.0.1:{two.port}"]'))
        assert c.ok("headgate", "reload")["changed"] == ["stores.pg.read_endpoints"]
        until(lambda: port_of(c, read_only=True) == two.port)
        assert port_of(c) == one.port
        gw.write(stores=plain(one, one.port))
        c.ok("headgate", "reload")
        assert port_of(c, read_only=True) == one.port
        until(lambda: sessions(two) == 0)


def test_a_reload_leaves_an_endpoint_that_is_silent(start, pg):
    with Gate(("127.0.0.1", pg.port)) as gate:
        gate.silence()
        gw = start(stores=plain(pg, gate.port, extra='connect_timeout = "20s"'), grants=grant())
        c = gw.client()
        c.request("pg", "query", {"sql": "SELECT 1", "params": []}, timeout_ms=30_000)
        until(lambda: gate.accepted > 0)
        gw.write(stores=plain(pg, pg.port, extra='connect_timeout = "20s"'))
        begun = time.monotonic()
        gw.client().ok("headgate", "reload")
        assert c.receive(30)[3] == OK
        assert time.monotonic() - begun < 5, "the call had to wait for the old connect"


def timed(client, **options):
    begun = time.monotonic()
    port = port_of(client, **options)
    return port, time.monotonic() - begun


@contextlib.contextmanager
def blackhole():
    """A port that takes no connection and refuses none: its queue of them is full."""
    import socket
    with socket.socket() as s, contextlib.ExitStack() as more:
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        for _ in range(4):
            c = more.enter_context(socket.socket())
            c.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                c.connect(s.getsockname())
        yield s.getsockname()[1]


@pytest.mark.parametrize("how", ["says_nothing", "no_answer"])
def test_a_dead_read_endpoint_costs_its_first_callers_little(start, pg, how):
    with contextlib.ExitStack() as stack:
        if how == "says_nothing":
            gate = stack.enter_context(Gate(("127.0.0.1", pg.port)))
            gate.silence()
            dead = gate.port
        else:
            dead = stack.enter_context(blackhole())
        extra = f'{TIMEOUT}\nread_endpoints = ["127.0.0.1:{dead}"]'
        gw = start(stores=plain(pg, pg.port, extra=extra), grants=grant())
        clients = [gw.client() for _ in range(8)]
        port, took = timed(clients[0], read_only=True)
        assert port == pg.port and took < SILENT / 2, took
        ids = [c.request("pg", "query", {"sql": "SELECT 1", "params": []}, read_only=True)
               for c in clients]
        begun = time.monotonic()
        assert all(c.receive(20)[3] == OK for c in clients) and ids
        assert time.monotonic() - begun < SILENT / 2
        # through its failure, the probes and their failures nobody waits again
        worst, end = 0.0, time.monotonic() + 3 * SILENT
        while time.monotonic() < end:
            worst = max(worst, timed(clients[0], read_only=True)[1])
        assert worst < SILENT / 2, worst
        if how == "says_nothing":
            assert gate.accepted <= 6, "a storm of connects"
            until(lambda: "event=connect_failed store=pg" in gw.log())
            gate.heal()
            until(lambda: gw.client().show("pools") and len(gate.links) > 0, 30)


def test_a_read_endpoint_that_falls_silent_is_left(start, own_pg):
    pg = own_pg()
    with Gate(("127.0.0.1", pg.port)) as gate:
        extra = f'{TIMEOUT}\nread_endpoints = ["127.0.0.1:{gate.port}", "localhost:{pg.port}"]'
        gw = start(stores=plain(pg, pg.port, extra=extra), grants=grant())
        c = gw.client()
        assert timed(c, read_only=True)[0] == pg.port and gate.accepted > 0
        gate.silence()
        gate.cut()
        port, took = timed(c, read_only=True)
        assert took < SILENT / 2, took


def test_the_primary_behind_a_silent_endpoint_is_found_soon(start, pg):
    with Gate(("127.0.0.1", pg.port)) as gate:
        gate.silence()
        closed = free_port()
        gw = start(stores=plain(pg, gate.port, closed, pg.port, extra=TIMEOUT), grants=grant())
        clients = [gw.client() for _ in range(20)]
        for c in clients:
            c.request("pg", "query", {"sql": "SELECT 1", "params": []})
        begun = time.monotonic()
        assert all(c.receive(20)[3] == OK for c in clients)
        assert time.monotonic() - begun < SILENT / 2
        assert gate.accepted <= 2, "a storm of connects"


def test_many_silent_stores_hold_up_no_other(start, pg):
    """Connect threads are shared: those that wait for the silent ones are not all there are."""
    with Gate(("127.0.0.1", pg.port)) as gate:
        gate.silence()
        names = [f"dead{i}" for i in range(8)]
        stores = "".join(plain(pg, gate.port, extra='connect_timeout = "20s"').replace(
            "[stores.pg]", f"[stores.{n}]") for n in names)
        gw = start(stores=stores + plain(pg, pg.port), grants=grant() + "".join(map(grant, names)))
        waiting = [gw.client() for _ in names]
        for c, name in zip(waiting, names):
            c.request(name, "query", {"sql": "SELECT 1", "params": []}, timeout_ms=1000)
        until(lambda: gate.accepted >= len(names), what="every store tries")
        port, took = timed(gw.client())
        assert port == pg.port and took < 5, took
