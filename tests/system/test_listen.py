"""Notifications of PostgreSQL through the real daemon: in order, all of them, or an error."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from gate import Gate
from gateway import OVERLOADED, PART, REPLY, ROOT, binary, until
from postgres import grant, store

sys.path.insert(0, str(ROOT / "client" / "python"))

import headgate  # noqa: E402

LISTENING = "SELECT count(*) FROM pg_stat_activity WHERE query ~* '^(un)?listen' AND usename = 'app'"


@pytest.fixture
def gw(start, pg):
    return start(stores=store(pg), grants=grant())


@pytest.fixture
def client(gw):
    with headgate.connect(gw.url, timeout=20) as c:
        yield c


@pytest.fixture
def db(client):
    return client.sql("pg")


def gated_gateway(start, pg, gate, options=""):
    return start(stores=store(pg, where=f"127.0.0.1:{gate.port}", tls='"off"', options=options),
                 grants=grant())


class Reader(threading.Thread):
    """Takes `count` notifications (None: until the listener ends), or the error that came."""

    def __init__(self, listener, count=None):
        super().__init__(daemon=True)
        self.listener, self.count, self.notes, self.error = listener, count, [], None
        self.start()

    def run(self):
        try:
            self.notes.extend(self.listener.notifies(stop_after=self.count))
        except headgate.HeadgateError as e:
            self.error = e

    def done(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive(), f"still waits, after {len(self.notes)} notifications"
        return self


def test_notifications_are_typed_and_time_out(db, pg):
    with db.listen("orders", "prices") as listener:
        assert listener.channels == ("orders", "prices")
        assert listener.get(timeout=0.05) is None
        assert list(listener.notifies(timeout=0.05)) == []
        db.notify("prices", "tea")
        note = listener.get(timeout=20)
        assert note == headgate.Notify("prices", "tea", note.pid) and note.pid > 0
        pg.sql("NOTIFY orders")
        pg.sql("NOTIFY elsewhere")
        pg.sql("NOTIFY orders, 'a\nb\tü\U0001f600'")
        assert [(n.channel, n.payload) for n in listener.notifies(stop_after=2)] == [
            ("orders", ""), ("orders", "a\nb\tü\U0001f600")]
        assert not listener.closed
    assert listener.closed and list(listener) == []
    with pytest.raises(headgate.Cancelled):
        listener.get(timeout=1)


def test_notify_follows_its_transaction(db):
    with db.listen("t") as listener:
        with pytest.raises(ZeroDivisionError):
            with db.transaction():
                db.notify("t", "undone")
                1 / 0
        with db.transaction():
            db.notify("t", "done")
            assert listener.get(timeout=0.05) is None  # a listener has no part in it
            db.execute("select 1")
        assert listener.get(timeout=20).payload == "done"


def test_subscribers_share_one_connection_and_leave_alone(client, db, pg):
    listeners = [db.listen("shared", f"own{i}") for i in range(4)]
    assert pg.sql(LISTENING) == "1"
    listeners[0].close()
    listeners[1].close()
    db.notify("shared", "x")
    db.notify("own3", "y")
    assert listeners[2].get(timeout=20).payload == "x"
    assert [listeners[3].get(timeout=20).payload for _ in range(2)] == ["x", "y"]
    until(lambda: "UNLISTEN" in pg.sql("SELECT string_agg(query, ';') FROM pg_stat_activity"),
          what="channels that nobody wants are given up")
    with db.listen("own0") as again:  # what was given up can be had again
        db.notify("own0", "z")
        assert again.get(timeout=20).payload == "z"
    for listener in listeners[2:]:
        listener.close()
    assert pg.sql(LISTENING) == "1"


@pytest.mark.parametrize("how", ["one transaction", "many"])
def test_ten_thousand_in_order_to_five(db, pg, how):
    count = 10_000
    listeners = [db.listen("many") for _ in range(5)]
    readers = [Reader(listener, count) for listener in listeners]
    if how == "many":
        pg.sql("DO $$BEGIN FOR i IN 1..10000 LOOP PERFORM pg_notify('many', i::text); COMMIT; "
               "END LOOP; END$$")
    else:
        pg.sql("SELECT pg_notify('many', i::text) FROM generate_series(1, 10000) i")
    for reader in readers:
        assert reader.done().error is None
        assert [n.payload for n in reader.notes] == [str(i) for i in range(1, count + 1)]
    for listener in listeners:
        assert listener.get(timeout=0.05) is None
        listener.close()


def test_a_slow_subscriber_is_ended_and_the_others_are_not(gw, db, pg):
    slow = gw.client()
    id = slow.request("pg", "listen", {"channels": ["slow"]}, fetch=1000, credit=1)
    assert slow.receive()[4]["rows"] == []
    with db.listen("slow") as listener:
        reader = Reader(listener, 1500)
        for i in range(15):  # 12 MB, and 8 MiB are kept
            pg.sql(f"SELECT pg_notify('slow', lpad(i::text, 7999, '0')) "
                   f"FROM generate_series({i * 100 + 1}, {i * 100 + 100}) i")
        assert reader.done().error is None
        assert [int(n.payload.lstrip("0")) for n in reader.notes] == list(range(1, 1501))
        slow.send([1, 7, id, 1000])
        rows = []
        while (frame := slow.receive())[1] == PART:
            assert frame[3] > 1 and frame[2] == id
            rows += frame[4]["rows"]
        assert frame[1] == REPLY and frame[3] == OVERLOADED, frame
        assert "too slow" in frame[4]["message"]
        assert [int(r[1].lstrip("0")) for r in rows] == list(range(1, len(rows) + 1))
        assert 0 < len(rows) < 1500
        pg.sql("NOTIFY slow, 'after'")
        assert listener.get(timeout=20).payload == "after"


def test_parts_keep_to_fetch(gw, pg):
    c = gw.client()
    id = c.request("pg", "listen", {"channels": ["f"]}, fetch=7, credit=1000)
    c.receive()
    pg.sql("SELECT pg_notify('f', i::text) FROM generate_series(1, 100) i")
    rows = []
    while len(rows) < 100:
        part = c.receive()
        assert part[1] == PART and part[2] == id and 0 <= len(part[4]["rows"]) <= 7
        rows += part[4]["rows"]
    assert [r[1] for r in rows] == [str(i) for i in range(1, 101)]


def test_the_longest_payload(db):
    with db.listen("long") as listener:
        db.notify("long", "x" * 7999)
        db.notify("long", "ü" * 3999)
        assert listener.get(timeout=20).payload == "x" * 7999
        assert listener.get(timeout=20).payload == "ü" * 3999
        with pytest.raises(headgate.HeadgateError) as e:
            db.notify("long", "x" * 8000)
        assert e.value.sqlstate == "22023" and e.value.outcome in ("rejected", "rolled_back")


NAMES = ["a b", 'quo"te', "quo'te", "UPPER", "upper", "select", "a.b", "x; drop table t", "ü\U0001f600",
         "\\", "n" * 63, "$1", "--", " "]


def test_channels_are_named_as_they_are_spelt(db):
    with db.listen(*NAMES) as listener:
        for name in NAMES:
            db.notify(name, name)
        assert [(n.channel, n.payload) for n in listener.notifies(stop_after=len(NAMES))] == [
            (name, name) for name in NAMES]
    with db.listen("Case") as listener:
        db.notify("case", "other")
        db.notify("Case", "mine")
        assert listener.get(timeout=20).payload == "mine"


def test_bad_arguments(client, db):
    for channels in ([], [""], ["n" * 64], ["ü" * 32], ["a\0b"], [1], [None], [["a"]],
                     [f"c{i}" for i in range(65)]):
        with pytest.raises(headgate.InvalidRequest):
            db.listen(*channels)
    for timeout in (0, -1):
        with pytest.raises(headgate.InvalidRequest):
            db.listen("a", timeout=timeout)
    with pytest.raises(headgate.Unsupported):
        client.sql("sql").listen("a")
    with pytest.raises(headgate.NotFound):
        client.sql("nowhere").listen("a")
    with pytest.raises(headgate.HeadgateError) as e:
        db.execute("listen a")
    assert e.value.outcome == "not_sent"
    with db.listen("a", "a") as listener:  # twice is once
        db.notify("a")
        assert len(list(listener.notifies(timeout=0.3))) == 1


def test_a_read_only_subscriber(db):
    with db.listen("r", read_only=True) as listener:
        db.notify("r", "x")
        assert listener.get(timeout=20).payload == "x"


@pytest.mark.parametrize("how", ["close", "client"])
def test_close_from_another_thread(gw, how):
    client = headgate.connect(gw.url, timeout=20)
    listener = client.sql("pg").listen("c")
    readers = [Reader(listener) for _ in range(3)]  # one waits, two behind it
    until(lambda: listener._conn._pumped_by is not None, what="one waits")
    begun = time.monotonic()
    (listener if how == "close" else client).close()
    for reader in readers:
        reader.done()
        assert (reader.error is None) == (how == "close")
        assert how == "close" or isinstance(reader.error, headgate.Unavailable)
    assert time.monotonic() - begun < 5
    client.close()


def test_close_in_a_signal_handler(gw):
    program = """
