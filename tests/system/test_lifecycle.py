"""Start, stop, reload, and who may connect at all."""

import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import zmq
import zmq.utils.monitor
from gateway import (APPLIED, DENIED, DRAINING, EXPIRED, GOAWAY, INVALID, NOT_SENT, OK, PART,
                     ROLLED_BACK, UNKNOWN, Gateway, binary, build, until)

SLOW = "with recursive n(i) as (select 1 union all select i+1 from n where i < {}) select count(*) from n"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_sigterm_ends_an_idle_daemon(gw):
    gw.client().ok("headgate", "ping")
    gw.stop(0)
    assert not gw.sock.exists()


def test_drain_answers_what_is_in_flight_and_refuses_new_work(gw):
    c = gw.client()
    busy = c.request("sql", "query", {"sql": SLOW.format(3_000_000)}, timeout_ms=60_000)
    until(lambda: gw.client().show("calls"))
    gw.signal(signal.SIGTERM)
    frame = c.receive()
    assert frame[1] == GOAWAY and frame[3] == 30_000
    late = c.request("sql", "query", {"sql": "select 1"})
    answers = {}
    while busy not in answers or late not in answers:
        reply = c.receive(60)
        assert reply is not None, gw.log()
        answers[reply[2]] = reply
    assert answers[late][3] == DRAINING and answers[late][4]["outcome"] == NOT_SENT
    assert answers[busy][3] == OK, answers[busy]
    gw.process.wait(20)
    assert gw.process.returncode == 0, gw.log()


def test_a_transaction_may_finish_during_a_drain(start):
    gw = start(stores="writer_lease_idle = \"10s\"\nwriter_lease_total = \"20s\"")
    c = gw.client()
    c.sql("create table t(a)")
    tx = c.request("sql", "begin")
    assert c.receive()[3] == OK
    gw.signal(signal.SIGTERM)
    assert c.receive()[1] == GOAWAY
    c.ok("sql", "execute", {"sql": "insert into t values (1)"}, tx=tx)
    c.ok("sql", "commit", tx=tx)
    gw.process.wait(20)
    assert gw.process.returncode == 0, gw.log()
    gw.start()
    assert gw.client().rows("select count(*) from t") == [[1]]


def test_leases_roll_back_at_the_drain_deadline(start):
    gw = start(daemon='drain_timeout = "300ms"',
               stores="writer_lease_idle = \"60s\"\nwriter_lease_total = \"60s\"")
    c = gw.client()
    c.sql("create table t(a)")
    tx = c.request("sql", "begin")
    assert c.receive()[3] == OK
    c.ok("sql", "execute", {"sql": "insert into t values (1)"}, tx=tx)
    gw.stop(0)
    assert "event=drain_deadline" in gw.log()
    gw.start()
    assert gw.client().rows("select count(*) from t") == [[0]]


def test_a_second_sigterm_is_immediate(gw):
    c = gw.client()
    c.request("sql", "query", {"sql": SLOW.format(10**9)}, timeout_ms=600_000)
    until(lambda: gw.client().show("calls"))
    gw.signal(signal.SIGTERM)
    until(lambda: "event=drain " in gw.log())
    gw.signal(signal.SIGTERM)
    gw.process.wait(5)
    assert gw.process.returncode == 1
    assert "event=stopped_at_once" in gw.log()


def test_drain_as_a_verb(gw):
    c = gw.client()
    assert c.ok("headgate", "drain", {"timeout_ms": 2000}) == {}
    assert c.receive()[:3] == [1, GOAWAY, 0]
    gw.process.wait(20)
    assert gw.process.returncode == 0, gw.log()


@pytest.mark.parametrize("name", ["ipc", "tcp"])
def test_a_second_daemon_is_refused(start, name):
    port = free_port()
    daemon = f'listen_tcp = "tcp://127.0.0.1:{port}"\nallow_plain_tcp_on_loopback = true'
    gw = start(daemon=daemon)
    again = daemon if name == "tcp" else f'listen_ipc = "{gw.sock}"'
    second = start(daemon=again, wait=False)
    assert second.process.wait(20) != 0
    assert "another" in second.log(), second.log()
    gw.client().ok("headgate", "ping")


def test_a_stale_socket_is_no_obstacle(gw):
    gw.process.kill()
    gw.process.wait()
    assert gw.sock.exists()
    gw.log_file.unlink()
    gw.start()
    gw.client().ok("headgate", "ping")


def test_a_foreign_file_or_a_listener_in_the_sockets_place_is_left_alone(start, tmp_path):
    path = tmp_path / "x.sock"
    path.write_text("precious")
    gw = start(daemon=f'listen_ipc = "{path}"', wait=False)
    assert gw.process.wait(20) != 0 and "not a socket" in gw.log()
    assert path.read_text() == "precious"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen()
        gw = start(daemon=f'listen_ipc = "{path}"', wait=False)
        assert gw.process.wait(20) != 0 and "another program listens" in gw.log()


