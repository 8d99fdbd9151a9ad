"""The command line against the real daemon: what it prints, and what its exit code says."""

import contextlib
import grp
import json
import os
import pathlib
import pty
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import threading

import pytest
from gateway import Gateway, binary, build, until

OK, REFUSED, USAGE, UNAVAILABLE, DEADLINE, UNKNOWN, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

# An import on a busy machine may hold the writer for longer than the default allows.
STORES = """
writer_lease_idle = "30s"
writer_lease_total = "60s"

[stores.docs]
plugin = "sqlite"
kind = "document"
options = { path = "docs.db" }

[stores.kv]
plugin = "sqlite"
kind = "key_value"
options = { path = "kv.db" }
"""
GRANTS = "".join(f"""
[[grants]]
service = "app"
store = "{store}"
access = "admin"
""" for store in ("docs", "kv", "headgate"))


@pytest.fixture(scope="module")
def gw():
    gateway = Gateway(stores=STORES, grants=GRANTS)
    yield gateway
    gateway.close()


class Cli:
    def __init__(self, gateway):
        self.gateway = gateway

    def environment(self):
        return {**os.environ, "HEADGATE_URL": self.gateway.url}

    def start(self, *words, **options):
        return subprocess.Popen([binary("headgate"), *words], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=self.environment(),
                                **options)

    def run(self, *words, code=OK, stdin=None, binary_output=False):
        done = subprocess.run([binary("headgate"), *words], capture_output=True,
                              env=self.environment(), timeout=60,
                              input=stdin if stdin is None else stdin.encode())
        out = done.stdout if binary_output else done.stdout.decode()
        err = done.stderr.decode()
        assert done.returncode == code, (words, done.returncode, out, err)
        return out, err

    def out(self, *words, **options):
        return self.run(*words, **options)[0]

    def json(self, *words):
        return json.loads(self.out("--json", *words))


@pytest.fixture
def cli(gw):
    return Cli(gw)


@pytest.fixture
def table(cli):
    cli.out("sql", "sql", "drop table if exists city")
    cli.out("sql", "sql", "create table city (id integer primary key, name text, area real)")
    return "city"


def test_ping(cli):
    assert re.match(r"headgate answers in [\d.]+ ms \(ipc://", cli.out("ping"))
    assert cli.out("ping", "sql", "--count", "3").count("sql answers in") == 3
    out, err = cli.run("ping", "nosuch", code=REFUSED)
    assert out == "" and "not_found: " in err


def test_sql_as_table_json_and_csv(cli, table):
    out, err = cli.run("sql", "sql", "insert into city values (1, ?, 91.9), (2, 'B\"x', null)",
                       "-p", '["Zürich"]')
    assert out == "" and err == "(2 rows affected)\n"
    out, err = cli.run("sql", "sql", "select * from city")
    assert out == ("id  name    area\n──  ──────  ────\n 1  Zürich  91.9\n 2  B\"x         \n")
    assert err == "(2 rows)\n"
    assert cli.json("sql", "sql", "select id, name from city where id > :a", "-p", '{"a": 1}') == {
        "columns": ["id", "name"], "rows": [[2, 'B"x']]}
    assert cli.out("--csv", "sql", "sql", "select * from city") == (
        'id,name,area\r\n1,Zürich,91.9\r\n2,"B""x",\r\n')
    # Options of every command may stand behind it too.
    assert cli.out("sql", "sql", "select 1 as a", "--csv") == "a\r\n1\r\n"
    assert cli.json("sql", "sql", "insert into city (name) values ('C') returning id") == {
        "columns": ["id"], "rows": [[3]], "rows_affected": 1, "last_id": 3}


def test_a_value_cannot_speak_to_the_terminal(cli):
    out = cli.out("sql", "sql", "select char(27) || '[2J' || char(10) || 'x' as a")
    assert "\\x1b[2J\\nx" in out and "\x1b" not in out