import headgate, os, signal, sys, threading
listener = headgate.connect(sys.argv[1]).sql("pg").listen("s")
signal.signal(signal.SIGTERM, lambda *_: listener.close())
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
for note in listener:
    pass
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", program, gw.url], capture_output=True, text=True,
                          timeout=30, env={**os.environ, "PYTHONPATH": str(ROOT / "client/python")})
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


def test_the_server_restarts(start, own_pg):
    pg = own_pg()
    gw = start(stores=store(pg), grants=grant())
    with headgate.connect(gw.url, timeout=20) as client:
        db = client.sql("pg")
        listeners = [db.listen("r") for _ in range(2)]
        with db.listen("r") as first:  # on the same connection to the server
            db.notify("r", "before")
            assert first.get(timeout=20).payload == "before"
        pg.restart()
        for listener in listeners:
            assert listener.get(timeout=20).payload == "before"  # what came counts
            for _ in range(2):  # told again, however often it is asked
                with pytest.raises(headgate.Unavailable) as e:
                    listener.get(timeout=20)
            assert "57P01" in str(e.value) or "subscription ended" in str(e.value)
        with db.listen("r") as again:
            db.notify("r", "after")
            assert again.get(timeout=20).payload == "after"


def test_a_connection_that_is_cut(start, pg):
    with Gate(("127.0.0.1", pg.port)) as gate:
        gw = gated_gateway(start, pg, gate)
        with headgate.connect(gw.url, timeout=20) as client:
            with client.sql("pg").listen("c") as listener:
                gate.cut()
                with pytest.raises(headgate.Unavailable):
                    list(listener)
            with client.sql("pg").listen("c") as listener:
                pg.sql("NOTIFY c, 'x'")
                assert listener.get(timeout=20).payload == "x"


