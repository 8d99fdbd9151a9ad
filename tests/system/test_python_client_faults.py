"""The Python client when things break: threads, forks, streams given up, gateways that go away."""

import gc
import os
import random
import signal
import socket
import sys
import threading
import time
import warnings

import pytest
import zmq
from gateway import ROOT, until
from postgres import free_port

sys.path.insert(0, str(ROOT / "client" / "python"))

import headgate  # noqa: E402

KV = """
[stores.kv]
plugin = "sqlite"
kind = "key_value"
options = { path = "kv.db" }
[stores.docs]
plugin = "sqlite"
kind = "document"
options = { path = "docs.db" }
"""
GRANTS = "".join(f'\n[[grants]]\nservice = "app"\nstore = "{s}"\naccess = "admin"\n'
                 for s in ("kv", "docs", "headgate"))

SLOW_INSERT = ("insert into t with recursive r(i) as (select 1 union all select i + 1 from r"
               " where i < 3e7) select count(*) from r")


@pytest.fixture
def gw(start):
    return start(stores=KV, grants=GRANTS)


@pytest.fixture
def client(gw):
    with headgate.connect(gw.url, timeout=20) as c:
        yield c


@pytest.fixture
def db(client):
    db = client.sql("sql")
    db.execute("create table n (i integer primary key)")
    db.copy_in("n", ([i] for i in range(5000)))
    return db


def count(db, where="1"):
    return db.query(f"select count(*) from n where {where}").scalar()


def test_close_wakes_other_threads(gw):
    client = headgate.connect(gw.url)
    errors = []

    def wait():
        try:
            client.key_value("kv").blpop("nothing", 20)
        except headgate.HeadgateError as e:
            errors.append(e)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for t in threads:
        t.start()
    until(lambda: sum(c._pumped_by is not None for c in list(client._all)) == 4, what="all wait")
    client.close()
    for t in threads:
        t.join(5)
        assert not t.is_alive()
    assert [type(e) for e in errors] == [headgate.Unavailable] * 4
    with pytest.raises(headgate.InvalidRequest):
        client.ping()


def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(gw, client, db):
    with db.transaction():
        db.execute("insert into n values (-1)")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                db.execute("insert into n values (-2)")
            except headgate.InvalidRequest:
                code = 0 if client.ping() < 20 else 2  # outside of it the child has its own
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        db.execute("insert into n values (-3)")
    assert [r[0] for r in db.query("select i from n where i < 0 order by i")] == [-3, -1]


def test_a_stream_that_is_given_up_does_not_cost_its_transaction(db):
    with db.transaction():
        db.execute("insert into n values (-1)")
        for _ in db.query("select i from n", fetch=10):
            break
        assert db.query("select 1").scalar() == 1
        rows = db.query("select i from n", fetch=10)
        next(rows)
        with pytest.raises(headgate.Conflict):
            db.query("select 1")
    assert count(db, "i = -1") == 1
    with pytest.raises(ZeroDivisionError):
        with db.transaction():
            db.execute("insert into n values (-2)")
            for _ in db.query("select i from n", fetch=10):
                1 / 0
    assert count(db, "i = -2") == 0
    db.execute("insert into n values (-2)", timeout=0.9)  # the writer was let go at once


def test_a_savepoint_survives_a_stream_that_is_given_up(db):
    with db.transaction():
        with pytest.raises(ZeroDivisionError):
            with db.transaction():
                db.execute("insert into n values (-1)")
                for _ in db.query("select i from n", fetch=10):
                    1 / 0
        db.execute("insert into n values (-2)")
    assert (count(db, "i = -1"), count(db, "i = -2")) == (0, 1)


def test_a_transaction_ends_no_stream_of_another(client, db):
    """Both are on this thread's connection."""
    docs = client.documents("docs")
    with db.transaction():
        db.execute("insert into n values (-1)")
        rows = db.query("select i from n", fetch=10)
        next(rows)
        with docs.transaction() as tx:
            tx["t"].insert_one({"i": 1})
        with pytest.raises(ZeroDivisionError):
            with docs.transaction() as tx:
                1 / 0
        assert len(rows.all()) == 5000
    assert count(db, "i = -1") == 1