def test_values_that_json_lacks_go_both_ways(cli):
    values = [{"$binary": "AAH/"}, 1, 1.5, None, "é"]
    assert cli.json("sql", "sql", "select ?, ?, ?, ?, ?", "-p",
                    json.dumps(values))["rows"] == [values]
    _, err = cli.run("sql", "sql", "select ?", "-p", "[18446744073709551616]", code=USAGE)
    assert "more than 64 bits" in err
    _, err = cli.run("sql", "sql", "select ?", "-p", "[1", code=USAGE)
    assert "expected JSON" in err


def test_errors_say_code_outcome_and_what_to_do(cli, table):
    cli.out("sql", "sql", "insert into city (id) values (1)")
    out, err = cli.run("sql", "sql", "insert into city (id) values (1)", code=REFUSED)
    assert out == "" and err.startswith("headgate: exists: UNIQUE constraint failed: city.id\n")
    assert "outcome: rejected" in err and "SQLSTATE 23505" in err
    _, err = cli.run("--json", "sql", "sql", "selekt", code=REFUSED)
    error = json.loads(err)["error"]
    assert error["code"] in ("invalid", "store_error") and error["outcome"] == "rejected"
    assert error["sqlstate"] == "42601"


def test_usage(cli):
    for words in ([], ["frob"], ["sql"], ["ping", "--frob"], ["--json", "--csv", "ping"],
                  ["sql", "sql", "select 1", "--file", "x"], ["sql", "sql", "--into", "t"],
                  ["ping", "--timeout", "soon"], ["kv", "kv", "get"], ["kv", "kv", "frob", "x"],
                  ["completion", "tcsh"], ["request", "sql", "query", "{"], ["keygen"],
                  ["check-config", "/nonexistent/x.toml"], ["store", "init"]):
        out, err = cli.run(*words, code=USAGE)
        assert out == "" and err, words
    for words, said in (
            (["sql", "sql", ""], "the statement is empty"),
            (["sql", "sql", "select 1", "--fetch", "0"], "--fetch"),
            (["sql", "sql", "--delimiter", ""], "--delimiter: expected"),
            (["sql", "sql", "--delimiter", "ab"], "one byte"),
            (["drain", "--within", "x"], "--within: expected a duration"),
            (["request", "sql", "query", '{"sql": "select 1", "sql": "select 2"}'],
             'the key "sql" stands twice')):
        _, err = cli.run(*words, code=USAGE)
        assert said in err, (words, err)
    assert "Usage" in cli.out("--help") and cli.out("--version").startswith("headgate ")