def test_a_server_that_goes_silent_is_not_believed(start, pg):
    """A half-open connection brings nothing for ever; the server is asked whether it is there."""
    with Gate(("127.0.0.1", pg.port)) as gate:
        gw = gated_gateway(start, pg, gate, options='stall_ms = "1s"')
        with headgate.connect(gw.url, timeout=20) as client:
            with client.sql("pg").listen("c") as listener:
                gate.silence()
                with pytest.raises(headgate.Unavailable) as e:
                    listener.get(timeout=30)
                assert "said nothing" in e.value.message
                gate.heal()


def test_a_gateway_that_is_killed(gw, db):
    with db.listen("k") as listener:
        gw.process.kill()
        gw.process.wait()
        with pytest.raises(headgate.Unavailable):
            listener.get(timeout=20)


def test_a_gateway_that_is_stopped(gw, db):
    """Nothing comes from it and nothing ends: it is asked, and then given up."""
    with db.listen("k") as listener:
        listener._conn.heartbeat = 0.5
        gw.signal(signal.SIGSTOP)
        with pytest.raises(headgate.Unavailable) as e:
            listener.get(timeout=30)
        assert "silent" in e.value.message
        gw.signal(signal.SIGCONT)


def test_only_a_reload_gives_it_an_end(start, pg):
    gw = start(stores=store(pg, extra='stream_max = "1s"'), grants=grant())
    with headgate.connect(gw.url, timeout=20) as client:
        db = client.sql("pg")
        reader = Reader(db.listen("lasting"))
        for i in range(3):
            time.sleep(0.7)
            db.notify("lasting", str(i))
        until(lambda: len(reader.notes) == 3, what="notifications after stream_max")
        gw.client().ok("headgate", "reload")
        assert isinstance(reader.done().error, headgate.DeadlineExceeded)
        assert "configuration has changed" in str(reader.error)
        assert len(reader.notes) == 3


