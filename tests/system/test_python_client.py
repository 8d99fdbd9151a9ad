"""The Python client and its examples against the real daemon."""

import datetime
import decimal
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import uuid

import pytest

from gateway import ROOT, until

sys.path.insert(0, str(ROOT / "client" / "python"))

import headgate  # noqa: E402

# Those that need PostgreSQL: test_listen.py runs them.
POSTGRES = {"cache_invalidation"}
EXAMPLES = sorted(e for e in (ROOT / "client" / "python" / "examples").glob("*.py")
                  if e.stem not in POSTGRES)
STORES = """
[stores.local-sql]
plugin = "sqlite"
kind = "sql"
options = { path = "local-sql.db" }
[stores.local-docs]
plugin = "sqlite"
kind = "document"
options = { path = "local-docs.db" }
[stores.local-kv]
plugin = "sqlite"
kind = "key_value"
options = { path = "local-kv.db" }
[services.python]
unix_users = ["@daemon"]
"""
GRANTS = "".join(f"""
[[grants]]
service = "python"
store = "{s}"
access = "admin"
""" for s in ("local-sql", "local-docs", "local-kv", "headgate"))


@pytest.fixture
def gateway(tmp_path):
    from gateway import binary, build
    (tmp_path / "state").mkdir()
    config = tmp_path / "headgate.toml"
    config.write_text(f"""
[daemon]
listen_ipc = "{tmp_path}/hg.sock"
plugin_dir = "{build() / 'plugins'}"
state_dir = "{tmp_path}/state"
statements_dir = "{tmp_path}/statements"
drain_timeout = "2s"
{STORES}{GRANTS}""")
    config.chmod(0o600)
    log = open(tmp_path / "log", "w")
    process = subprocess.Popen([binary("headgated"), "--config", str(config)], stdout=log, stderr=log)
    process.url = f"ipc://{tmp_path}/hg.sock"
    until(lambda: "event=ready" in (tmp_path / "log").read_text() or process.poll() is not None,
          what="ready")
    assert process.poll() is None, (tmp_path / "log").read_text()
    yield process
    with open(tmp_path / "log") as f:
        assert "internal" not in f.read()
    process.send_signal(signal.SIGCONT)
    process.terminate()
    assert process.wait(20) == 0


@pytest.fixture
def client(gateway):
    with headgate.connect(gateway.url) as c:
        yield c


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_example(gateway, example):
    env = dict(os.environ, HEADGATE_URL=gateway.url, PYTHONPATH=str(ROOT / "client" / "python"))
    for _ in range(2):  # an example can be run again
        out = subprocess.run(["/usr/bin/python3", str(example)], env=env, capture_output=True, text=True, timeout=60)
        assert out.returncode == 0, out.stderr
        assert out.stdout.strip()


def test_there_are_five_examples():
    assert len(EXAMPLES) >= 5


def test_ping_and_stores(client):
    assert client.ping() < 5
    assert client.ping("local-sql") < 5
    assert client.stores()["local-kv"]["kind"] == "key_value"