def test_a_directory_that_others_can_write_is_refused(start, tmp_path):
    (tmp_path / "open").mkdir(mode=0o777)
    os.chmod(tmp_path / "open", 0o777)
    gw = start(daemon=f'listen_ipc = "{tmp_path}/open/hg.sock"', wait=False)
    assert gw.process.wait(20) != 0 and "can be written by others" in gw.log()


def test_faults_in_the_configuration_are_all_told(start):
    gw = start(daemon="colour = 1\nclients_max = \"many\"", wait=False)
    assert gw.process.wait(20) == 78
    log = gw.log()
    assert "colour" in log and "clients_max" in log and f"{gw.file}:" in log


def test_reload_swaps_grants_and_says_what_changed(gw):
    c = gw.client()
    gw.write(daemon='log_level = "debug"\nclients_max = 99',
             grants='[[grants]]\nservice = "app"\nstore = "headgate"\nverbs = ["show"]')
    done = c.ok("headgate", "reload")
    assert "daemon.log_level" in done["changed"] and "grants" in done["changed"]
    assert done["needs_restart"] == ["daemon.clients_max"]
    shown = {r["name"]: r["value"] for r in c.show("config")}
    assert shown["daemon.clients_max"] == "16384"  # in force until a restart
    assert shown["daemon.log_level"] == '"debug"'


def test_a_bad_reload_changes_nothing_and_says_why(gw):
    c = gw.client()
    good = gw.file.read_text()
    gw.file.write_text(good + "\n[[grants]]\nservice = \"nobody\"\nstore = \"sql\"\naccess = \"read\"")
    reply = c.call("headgate", "reload")
    assert reply[3] == INVALID and "nobody" in reply[4]["message"]
    gw.signal(signal.SIGHUP)
    until(lambda: gw.log().count("event=reload_refused") >= 2)
    c.sql("select 1")
    gw.file.write_text(good)
    gw.signal(signal.SIGHUP)
    until(lambda: "event=reload " in gw.log())


def test_reload_under_load_loses_no_call(gw):
    gw.client().sql("create table t(a)")
    stop = threading.Event()
    counts, faults = [0] * 4, []

    def work(n):
        c = gw.client()
        while not stop.is_set():
            reply = c.call("sql", "execute", {"sql": "insert into t values (?)", "params": [n]})
            if reply[3] != OK:
                faults.append(reply)
            counts[n] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    c = gw.client()
    for i in range(20):
        gw.write(stores=f"connections_max = {3 + i % 2}")
        c.ok("headgate", "reload")
    until(lambda: min(counts) > 5)
    stop.set()
    for t in threads:
        t.join()
    assert not faults, faults[:3]
    assert c.rows("select count(*) from t") == [[sum(counts)]]