def test_a_gateway_that_drains(gw, db):
    with db.listen("k") as listener:
        db.notify("k", "before")
        until(lambda: listener._conn.pump(0) and any(p.body["rows"] for p in listener._pending.parts),
              what="it is here, and not read")
        gw.signal(signal.SIGTERM)
        assert listener.get(timeout=20).payload == "before"
        for _ in range(2):
            with pytest.raises(headgate.Draining):
                listener.get(timeout=20)
        # It would never end by itself: the gateway need not wait out its drain_timeout.
        assert gw.process.wait(10) == 0, gw.log()


def test_a_child_process_cannot_read_its_parents(db):
    with db.listen("f") as listener:
        child = os.fork()
        if child == 0:
            try:
                listener.get(timeout=1)
            except headgate.InvalidRequest:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        db.notify("f", "x")
        assert listener.get(timeout=20).payload == "x"


def test_the_example_of_cache_invalidation(gw):
    example = ROOT / "client" / "python" / "examples" / "cache_invalidation.py"
    env = {**os.environ, "HEADGATE_URL": gw.url, "PYTHONPATH": str(ROOT / "client" / "python")}
    for _ in range(2):  # an example can be run again
        done = subprocess.run([sys.executable, str(example), "pg"], env=env, capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0 and "475" in done.stdout and done.stderr == "", done.stderr


# -- the command line


def start_cli(gw, *words):
    process = subprocess.Popen([binary("headgate"), "--url", gw.url, *words], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert "listening" in process.stderr.readline()
    return process


def test_the_command_line_listens(gw, db):
    process = start_cli(gw, "listen", "pg", "a", "b")
    db.notify("a", "one")
    db.notify("b", "two\nlines")
    assert process.stdout.readline() == "a\tone\n"
    assert process.stdout.readline() == "b\ttwo\\nlines\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_the_command_line_counts_and_writes_json(gw, db):
    process = start_cli(gw, "--json", "listen", "pg", "a", "--count", "2")
    for payload in ("x", 'ü"'):
        db.notify("a", payload)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    notes = [json.loads(line) for line in out.splitlines()]
    assert [(n["channel"], n["payload"], n["pid"] > 0) for n in notes] == [
        ("a", "x", True), ("a", 'ü"', True)]
    process = start_cli(gw, "--csv", "listen", "pg", "a", "--count", "1")
    db.notify("a", "x,y")
    out, _ = process.communicate(timeout=20)
    assert out.splitlines()[0] == "channel,payload,pid" and out.startswith('a,"x,y",', len("channel,payload,pid\n"))


def test_the_command_line_says_what_broke(gw, pg):
    process = start_cli(gw, "listen", "pg", "a")
    pg.kill_backends("query ~* '^listen'")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 3 and "unavailable" in err
    done = subprocess.run([binary("headgate"), "--url", gw.url, "listen", "pg", "n" * 64],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "names of 1 to 63 bytes" in done.stderr