def test_values_come_back_exactly(client):
    db = client.sql("local-sql")
    db.execute("create table v (i integer, t text, r real, b blob, d decimal_text(20,4), day date, at timestamp, "
               "instant timestamptz, u uuid, j json, f boolean)")
    row = (2**62, "grüß \U0001f600", 1.5, b"\0\xff", decimal.Decimal("-12.5000"), datetime.date(1969, 12, 31),
           datetime.datetime(2026, 1, 2, 3, 4, 5, 678901), None, uuid.UUID(int=7), headgate.Json('{"a":1}'), True)
    db.execute("insert into v values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    assert db.query("select * from v").one() == row


def test_errors_have_their_class(client):
    db = client.sql("local-sql")
    db.execute("create table e (id integer primary key) strict")
    db.execute("insert into e values (1)")
    with pytest.raises(headgate.DuplicateKey) as e:
        db.execute("insert into e values (1)")
    assert e.value.code == "exists" and e.value.sqlstate == "23505" and not e.value.retryable
    assert e.value.outcome in ("rejected", "rolled_back")
    with pytest.raises(headgate.InvalidRequest):
        db.query("select ?", ())
    with pytest.raises(headgate.NotFound):
        db.query("select * from nowhere")
    with pytest.raises(headgate.Unsupported):
        client.request("local-kv", "query", {})


def test_transactions_nest_and_roll_back(client):
    db = client.sql("local-sql")
    db.execute("create table t (id integer primary key) strict")
    with db.transaction():
        db.execute("insert into t values (1)")
        with pytest.raises(ZeroDivisionError):
            with db.transaction():
                db.execute("insert into t values (2)")
                1 / 0
        db.execute("insert into t values (3)")
    assert [r[0] for r in db.query("select id from t order by id")] == [1, 3]
    with pytest.raises(ZeroDivisionError):
        with db.transaction():
            db.execute("delete from t")
            1 / 0
    assert db.query("select count(*) from t").scalar() == 2


def test_a_transaction_that_idles_expires(client):
    db = client.sql("local-sql")
    db.execute("create table x (id integer)")
    with pytest.raises(headgate.TransactionExpired) as e:
        with db.transaction():
            db.execute("insert into x values (1)")
            other = client.sql("local-sql")
            until(lambda: other.query("select 1").scalar() == 1 and time.sleep(1.3) is None, what="the idle limit")
            db.execute("insert into x values (2)")
    assert e.value.outcome == "rolled_back"
    assert db.query("select count(*) from x").scalar() == 0


def test_streams_and_uploads(client):
    db = client.sql("local-sql")
    db.execute("create table big (id integer primary key, v text) strict")
    assert db.copy_in("big", ((i, f"v{i}") for i in range(25_000)), ["id", "v"]) == 25_000
    rows = db.query("select id, v from big order by id", fetch=1000)
    seen = 0
    for id, v in rows:
        assert (id, v) == (seen, f"v{seen}")
        if seen == 5000:  # other calls go on meanwhile
            assert client.key_value("local-kv").incr("n") == 1
        seen += 1
    assert seen == 25_000
    assert db.query("select id from big", fetch=10).first() == (0,)  # the rest is given up
    assert db.query("select count(*) from big").scalar() == 25_000
    with pytest.raises(RuntimeError):
        def broken():
            yield (30_000, "a")
            raise RuntimeError("in the middle")
        db.copy_in("big", broken(), ["id", "v"], rows_per_piece=1)
    assert db.query("select count(*) from big").scalar() == 25_000


def test_idempotency_key(client):
    db = client.sql("local-sql")
    db.execute("create table pay (id integer primary key, cents integer)")
    for _ in range(3):
        assert db.execute("insert into pay (cents) values (5)", key="payment-1").rows_affected == 1
    assert db.query("select count(*) from pay").scalar() == 1
    with pytest.raises(headgate.Conflict):
        db.execute("insert into pay (cents) values (6)", key="payment-1")


def test_threads_share_a_client(client):
    kv = client.key_value("local-kv")
    threads = [threading.Thread(target=lambda: [kv.incr("n") for _ in range(50)]) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert kv.get("n") == b"400"


def test_lock_excludes(client):
    kv = client.key_value("local-kv")
    with kv.lock("l", timeout=30) as first:
        with pytest.raises(headgate.Conflict):
            with kv.lock("l", timeout=30):
                pass
    with kv.lock("l", timeout=30, blocking_timeout=2) as second:
        assert second.fence > first.fence


def test_a_stopped_gateway_never_hangs_the_client(gateway, client):
    gateway.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(headgate.DeadlineExceeded) as e:
        client.key_value("local-kv").request("set", {"key": b"k", "value": b"v"}, timeout=0.3)
    assert time.monotonic() - begun < 5
    assert e.value.outcome == "unknown"
    gateway.send_signal(signal.SIGCONT)
    assert client.key_value("local-kv").get("other") is None
    # What its caller gave up on is not executed later.
    assert client.key_value("local-kv").get("k") is None


def test_a_lost_gateway(gateway, client):
    gateway.kill()
    gateway.wait()
    with pytest.raises(headgate.Unavailable) as e:
        client.ping()
    assert e.value.outcome in ("not_sent", "unknown")
    gateway.wait = lambda timeout=None: 0  # it was killed here, not drained
    gateway.terminate = lambda: None


def test_no_gateway_says_where(tmp_path):
    with pytest.raises(headgate.Unavailable) as e:
        headgate.connect(f"ipc://{tmp_path}/none.sock", timeout=2)
    assert "none.sock" in str(e.value)
    with pytest.raises(headgate.InvalidRequest):
        headgate.connect("http://localhost")