def test_a_stream_that_was_closed_does_not_look_complete(db):
    with db.transaction():
        rows = db.query("select i from n", fetch=10)
    closed = db.query("select i from n", fetch=10)
    closed.close()
    for cut in (rows, closed):
        with pytest.raises(headgate.InvalidRequest, match="closed before its end"):
            cut.all()


def test_a_stream_that_is_closed_while_another_thread_reads_it(db):
    stream = db._client.stream("sql", "query", {"sql": "with recursive r(i) as (select 1 union all"
                               " select i + 1 from r where i < 1e9) select i from r"
                               " where i in (1, 2, 3, 1e9)"}, fetch=1)
    errors = []

    def read():
        try:
            list(stream)
        except headgate.HeadgateError as e:
            errors.append(e.code)

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: stream._conn._pumped_by == reader.ident, what="it waits")
    stream.close()
    reader.join(5)
    assert errors == ["invalid"]


def test_documents_that_stream_in_a_transaction(client):
    docs = client.documents("docs")
    docs["s"].insert_many([{"i": i} for i in range(500)])
    with docs.transaction() as tx:
        tx["s"].insert_one({"i": -1})
        found = iter(tx["s"].find({}))
        next(found)
    assert docs["s"].count_documents({"i": -1}) == 1


def test_the_meta_of_a_stream_is_there_at_its_end(db):
    rows = db.query("select i from n", fetch=100)
    assert len(rows.all()) == 5000
    assert rows.meta["outcome"] == 3


def test_a_stream_outside_of_a_transaction_is_cancelled(client, db):
    for _ in db.query("select i from n", fetch=10):
        break
    until(lambda: not client.connection()._pending, what="nothing is kept of it")
    assert count(db) == 5000


def test_a_piece_that_is_too_long_is_told(client, db):
    db.execute("create table b (b blob)")
    with pytest.raises(headgate.TooLarge) as e:
        db.copy_in("b", [[b"x" * (45 << 20)]])
    assert e.value.outcome == "rolled_back"
    assert db.query("select count(*) from b").scalar() == 0


def test_a_gateway_that_is_killed_in_a_transaction(gw, db):
    with pytest.raises(headgate.TransactionExpired) as e:
        with db.transaction():
            db.execute("insert into n values (-1)")
            gw.process.kill()
            gw.process.wait()
            conn = db._tx().connection
            until(lambda: not conn.alive(), what="the loss is seen")
            db.execute("insert into n values (-2)")
    assert e.value.outcome == "rolled_back"
    gw.start()
    assert count(db, "i < 0") == 0  # and the next call connects anew


def test_a_gateway_that_is_killed_in_mid_stream(gw, db):
    rows = db.query("select i from n", fetch=10)
    next(rows)
    gw.process.kill()
    gw.process.wait()
    with pytest.raises(headgate.Unavailable) as e:
        rows.all()
    assert e.value.outcome == "unknown"


def test_a_stopped_gateway_is_left_for_the_next(start, gw):
    other = start(stores=KV, grants=GRANTS)
    with headgate.connect(f"{gw.url},{other.url}") as client:
        client.ping()
        gw.signal(signal.SIGSTOP)
        begun = time.monotonic()
        answers = 0
        while not answers and time.monotonic() < begun + 20:
            try:
                client.key_value("kv").request("get", {"key": b"k"}, timeout=0.5)
                answers += 1
            except headgate.DeadlineExceeded:
                pass
        assert answers
        begun = time.monotonic()
        client.ping()
        assert time.monotonic() - begun < 0.5
        gw.signal(signal.SIGCONT)


def test_draining_elsewhere_does_not_cost_an_open_transaction(start, gw):
    """The transaction is let finish where it began; what is new goes to the next address."""
    other = start(stores=KV, grants=GRANTS)
    with headgate.connect(f"{gw.url},{other.url}") as client:
        db, kv = client.sql("sql"), client.key_value("kv")
        db.execute("create table t (i integer)")
        with db.transaction():
            db.execute("insert into t values (1)")
            gw.signal(signal.SIGTERM)
            until(lambda: "event=drain " in gw.log(), what="it drains")
            kv.set("k", "v")
            db.execute("insert into t values (2)")
        assert kv.get("k") == b"v"
        assert gw.process.wait(20) == 0