def test_headgated_has_exit_codes_of_its_own(cli, tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text("x = 1\n")
    for words, code in ((["--frob"], USAGE), (["--check", "--config", "/nonexistent"], USAGE),
                        (["--check", "--config", str(bad)], 1), (["--config", str(bad)], 78),
                        (["--store-init", "s", "--config", str(bad)], USAGE), (["--version"], OK)):
        done = subprocess.run([binary("headgated"), *words], capture_output=True, timeout=60)
        assert done.returncode == code, (words, done)


@pytest.fixture
def as_nobody(tmp_path_factory):
    """as_nobody(*words) -> (exit code, stderr) of the command line, run by another user."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        program = shutil.copy(binary("headgate"), directory)

        def run(*words):
            done = subprocess.run([program, "--timeout", "2s", *words], capture_output=True,
                                  text=True, timeout=60, user=1, group=1, extra_groups=[])
            return done.returncode, done.stderr
        run.directory = pathlib.Path(directory)
        yield run


def test_a_socket_that_is_for_others_says_so(as_nobody):
    path = as_nobody.directory / "headgate.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen()
        os.chown(path, 0, 6)
        os.chmod(path, 0o660)
        group = grp.getgrgid(6).gr_name
        code, err = as_nobody("--url", f"ipc://{path}", "ping")
        assert code == UNAVAILABLE
        assert f"permission denied: {path}; {path} is for the group {group}: join it" in err
    hidden = as_nobody.directory / "hidden"
    hidden.mkdir(mode=0o700)
    code, err = as_nobody("--url", f"ipc://{hidden}/x.sock", "ping")
    assert code == UNAVAILABLE and f"permission denied: {hidden}/x.sock" in err
    assert "nobody listens" not in err


def test_a_user_whom_no_service_knows_is_refused(as_nobody, start):
    gw = start(daemon='ipc_mode = "0666"')
    gw.folder.chmod(0o755)
    code, err = as_nobody("--url", gw.url, "ping")
    assert code == REFUSED and err.startswith("headgate: unauthenticated:"), err


def test_nobody_there(cli):
    _, err = cli.run("--url", "ipc:///nonexistent/x", "--timeout", "300ms", "ping",
                     code=UNAVAILABLE)
    assert "nobody listens there" in err


SLOW = ("with recursive n(i) as (select 1 union all select i + 1 from n limit 2000000000) "
        "select count(*) from n")


def test_deadline(cli):
    _, err = cli.run("--timeout", "300ms", "sql", "sql", SLOW, code=DEADLINE)
    assert err.startswith("headgate: deadline:") and "--timeout" in err


def test_ctrl_c_cancels_the_call_in_the_store(cli, gw):
    p = cli.start("--timeout", "60s", "sql", "sql", SLOW)
    try:
        until(lambda: any(c["store"] == "sql" for c in show(cli, "calls")), what="the call runs")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=20)
        assert p.returncode == INTERRUPTED, (out, err)
        assert "cancelled" in err
        until(lambda: all(c["store"] != "sql" for c in show(cli, "calls")), what="the call ended")
    finally:
        p.kill()
        p.wait()


def show(cli, what):
    answer = cli.json("show", what)
    return [dict(zip(answer["columns"], row)) for row in answer["rows"]]


def test_kill_ends_a_call(cli):
    p = cli.start("--timeout", "60s", "sql", "sql", SLOW)
    try:
        call = until(lambda: next((c for c in show(cli, "calls") if c["store"] == "sql"), None))
        assert cli.out("kill", str(call["call"])) == "killed\n"
        _, err = p.communicate(timeout=20)
        assert p.returncode in (REFUSED, INTERRUPTED), err
    finally:
        p.kill()
        p.wait()
    assert cli.out("kill", "12345", code=REFUSED) == "there is no such call\n"


def test_files_of_statements(cli, table, tmp_path):
    script = tmp_path / "a.sql"
    script.write_text("-- two\ninsert into city (id) values (10); insert into city (id) values (10);")
    cli.run("sql", "sql", "--file", str(script), "--tx", code=REFUSED)
    assert cli.json("sql", "sql", "select count(*) from city")["rows"] == [[0]]
    cli.run("sql", "sql", "--file", str(script), code=REFUSED)
    assert cli.json("sql", "sql", "select count(*) from city")["rows"] == [[1]]
    script.write_text("insert into city (id) values (11);\nselect id from city order by id;")
    assert cli.out("sql", "sql", "--file", str(script), "--tx", "--csv") == "id\r\n10\r\n11\r\n"
    assert cli.out("--csv", "sql", "sql", stdin="select 5 as x") == "x\r\n5\r\n"


def test_import(cli, table, tmp_path):
    data = tmp_path / "cities.csv"
    data.write_text('id,name,area\r\n1,"Zürich, CH",91.9\r\n2,,\r\n3,"",1\r\n', encoding="utf-8")
    _, err = cli.run("sql", "sql", "--import", str(data), "--into", "city")
    assert err == "(3 rows affected)\n"
    assert cli.json("sql", "sql", "select * from city")["rows"] == [
        [1, "Zürich, CH", 91.9], [2, None, None], [3, "", 1.0]]
    # One refused row, one short line: nothing of the file is applied.
    data.write_text("id,name\n8,x\n1,again\n")
    _, err = cli.run("sql", "sql", "--import", str(data), "--into", "city", code=REFUSED)
    assert "UNIQUE" in err
    data.write_text("id,name\n8,x\n9\n")
    _, err = cli.run("sql", "sql", "--import", str(data), "--into", "city", code=USAGE)
    assert f"{data}:3: expected 2 fields, found 1" in err
    assert cli.json("sql", "sql", "select count(*) from city")["rows"] == [[3]]
    _, err = cli.run("sql", "sql", "--import", str(data), "--into", "nosuch", code=REFUSED)
    assert "nosuch" in err
    cli.run("sql", "sql", "--import", "-", "--into", "city", "--no-header", "--columns", "id,name",
            "--delimiter", ";", stdin="20;a\n21;b\n")
    assert cli.json("sql", "sql", "select name from city where id >= 20")["rows"] == [["a"], ["b"]]


def test_a_large_import_streams(cli, table, tmp_path):
    data = tmp_path / "many.csv"
    with data.open("w") as f:
        f.write("id,name,area\n")
        for i in range(100_000):
            f.write(f"{i},name {i},{i / 2}\n")
    _, err = cli.run("--timeout", "60s", "sql", "sql", "--import", str(data), "--into", "city")
    assert err == "(100000 rows affected)\n"
    lines = cli.out("--csv", "sql", "sql", "select * from city order by id").splitlines()
    assert len(lines) == 100_001 and lines[-1] == "99999,name 99999,49999.5"


def test_import_shows_a_bar_to_a_person_and_ctrl_c_applies_nothing(cli, table, tmp_path):
    """The file is a pipe that is never closed, so the import is surely under way."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    main, terminal = pty.openpty()
    p = subprocess.Popen([binary("headgate"), "sql", "sql", "--import", str(pipe), "--into", "city"],
                         stderr=terminal, env=cli.environment())
    os.close(terminal)
    try:
        writer = os.open(pipe, os.O_WRONLY)
        seen = b""
        stop = threading.Event()

        def feed():
            os.write(writer, b"id,name,area\n")
            i = 0
            with contextlib.suppress(BrokenPipeError):  # it has ended
                while not stop.is_set():
                    os.write(writer, b"".join(b"%d,x,1\n" % k for k in range(i, i + 100)))
                    i += 100
                    stop.wait(0.01)

        thread = threading.Thread(target=feed)
        thread.start()
        while b" rows" not in seen:
            seen += os.read(main, 1024)
        p.send_signal(signal.SIGINT)
        # Whatever it does with what it still reads, it must notice the end of the upload.
        with pytest.raises(OSError):
            while True:
                seen += os.read(main, 1024) or b""
        stop.set()
        thread.join()
        os.close(writer)
        assert p.wait(20) == INTERRUPTED, seen
    finally:
        p.kill()
        p.wait()
        os.close(main)
    assert cli.json("sql", "sql", "select count(*) from city")["rows"] == [[0]]


def test_documents(cli):
    doc = '{"_id": {"$oid": "65b9f0c2a1b2c3d4e5f60718"}, "name": "Ada", ' \
          '"at": {"$date": "2020-01-01T00:00:00Z"}, "tags": ["x", 1, 2.0]}'
    assert cli.out("doc", "docs", "insert_one", "people", doc) == "65b9f0c2a1b2c3d4e5f60718\n"
    found = cli.out("doc", "docs", "find", "people", '{"name": "Ada"}', "--limit", "5")
    assert json.loads(found) == json.loads(doc)
    assert cli.json("doc", "docs", "count_documents", "people")["count"] == 1
    out = cli.out("doc", "docs", "update_one", "people", '{"name": "Ada"}', '{"$inc": {"n": 1}}')
    assert re.search(r"modified_count +1\n", out)
    assert cli.out("doc", "docs", "create_index", "people", '{"name": 1}').strip()
    assert "name" in cli.out("doc", "docs", "list_indexes", "people")
    assert json.loads(cli.out("doc", "docs", "aggregate", "people",
                              '[{"$group": {"_id": "$name", "n": {"$sum": 1}}}]')) == {
                                  "_id": "Ada", "n": 1}
    out = cli.out("doc", "docs", "find", "people", "--fetch", "1")
    assert len(out.splitlines()) == 1


def test_csv_holds_what_follows_a_nul(cli):
    text = "select 1 a, 'one' b union all select 2, 'x' || char(0) || 'y' union all select 3, 'z'"
    assert cli.out("sql", "sql", text, "--csv") == "a,b\n1,one\n2,x\0y\n3,z\n".replace("\n", "\r\n")


def test_one_column_comes_back_with_its_nulls(cli):
    cli.out("sql", "sql", "create table one (a text)")
    cli.out("sql", "sql", "insert into one values ('x'), (null), (''), ('y')")
    text = cli.out("sql", "sql", "select a from one order by rowid", "--csv")
    cli.out("sql", "sql", "create table again (a text)")
    cli.run("sql", "sql", "--import", "-", "--into", "again", stdin=text)
    assert cli.out("sql", "sql", "select a from again order by rowid", "--csv") == text
    assert "named twice" in cli.run("sql", "sql", "--import", "-", "--into", "one", code=2,
                                    stdin="a,a\n1,2\n")[1]


def test_what_cannot_be_read_or_written_is_an_error(cli):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([binary("headgate"), "sql", "sql", "select 1"], stdout=full,
                              stderr=subprocess.PIPE, env=cli.environment(), timeout=60)
    assert done.returncode == 2 and b"stdout cannot be written" in done.stderr
    for words in (["--file", "/tmp"], ["--import", "/tmp", "--into", "t"], ["select ?", "-p", "[1e400]"]):
        assert cli.run("sql", "sql", *words, code=2)[1].startswith("headgate: ")


def test_keys(cli):
    cli.out("kv", "kv", "set", "a", "-5", "--ttl_ms", "60000")
    assert cli.out("kv", "kv", "get", "a") == "-5"  # its bytes, exactly
    assert 0 < int(cli.out("kv", "kv", "ttl", "a")) <= 60000
    assert cli.json("kv", "kv", "set", "a", "x", "--nx")["set"] is False
    assert cli.run("kv", "kv", "get", "none") == ("", "(nil)\n")
    assert cli.out("kv", "kv", "increment", "n", "--", "-7") == "-7\n"
    cli.out("kv", "kv", "hset", "h", "f", "1", "g", "2")
    assert cli.out("kv", "kv", "hgetall", "h") == "f\t1\ng\t2\n"
    cli.out("kv", "kv", "set", "Ynl0ZXM=", "AP8K", "--base64")
    assert cli.run("kv", "kv", "get", "Ynl0ZXM=", "--base64", binary_output=True)[0] == (
        b"\x00\xff\n")
    cli.out("kv", "kv", "rpush", "l", "a", "b", "--json")
    assert cli.out("kv", "kv", "lrange", "l", "0", "-1") == "a\nb\n"
    assert "n" in cli.out("kv", "kv", "scan", "--glob", "*").splitlines()


def test_request_and_fetch(cli):
    assert cli.json("request", "sql", "query", '{"sql": "select 1 as a"}')["rows"] == [[1]]
    out = cli.out("--csv", "request", "sql", "query", "--fetch", "2",
                  '{"sql": "select value from json_each(\'[1,2,3,4,5]\')"}')
    assert out == "value\r\n1\r\n2\r\n3\r\n4\r\n5\r\n"
    assert json.loads(cli.out("--json", "request", "sql", "describe"))["kind"] == "sql"


def test_a_batch_and_explain_name_what_is_wrong(cli):
    _, err = cli.run("request", "sql", "batch", '{"items": [["frob", {}]]}', code=REFUSED)
    assert err.startswith("headgate: unsupported: this store has no verb `frob`"), err
    text = "select 1; select 2"
    seen = [cli.run("request", "sql", *words, code=REFUSED)[1].splitlines()[0] for words in (
        ["query", json.dumps({"sql": text})],
        ["explain", json.dumps({"verb": "query", "body": {"sql": text}})])]
    assert "after byte 9" in seen[0] and seen[1] == seen[0]


def test_a_key_makes_a_write_run_once(cli, table):
    for _ in range(2):
        _, err = cli.run("sql", "sql", "insert into city (name) values ('once')", "--key", "k1")
    assert "recorded answer" in err
    assert cli.json("sql", "sql", "select count(*) from city")["rows"] == [[1]]


def test_show_can_and_reload(cli, gw):
    stores = {row["store"]: row for row in show(cli, "stores")}
    assert set(stores) == {"headgate", "sql", "docs", "kv"} and stores["kv"]["kind"] == "key_value"
    assert cli.out("can", "app", "sql", "query").startswith("allowed: ")
    assert cli.out("can", "nobody", "sql", "query", code=REFUSED).startswith("denied: ")
    assert cli.out("can", "app", "headgate", "ping").startswith("allowed: allowed by ")
    assert cli.out("can", "@daemon", "headgate", "show") == (
        "allowed: allowed by the built-in rule for the daemon's own user over ipc\n")
    gw.write(services="[services.other]\nunix_users = [1]")
    cli.out("reload")
    assert cli.out("can", "other", "headgate", "show", code=REFUSED) == (
        "denied: no grant gives service `other` anything on store `headgate`\n")
    gw.write(services="")
    cli.out("reload")
    assert cli.out("reload") == "nothing changed\n"
    gw.write(daemon='log_level = "debug"\nthreads_max = 32')
    assert cli.out("reload") == "changed daemon.log_level\nneeds a restart: daemon.threads_max\n"
    gw.write(daemon='log_level = "loud"')
    _, err = cli.run("reload", code=REFUSED)
    assert "log_level" in err and "headgate.toml:" in err
    gw.write(daemon="")
    cli.out("reload")


def test_check_config(cli, gw, tmp_path):
    assert cli.out("check-config", str(gw.file)).endswith(": ok\n")
    bad = tmp_path / "bad.toml"
    bad.write_text(f'[daemon]\nplugin_dir = "{build() / "plugins"}"\nlog_lvel = 1\n'
                   '[stores.a]\nplugin = "sqlite"\nkind = "sql"\noptions = { pth = "x" }\n')
    out, err = cli.run("check-config", str(bad), code=1)
    assert out == "" and len(err.splitlines()) == 3, err
    assert f'{bad}:3:1: daemon: unknown setting "log_lvel"; did you mean "log_level"?' in err
    assert f'{bad}:7:13: stores.a.options: unknown setting "pth"; did you mean "path"?' in err


def test_check_config_reads_options_and_statements_as_the_plugins_do(cli, tmp_path):
    """What a driver would refuse when it is opened is told with its line, and before."""
    (tmp_path / "statements").mkdir()
    (tmp_path / "statements" / "a.sql").write_bytes(
        b"-- name: one\n-- access: bogus\nselect 1\n-- name: two\nselect 1; select 2\n"
        b"-- name: three\nselect '\xfc'\n-- name: one\nselect 1\n")
    bad = tmp_path / "bad.toml"
    bad.write_text(f'''[daemon]
plugin_dir = "{build() / "plugins"}"
statements_dir = "statements"
[stores.a]
plugin = "sqlite"
kind = "sql"
options = {{ path = "", synchronous = "off" }}
[stores.b]
plugin = "postgres"
kind = "sql"
endpoints = ["127.0.0.1:1"]
[stores.b.options]
database = ""
isolation = "none"
shared = "no"
lost_commit = "x"
keys_schema = ""
init = [1]
''')
    _, err = cli.run("check-config", str(bad), code=1)
    sql = tmp_path / "statements" / "a.sql"
    empty = "expected a string that is not empty"
    assert sorted(err.splitlines()) == sorted([
        f'{bad}:7:20: stores.a.options.path: {empty}',
        f'{bad}:7:38: stores.a.options.synchronous: expected one of "full", "normal", not "off"',
        f'{bad}:13:12: stores.b.options.database: {empty}',
        f'{bad}:14:13: stores.b.options.isolation: expected one of "read_committed", '
        f'"repeatable_read", "serializable", not "none"',
        f'{bad}:15:10: stores.b.options.shared: expected one of "auto", "declared", "off", '
        f'not "no"',
        f'{bad}:16:15: stores.b.options.lost_commit: expected one of "unknown", "ask", not "x"',
        f'{bad}:17:15: stores.b.options.keys_schema: {empty}',
        f'{bad}:18:8: stores.b.options.init: expected an array of strings, not an array with an '
        f'integer',
        f'{sql}:2:12: expected `-- access: read` or `-- access: write`',
        f"{sql}:4:1: statement 'two': expected one statement; another one needs a heading "
        f"`-- name: NAME` of its own",
        f'{sql}:7:9: expected text in UTF-8, without NUL',
        f"{sql}:8:1: statement 'one' is already defined at {sql}:1"])


def test_root_is_told_to_check_as_the_daemons_user(cli, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    password = tmp_path / "pw"
    password.write_text("x\n")
    password.chmod(0o600)
    os.chown(password, 1, 1)
    owner = pwd.getpwuid(1).pw_name
    file = tmp_path / "headgate.toml"
    file.write_text(f'''[daemon]
plugin_dir = "{build() / "plugins"}"
[stores.a]
plugin = "postgres"
kind = "sql"
endpoints = ["127.0.0.1:1"]
options = {{ database = "a" }}
account = "a"
password = {{ file = "pw" }}
[services.shop]
unix_users = ["@daemon"]
[services.operators]
unix_users = ["root", -1]
''')
    _, err = cli.run("check-config", str(file), code=1)
    assert f"check as it: sudo -u {owner} headgate check-config" in err
    assert '"@daemon" is root here' in err and "sudo -u headgate headgate check-config" in err
    assert "expected a user's name or a uid, not -1" in err


def test_backup(cli, table, tmp_path):
    cli.out("sql", "sql", "insert into city (name) values ('kept')")
    copy = tmp_path / "copy.db"
    cli.run("backup", "sql", str(copy))
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert cli.run("backup", "sql", "-", binary_output=True)[0].startswith(b"SQLite format 3\0")
    _, err = cli.run("backup", "sql", "/nonexistent/x.db", code=USAGE)
    assert "cannot be written" in err
    cli.run("backup", "nosuch", str(tmp_path / "no.db"), code=REFUSED)
    assert os.listdir(tmp_path) == ["copy.db"]  # no FILE.tmp is left behind
    assert sqlite3.connect(copy).execute("select name from city").fetchall() == [("kept",)]


def test_keygen_and_a_service_by_key(cli, start_gateway, tmp_path):
    client_key = tmp_path / "client.key"
    server_key = tmp_path / "server.key"
    lines = cli.out("keygen", "--service", "remote", "--out", str(client_key))
    assert stat.S_IMODE(client_key.stat().st_mode) == 0o600
    secret = re.search(r'secret = "(.*)"', client_key.read_text())[1]
    assert secret not in lines
    public = re.search(r'curve_keys = \["(.*)"\]', lines)[1]
    before = client_key.read_bytes()
    _, err = cli.run("keygen", "--out", str(client_key), code=USAGE)
    assert "never overwritten" in err and client_key.read_bytes() == before
    server_public = cli.out("keygen", "--server", "--out", str(server_key)).splitlines()[-1]
    port = free_port()
    start_gateway(
        daemon=f'listen_tcp = "tcp://127.0.0.1:{port}"\n'
               f'server_key = {{ file = "{server_key}" }}',
        services=f"[services.remote]\ncurve_keys = ['{public}']",
        grants='[[grants]]\nservice = "remote"\nstore = "sql"\naccess = "read"')
    url = f"tcp://127.0.0.1:{port}?server_key={server_public}"
    words = ["--url", url, "--key-file", str(client_key)]
    assert "sql answers in" in cli.out(*words, "ping", "sql")
    cli.run(*words, "sql", "sql", "create table x (a)", code=REFUSED)
    stranger = tmp_path / "stranger.key"
    cli.out("keygen", "--out", str(stranger))
    _, err = cli.run("--url", url, "--timeout", "2s", "--key-file", str(stranger), "ping", "sql",
                     code=REFUSED)
    assert err.startswith("headgate: unauthenticated:"), err


@pytest.fixture
def start_gateway(start):
    return start


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_completion(cli, tmp_path):
    for shell in ("bash", "zsh", "fish"):
        assert "headgate" in cli.out("completion", shell)
    script = tmp_path / "completion.bash"
    script.write_text(cli.out("completion", "bash"))
    ask = (f'source {script}; COMP_LINE="headgate {{}}"; COMP_POINT=${{#COMP_LINE}}; '
           '_headgate; echo "${COMPREPLY[@]}"')
    path = str(pathlib.Path(binary("headgate")).parent)
    environment = {**cli.environment(), "PATH": f"{path}:{os.environ['PATH']}"}

    def complete(words):
        return subprocess.run(["bash", "-c", ask.replace("{}", words)], capture_output=True,
                              text=True, env=environment, check=True).stdout.split()

    assert complete("re") == ["request", "reload"]
    assert complete("kv k") == ["kv"]
    assert complete("kv kv hge") == ["hget", "hgetall"]
    assert complete("show pl") == ["plugins"]
    assert complete("store ") == ["init"]
    assert complete("store init k") == ["kv"]
    assert complete("--url ipc:///run/x.sock sho") == ["show"]
    assert complete("--timeout 5s kv --fetch 5 kv hge") == ["hget", "hgetall"]


def test_the_prompt(cli, table):
    main, terminal = pty.openpty()
    p = subprocess.Popen([binary("headgate"), "sql", "sql"], stdin=terminal, stdout=terminal,
                         stderr=terminal, env={**cli.environment(), "TERM": "dumb"})
    os.close(terminal)
    seen = b""

    def wait_for(text):
        nonlocal seen
        while text not in seen:
            seen += os.read(main, 1024)
        seen = seen[seen.index(text) + len(text):]

    try:
        wait_for(b"sql=> ")
        os.write(main, b"insert into city (id,\n")
        wait_for(b"sql-> ")
        os.write(main, b"name) values (7, 'seven');\n")
        wait_for(b"(1 row affected)")
        os.write(main, b"begin;\n")
        wait_for(b"sql*=> ")
        os.write(main, b"delete from city; rollback;\n")
        wait_for(b"sql=> ")
        os.write(main, b"oops;\n")
        wait_for(b"headgate: ")
        os.write(main, b"\\d city\n")
        wait_for(b"area")
        os.write(main, b"\\q\n")
        assert p.wait(10) == 0
    finally:
        p.kill()
        p.wait()
        os.close(main)
    assert cli.json("sql", "sql", "select name from city")["rows"] == [["seven"]]


def test_drain(start):
    gateway = start(grants='[[grants]]\nservice = "app"\nstore = "headgate"\naccess = "admin"')
    Cli(gateway).run("drain", "--within", "1s")
    assert gateway.process.wait(20) == 0