def test_a_user_that_loses_its_service_is_cut_within_a_second(start):
    user = next(u for u in pwd.getpwall() if u.pw_uid not in (0, os.getuid(), 65534))
    if os.getuid() != 0:
        pytest.skip("needs root to become another user")
    gw = start(daemon="ipc_mode = \"0666\"", services=f'[services.other]\nunix_users = ["{user.pw_name}"]')
    os.chmod(gw.folder, 0o755)
    script = (
        "import os, sys, time\n"
        f"os.setgid({user.pw_gid}); os.setuid({user.pw_uid})\n"
        f"sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n"
        "import zmq, msgpack, zmq.utils.monitor\n"
        "s = zmq.Context().socket(zmq.DEALER); s.linger = 0; s.reconnect_ivl = -1\n"
        "m = s.get_monitor_socket(zmq.EVENT_DISCONNECTED)\n"
        f"s.connect({gw.url!r})\n"
        "s.send(msgpack.packb([1, 1, 1, 't', '1', 1, 1, False]))\n"
        "print(msgpack.unpackb(s.recv())[1] if s.poll(10000) else 'nothing', flush=True)\n"
        "print('cut' if m.poll(20000) else 'still there', time.monotonic(), flush=True)\n")
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "2\n", gw.log()
    c = gw.client()
    assert {p["service"] for p in c.show("peers")} == {"app", "other"}
    gw.write(services="")
    before = time.monotonic()
    c.ok("headgate", "reload")
    word, at = other.stdout.readline().split()
    assert word == "cut" and float(at) - before < 1
    assert other.wait(10) == 0
    # and it does not get in again
    other = subprocess.Popen([sys.executable, "-c", script.replace("10000", "500")],
                             stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "nothing\n"
    other.kill()
    assert other.wait(10)
    assert "login_refused" in gw.log()


def curve_client(gw, url, server, pair):
    s = gw.context.socket(zmq.DEALER)
    gw.sockets.append(s)
    s.linger, s.reconnect_ivl = 0, -1
    s.curve_serverkey, (s.curve_publickey, s.curve_secretkey) = server, pair
    monitor = s.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    gw.sockets.append(monitor)
    s.connect(url)
    return s, monitor


def test_curve_keys_on_tcp(start, tmp_path):
    from gateway import Client
    server, mine, stranger = (zmq.curve_keypair() for _ in range(3))
    key = tmp_path / "server.key"
    key.write_text(f'public = "{server[0].decode()}"\nsecret = "{server[1].decode()}"\n')
    key.chmod(0o600)
    port = free_port()
    gw = start(daemon=f'listen_tcp = "tcp://127.0.0.1:{port}"\nserver_key = {{ file = "{key}" }}',
               services=f'[services.far]\ncurve_keys = ["{mine[0].decode()}"]')
    url = f"tcp://127.0.0.1:{port}"
    s, monitor = curve_client(gw, url, server[0], mine)
    assert monitor.poll(10_000)
    event = zmq.utils.monitor.recv_monitor_message(monitor)
    assert event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
    c = Client(gw, s, False, True)
    assert c.call("headgate", "ping")[3] == OK
    assert c.call("sql", "ping")[3] == DENIED  # known, and nothing granted
    _, monitor = curve_client(gw, url, server[0], stranger)
    assert monitor.poll(10_000)
    event = zmq.utils.monitor.recv_monitor_message(monitor)
    assert event["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert "login_refused" in gw.log()
    # without CURVE nobody gets in
    plain = gw.context.socket(zmq.DEALER)
    gw.sockets.append(plain)
    plain.linger, plain.reconnect_ivl = 0, -1
    plain.connect(url)
    assert Client(gw, plain, False, False).hello() is None
    assert server[1].decode() not in gw.log()


def test_plain_tcp_on_loopback_knows_the_unix_user(start):
    from gateway import Client
    port = free_port()
    gw = start(daemon=f'listen_tcp = "tcp://127.0.0.1:{port}"\nallow_plain_tcp_on_loopback = true')
    s = gw.context.socket(zmq.DEALER)
    gw.sockets.append(s)
    s.linger = 0
    s.connect(f"tcp://127.0.0.1:{port}")
    c = Client(gw, s, False, True)
    c.sql("select 1")
    row = next(p for p in c.show("peers"))
    assert row["user"] == f"uid:{os.getuid()}" and row["where"].startswith("127.0.0.1:")


def test_more_clients_than_descriptors(start):
    gw = start(nofile=256, stores="connections_max = 4")
    first = gw.client()
    limit = next(r for r in first.show("limits") if r["name"] == "clients")["max"]
    assert limit < 200
    many = [gw.raw() for _ in range(400)]
    until(lambda: next(r for r in first.show("limits") if r["name"] == "clients")["refused"] > 100)
    assert gw.alive()
    first.sql("select 1")
    for s in many:
        s.close(0)
    until(lambda: next(r for r in first.show("limits") if r["name"] == "clients")["used"] < 5)
    gw.client().sql("select 1")


def test_too_few_descriptors_are_told(start):
    gw = start(nofile=64, wait=False)
    assert gw.process.wait(20) != 0
    assert "RLIMIT_NOFILE" in gw.log()


def test_a_dead_store_does_not_stop_the_others_and_heals(start, tmp_path):
    missing = tmp_path / "not" / "yet"
    gw = start(stores='[stores.dead]\nplugin = "sqlite"\nkind = "sql"\n'
                      f'options = {{ path = "{missing}/x.db" }}',
               grants='[[grants]]\nservice = "app"\nstore = "dead"\naccess = "write"')
    c = gw.client()
    c.sql("select 1")
    reply = c.call("dead", "query", {"sql": "select 1"}, timeout_ms=500)
    assert reply[3] == 17 and reply[4]["outcome"] == NOT_SENT, reply
    missing.mkdir(parents=True)
    until(lambda: c.call("dead", "query", {"sql": "select 1"}, timeout_ms=500)[3] == OK, 60)


def policies(gw) -> set[int]:
    """How the kernel schedules the daemon's threads."""
    return {os.sched_getscheduler(int(t)) for t in os.listdir(f"/proc/{gw.process.pid}/task")}


def test_all_threads_are_scheduled_as_batch_unless_told_otherwise(start):
    gw = start()
    gw.client().sql("select 1")  # SQLite's threads, too
    assert policies(gw) == {os.SCHED_BATCH}
    gw = start(daemon="batch_scheduling = false")
    gw.client().sql("select 1")
    assert policies(gw) == {os.SCHED_OTHER}


def test_a_scheduling_policy_that_somebody_chose_stays(start):
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        gw = start()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    assert policies(gw) == {os.SCHED_IDLE}