def test_threads_that_end_leave_nothing_behind(client):
    def ping():
        client.ping()

    def run():
        threads = [threading.Thread(target=ping) for _ in range(10)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        gc.collect()

    run()
    before = len(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2, what="descriptors are given back")
    assert not [w for w in caught if issubclass(w.category, ResourceWarning)]


def test_a_name_may_be_anything(gw):
    for name in ("ü" * 255, "\udcff"):
        with headgate.connect(gw.url, name=name) as client:
            client.ping()


def test_a_stream_may_be_read_in_another_thread(client, db):
    """Its thread goes on meanwhile: neither waits for what is the other's."""
    kv = client.key_value("kv")
    rows, got = db.query("select i from n", fetch=10), []
    reader = threading.Thread(target=lambda: got.extend(rows))
    reader.start()
    while reader.is_alive():
        assert kv.request("get", {"key": b"k"}, timeout=2).body["value"] is None
    assert len(got) == 5000

    rows = db.query("with recursive r(i) as (select 1 union all select i + 1 from r where i < 1e9)"
                    " select i from r where i in (1, 2, 3, 1e9)", fetch=1)
    errors = []

    def wait():
        try:
            rows.all()
        except headgate.HeadgateError as e:
            errors.append(e.code)

    reader = threading.Thread(target=wait)
    reader.start()
    conn = client.connection()
    until(lambda: conn._pumped_by == reader.ident, what="it waits")
    for _ in range(20):
        assert kv.request("get", {"key": b"k"}, timeout=2).body["value"] is None
    client.close()
    reader.join(10)
    assert errors == ["unavailable"]


def test_documents_of_one_transaction_in_two_threads(client):
    docs = client.documents("docs")
    with docs.transaction() as tx:
        def insert():
            tx["t"].insert_one({"i": 1})
        thread = threading.Thread(target=insert)
        thread.start()
        thread.join()
        tx["t"].insert_one({"i": 2})
    assert docs["t"].count_documents({}) == 2


def test_a_lost_answer_to_a_ping_leaves_the_call_unknown(client, monkeypatch):
    """The gateway goes away between its ping and our pong: what is in flight may have happened."""
    conn = client.connection()
    send = conn._send

    def cut(frame):
        if frame[2] == headgate.wire.PONG:
            conn.close("cut")
        return send(frame)

    monkeypatch.setattr(conn, "_send", cut)
    with pytest.raises(headgate.Unavailable) as e:
        client.key_value("kv").blpop("nothing", 20)
    assert e.value.outcome == "unknown"


def test_frames_stay_in_order_where_a_thread_leaves_pump(client, db):
    """A frame that was left to it goes before what is sent just after."""
    conn = client.connection()
    pending = conn.send_request("sql", "copy_in", {"timeout_ms": 9000}, {"table": "n"})
    until(lambda: conn.pump(0.1) and pending.upload_credit > 1, what="it takes data")
    conn._pumped_by = -1
    conn.send_data(pending, 1, False, [[-1]])
    conn._pumped_by = None
    conn.send_data(pending, 2, True, None)
    until(lambda: conn.pump(0.1) and pending.reply, what="it is answered")
    assert pending.reply.code == "ok"


@pytest.mark.parametrize("call", [lambda c: c.ping(), lambda c: c.close()], ids=["ping", "close"])
def test_a_thread_that_leaves_pump_without_a_word_keeps_nobody(client, call):
    """As when a signal handler's exception hits it there."""
    conn = client.connection()
    conn._pumped_by = -1
    leave = threading.Timer(0.2, setattr, [conn, "_pumped_by", None])
    leave.start()
    begun = time.monotonic()
    call(client)
    assert time.monotonic() - begun < 5


def test_an_upload_whose_gateway_goes_away_between_pieces_is_rolled_back(gw, client, db):
    conn = client.connection()

    def pieces():
        yield [-1]
        gw.process.kill()
        gw.process.wait()
        until(lambda: not conn._socket.getsockopt(zmq.EVENTS) & zmq.POLLOUT, what="it is gone")
        yield [-2]

    with pytest.raises(headgate.Unavailable) as e:
        db.copy_in("n", pieces(), rows_per_piece=1)
    assert e.value.outcome == "rolled_back"


def test_an_error_of_a_signal_handlers_call_sends_nothing_twice(client, db, monkeypatch):
    conn = client.connection()
    send = conn._send

    def interrupted(frame):
        conn._send = send
        send(frame)
        raise headgate.Unavailable("the handler's own", code="unavailable")

    monkeypatch.setattr(conn, "_send", interrupted)
    with pytest.raises(headgate.Unavailable, match="the handler's own"):
        db.execute("insert into n values (-1)")


def test_a_request_is_cancelled_once_and_a_hello_never(gw, monkeypatch):
    sent, send = [], headgate.connection.Connection._send

    def record(conn, frame):
        sent.append(frame[2])
        return send(conn, frame)

    monkeypatch.setattr(headgate.connection.Connection, "_send", record)
    with headgate.connect(gw.url) as client:
        with pytest.raises(headgate.InvalidRequest):
            client.request("kv", "set", {"value": object()})
        assert sent == []
        with pytest.raises(headgate.DeadlineExceeded):
            client.request("kv", "blpop", {"keys": [b"q"], "wait_ms": 9000}, timeout=0.1)
        gc.collect()
        assert sent.count(headgate.wire.CANCEL) == 1


def test_a_signal_handler_may_close_the_client_anywhere(gw):
    client = headgate.connect(gw.url)
    with client._guard:  # as if it came there
        client.close()


def test_the_gateway_is_told_the_time_that_connecting_has_left(client, monkeypatch):
    conn, told = client.connection(), []
    monkeypatch.setattr(conn, "send_request", lambda store, verb, options, body: told.append(options))
    monkeypatch.setattr(client, "connection", lambda deadline: time.sleep(0.1) or conn)
    with pytest.raises(headgate.Unavailable):
        client.ping(timeout=0.15)
    assert told[0]["timeout_ms"] <= 50


def test_a_transaction_that_nobody_can_end_takes_no_calls(db):
    """As when Ctrl-C comes just before its `__exit__` begins."""
    transaction = db.transaction()
    transaction.__enter__()
    inner = db.transaction()
    inner.__enter__()
    del inner
    assert db._tx() is transaction
    db.execute("insert into n values (-1)")
    del transaction
    assert count(db, "i = -1") == 0


def test_a_gateway_that_takes_no_more_clients(start, gw):
    """It cuts them before they have said a word; that must neither hang nor hide the next address."""
    full = start(daemon="clients_max = 1", stores=KV, grants=GRANTS)
    with headgate.connect(full.url) as kept:
        with pytest.raises(headgate.Unavailable, match="no more clients"):
            headgate.connect(full.url, timeout=5)
        with headgate.connect(f"{full.url},{gw.url}") as client:
            client.ping()
        kept.ping()


def test_every_address_that_failed_is_named(tmp_path):
    with pytest.raises(headgate.Unavailable, match="one.sock.*two.sock"):
        headgate.connect(f"ipc://{tmp_path}/one.sock,ipc://{tmp_path}/two.sock", timeout=5)


def test_an_address_that_does_not_take_this_key_is_left_for_the_next(start, gw, tmp_path):
    pairs = {"server": zmq.curve_keypair(), "stranger": zmq.curve_keypair()}
    for name, (public, secret) in pairs.items():
        (tmp_path / name).write_text(f'public = "{public.decode()}"\nsecret = "{secret.decode()}"\n')
        (tmp_path / name).chmod(0o600)
    port = free_port()
    other = start(daemon=f'listen_tcp = "tcp://127.0.0.1:{port}"\n'
                         f'server_key = {{ file = "{tmp_path / "server"}" }}')
    url = f"tcp://127.0.0.1:{port}?server_key={pairs['server'][0].decode()}"
    with pytest.raises(headgate.Unauthenticated):
        headgate.connect(url, key_file=str(tmp_path / "stranger"))
    with headgate.connect(f"{url},{gw.url}", key_file=str(tmp_path / "stranger")) as client:
        client.ping()
    assert other.alive()


def test_who_listens_but_says_nothing_is_told_so():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(headgate.Unavailable, match="no gateway answered.*within 0.5 s"):
            headgate.connect(f"tcp://127.0.0.1:{silent.getsockname()[1]}", timeout=0.5)


def test_what_a_document_transaction_found_ends_with_it(client):
    """Read later, it would silently see what is outside of it."""
    docs = client.documents("docs")
    with docs.transaction() as tx:
        tx["t"].insert_one({"i": 1})
        late = tx["t"].find()
        with pytest.raises(headgate.InvalidRequest, match="entered already"):
            with tx:
                pass
        tx["t"].insert_one({"i": 2})
    with pytest.raises(headgate.InvalidRequest, match="ended"):
        list(late)
    assert docs["t"].count_documents() == 2


def test_a_transaction_that_did_not_begin_may_be_tried_again(gw, client, db):
    transaction = db.transaction()
    gw.stop()
    with pytest.raises(headgate.Unavailable):
        with transaction:
            pass
    gw.start()
    with transaction:
        db.execute("insert into n values (-1)")
    assert count(db, "i = -1") == 1


def test_a_lock_that_was_lost_is_told(client):
    kv = client.key_value("kv")
    with pytest.raises(headgate.Conflict, match="lost"):
        with kv.lock("l", timeout=0.05):
            until(lambda: kv.lock("l", timeout=30).acquire(), what="another has it")
    with pytest.raises(headgate.Conflict, match="lost"):
        with kv.lock("l2", timeout=0.05) as lock:
            time.sleep(0.1)
            assert not lock.extend()  # it has it again, but another may have had it meanwhile
            assert not lock.extend()
    with kv.lock("m", timeout=30) as lock:
        assert lock.release()
    with pytest.raises(ZeroDivisionError):  # what went wrong inside says more
        with kv.lock("n", timeout=0.05):
            until(lambda: kv.lock("n", timeout=30).acquire(), what="another has it")
            1 / 0


def test_a_cursor_has_nothing_to_fetch_after_an_error(db):
    cursor = db.cursor().execute("select 1")
    with pytest.raises(headgate.NotFound):
        cursor.execute("select * from nowhere")
    assert cursor.description is None
    with pytest.raises(headgate.InvalidRequest):
        cursor.fetchone()


def test_a_stream_that_nobody_reads_is_ended(client, db):
    client.stream("sql", "query", {"sql": "select i from n"}, fetch=10)
    with db.query("select i from n", fetch=10) as rows:
        next(rows)
    gc.collect()
    assert not client.connection()._pending
    until(lambda: not [c for c in client.request("headgate", "show", {"what": "calls"}).body["rows"]
                       if "query" in c], what="the gateway has ended them")


def test_a_signal_handler_may_call_while_a_call_waits(client):
    """What it takes in for the call that it interrupted is seen there."""
    kv, conn = client.key_value("kv"), client.connection()

    def handler(*_):
        kv.rpush("q", "x")
        until(lambda: client.ping() and all(p.reply for p in conn._pending.values()),
              what="the answer of both has come")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        begun = time.monotonic()
        assert kv.blpop("q", 15) == (b"q", b"x")
        assert time.monotonic() - begun < 10
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("call", [
    lambda db: db.query("select 1", fetch=10).all(),
    lambda db: db.copy_in("t", [(1,)]),
    lambda db: db.transaction().__enter__(),
], ids=["stream", "upload", "transaction"])
def test_what_a_draining_gateway_does_not_begin_is_begun_elsewhere(start, gw, monkeypatch, call):
    """Its goaway may be behind the request, which is then answered `draining`."""
    other = start(stores=KV, grants=GRANTS)
    for url in (gw.url, other.url):
        with headgate.connect(url) as client:
            client.sql("sql").execute("create table t (i integer)")
    decode = headgate.wire.decode

    def without_goaway(frame):
        f = decode(frame)
        return None if isinstance(f, headgate.wire.Goaway) else f

    monkeypatch.setattr(headgate.wire, "decode", without_goaway)
    with headgate.connect(f"{gw.url},{other.url}") as client:
        with client.sql("sql").transaction() as held:  # what keeps the gateway here
            held.execute("insert into t values (2)")
            gw.signal(signal.SIGTERM)
            until(lambda: "event=drain " in gw.log(), what="it drains")
            call(client.sql("sql"))
            assert client.connection().address.endpoint == other.url


def test_what_a_draining_gateway_had_begun_is_not_begun_again(start):
    """At the drain's deadline it answers a running write with `draining` and the outcome `unknown`."""
    gw = start(daemon='drain_timeout = "300ms"', stores=KV, grants=GRANTS)
    other = start(stores=KV, grants=GRANTS)
    for url in (gw.url, other.url):
        with headgate.connect(url) as client:
            client.sql("sql").execute("create table t (i integer)")
    with headgate.connect(f"{gw.url},{other.url}", timeout=20) as client:
        stop = threading.Timer(0.2, gw.signal, [signal.SIGTERM])
        stop.start()
        with pytest.raises(headgate.HeadgateError) as e:
            client.sql("sql").execute(SLOW_INSERT)
        assert (e.value.code, e.value.outcome) == ("draining", "unknown")
    with headgate.connect(other.url) as client:
        assert client.sql("sql").query("select count(*) from t").scalar() == 0


def calls(client, verb):
    return [c for c in client.request("headgate", "show", {"what": "calls"}).body["rows"] if verb in c]


def test_what_nobody_waits_for_is_cancelled(client):
    """As when an exception comes between the sending and the waiting."""
    pending = client.connection().send_request("kv", "blpop", {"timeout_ms": 60_000},
                                               {"keys": [b"nothing"], "wait_ms": 50_000})
    until(lambda: calls(client, "blpop"), what="it waits")
    del pending
    until(lambda: not calls(client, "blpop"), seconds=20, what="it ends")


def test_what_is_lost_of_another_call_is_told_there(client, db, monkeypatch):
    """As by a signal handler's exception while a call takes in a part that is a stream's."""
    kv, decode = client.key_value("kv"), headgate.wire.decode
    rows = db.query("select i from n limit 60", fetch=10)
    for _ in range(11):  # until it asks for the last two parts
        next(rows)

    def interrupted(frame):
        f = decode(frame)
        if isinstance(f, headgate.wire.Part) and f.sequence == 5:
            raise KeyboardInterrupt
        return f

    with monkeypatch.context() as m:
        m.setattr(headgate.wire, "decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            for _ in range(1000):
                kv.get("k")
    with pytest.raises(headgate.Unavailable) as e:
        rows.all()
    assert e.value.outcome == "unknown"


def test_a_signal_handler_may_call_while_a_part_is_taken_in(client, db, monkeypatch):
    """It takes in the stream's reply; the part that it came before is not lost."""
    decode, came = headgate.wire.decode, []
    rows = db.query("select i from n limit 60", fetch=10)
    pending = rows._stream._pending

    def interrupted(frame):
        f = decode(frame)
        if isinstance(f, headgate.wire.Part) and f.sequence == 5:
            until(lambda: client.ping() and pending.reply)
            came.append(f)
        return f

    monkeypatch.setattr(headgate.wire, "decode", interrupted)
    assert len(rows.all()) == 60
    assert came


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # one in a __del__
def test_exceptions_of_a_signal_handler_anywhere(client, db):
    """Each ends the call that it hits, at worst with its connection; no answer goes to another."""
    class TimeIsUp(Exception):
        pass

    def handler(*_):
        raise TimeIsUp

    def transaction(i):
        with db.transaction():
            db.execute("insert into n values (?)", (-2 * i,))
            db.execute("insert into n values (?)", (-2 * i - 1,))
        return True

    chance, done = random.Random(7), []
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for i in range(1, 1500):
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.003))
                kind = chance.randrange(3)
                if kind == 0 and transaction(i):
                    done += [-2 * i, -2 * i - 1]
                elif kind == 1:
                    assert db.query("select ?", (i,)).scalar() == i
                elif kind == 2:
                    assert len(db.query("select i from n where i >= 0 limit 20", fetch=3).all()) == 20
                signal.setitimer(signal.ITIMER_REAL, 0)
            except TimeIsUp:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    written = {row[0] for row in db.query("select i from n where i < 0").all()}
    assert written >= set(done)
    assert all(-(-i ^ 1) in written for i in written)  # both of a transaction, or none
    assert client.connection()._pumped_by is None
    until(lambda: not client.request("headgate", "show", {"what": "leases"}).body["rows"],
          what="nothing is held")
