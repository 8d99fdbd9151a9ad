"""PostgreSQL behind the real daemon: who logs in as whom, rotation, TLS, check-config --connect."""

import contextlib
import re
import subprocess
import threading

import pytest
import zmq
from gateway import DENIED, NOT_SENT, OK, UNSUPPORTED, Client, binary, build, until
from postgres import Postgres, free_port, grant, store

UNAVAILABLE = 17


def rows(client, text, *params, name="pg", **options):
    options.setdefault("timeout_ms", 30_000)
    return client.ok(name, "query", {"sql": text, "params": list(params)}, seconds=40,
                     **options)["rows"]


def who(client, name="pg"):
    """(account, application_name) that a call runs under."""
    return rows(client, "SELECT current_user::text, current_setting('application_name')",
                name=name)[0]


def curve(start, more_services: list[str], **parts):
    """A gateway with services that come by CURVE; (gateway, {service: client})."""
    server = zmq.curve_keypair()
    pairs = {s: zmq.curve_keypair() for s in more_services}
    port = free_port()
    services = "".join(f'[services.{s}]\ncurve_keys = ["{p[0].decode()}"]\n'
                       for s, p in pairs.items())
    key_file = parts.pop("folder") / "server.key"
    key_file.touch(mode=0o600)
    key_file.write_text(server[1].decode())
    gw = start(daemon=f'listen_tcp = "tcp://127.0.0.1:{port}"\n'
                      f'server_key = {{ file = "{key_file}" }}', services=services, **parts)
    clients = {"app": gw.client()}
    for s, pair in pairs.items():
        sock = gw.context.socket(zmq.DEALER)
        sock.linger = 0
        sock.curve_serverkey, (sock.curve_publickey, sock.curve_secretkey) = server[0], pair
        sock.connect(f"tcp://127.0.0.1:{port}")
        gw.sockets.append(sock)
        clients[s] = Client(gw, sock, False, True)
    return gw, clients


class Load(threading.Thread):
    """One caller that writes all the time; `bad` has every answer that was not ok."""

    def __init__(self, gw, text="SELECT 1", verb="query", store_name="pg"):
        super().__init__(daemon=True)
        self.client, self.text, self.verb, self.store_name = gw.client(), text, verb, store_name
        self.done, self.bad, self.stopping = 0, [], False
        self.start()

    def run(self):
        while not self.stopping:
            reply = self.client.call(self.store_name, self.verb,
                                     {"sql": self.text, "params": []}, 40, timeout_ms=30_000)
            self.done += 1
            if reply[3] != OK:
                self.bad.append(reply)

    def end(self):
        self.stopping = True
        self.join(30)
        return self


@contextlib.contextmanager
def load(gw, callers=4, **kwargs):
    all_of_them = [Load(gw, **kwargs) for _ in range(callers)]
    until(lambda: all(c.done > 20 for c in all_of_them))
    yield all_of_them
    before = [c.done for c in all_of_them]
    until(lambda: all(c.done > b + 20 for c, b in zip(all_of_them, before)))
    bad = [b for c in all_of_them for b in c.end().bad]
    assert not bad, bad[:3]


def check(gw, connect=True):
    words = [binary("headgated"), "--check", "--config", str(gw.file)]
    return subprocess.run(words + (["--connect"] if connect else []), capture_output=True,
                          text=True, timeout=60)


def test_each_service_logs_in_with_its_own_account(start, pg, tmp_path):
    grants = grant() + grant(service="billing") + grant(service="audit", access="read") + f"""
[[credentials]]
service = "billing"
store = "pg"
account = "billing"
password = {{ file = "{pg.secret('billing')}" }}

[[credentials]]
store = "pg"
access = "read"
account = "reader"
password = {{ file = "{pg.secret('reader')}" }}
"""
    gw, c = curve(start, ["billing", "audit"], stores=store(pg), grants=grants, folder=tmp_path)
    assert who(c["app"])[0] == "app"
    assert who(c["billing"]) == ["billing", "headgate:pg/billing"]
    assert who(c["audit"]) == ["reader", "headgate:pg:read"]
    # a read-only call of a service that may write uses the read account, too
    assert c["app"].ok("pg", "query", {"sql": "SELECT current_user::text"},
                       read_only=True)["rows"] == [["reader"]]
    c["app"].ok("pg", "execute", {"sql": "CREATE TABLE public.mine (a int)"})
    reply = c["billing"].call("pg", "query", {"sql": "SELECT * FROM public.mine"})
    assert reply[3] == DENIED and reply[4]["sqlstate"] == "42501", reply
    shown = {r["credential"] for r in c["app"].show("pools") if r["store"] == "pg"}
    assert {"pg", "pg/billing", "pg:read"} <= shown
    c["app"].ok("pg", "execute", {"sql": "DROP TABLE public.mine"})


def test_a_wrong_password_is_named_and_hurts_nobody_else(start, own_pg, tmp_path):
    pg = own_pg()
    wrong = Postgres.write_secret(tmp_path / "wrong", "canary-secret-text")
    stores = store(pg) + store(pg, "bad").replace(str(pg.secret("app")), str(wrong))
    gw = start(stores=stores, grants=grant() + grant("bad"))
    c = gw.client()
    reply = c.call("bad", "query", {"sql": "SELECT 1"})
    assert reply[3] == UNAVAILABLE and reply[4]["outcome"] == NOT_SENT, reply
    assert rows(c, "SELECT 1") == [[1]]
    for _ in range(50):
        assert c.call("bad", "query", {"sql": "SELECT 1"})[3] == UNAVAILABLE
    refused = pg.log().count("password authentication failed")
    assert refused <= 3, "an account must not be locked out by retries"
    until(lambda: re.search(r"event=connect_failed store=bad .*password authentication failed",
                            gw.log()))
    # a reload with the right one mends it at once
    Postgres.write_secret(wrong, pg.passwords["app"])
    c.ok("headgate", "reload")
    until(lambda: c.call("bad", "query", {"sql": "SELECT 1"})[3] == OK)
    assert "canary-secret-text" not in gw.log()


def test_a_password_changed_in_the_server_is_read_again(start, own_pg):
    pg = own_pg()
    gw = start(stores=store(pg), grants=grant())
    with load(gw):
        pass
    # Nobody logs in between the two: a second refusal would make the gateway pause for 30 s.
    pg.set_password("app")
    pg.secret("app")
    pg.kill_backends("usename = 'app'")
    with load(gw):  # all log in anew, with no reload
        pass


@pytest.mark.parametrize("how", ["password", "account"])
def test_rotation_under_load_loses_no_request(start, own_pg, how):
    pg = own_pg()
    gw = start(stores=store(pg), grants=grant())
    admin = gw.client()
    with load(gw):
        for turn in range(4):
            if how == "password":
                pg.set_password("app")
                pg.secret("app")
            else:
                account = ("app_b", "app")[turn % 2]
                gw.write(stores=store(pg, account=account))
            admin.ok("headgate", "reload")
            if how == "account":
                until(lambda: pg.sql("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE "
                                     f"'app%' AND usename <> '{account}'") == "0")


TLS_FAULTS = {"expired": "certificate verify failed: certificate has expired",
              "wrong_name": "does not match host name",
              "self_signed": "certificate verify failed: self.signed certificate",
              "other_ca": "certificate verify failed: unable to get local issuer certificate"}


@pytest.mark.parametrize("which", TLS_FAULTS)
def test_tls_refuses_by_name(start, own_pg, which):
    pg = own_pg()
    tls = f'{{ ca_file = "{pg.ca}" }}'
    gw = start(stores=store(pg, where=f"localhost:{pg.port}", tls=tls), grants=grant())
    c = gw.client()
    assert rows(c, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [[True]]
    pg.certificate(which)
    pg.kill_backends()
    reply = until(lambda: (r := c.call("pg", "query", {"sql": "SELECT 1"}))[3] != OK and r)
    assert reply[3] == UNAVAILABLE and reply[4]["outcome"] == NOT_SENT, reply
    checked = check(gw)
    assert checked.returncode != 0
    assert f"store pg, credential pg (write), localhost:{pg.port}: " in checked.stderr
    assert re.search(TLS_FAULTS[which], checked.stderr), checked.stderr
    assert re.search(TLS_FAULTS[which], reply[4]["message"]), reply
    pg.certificate("server")
    until(lambda: c.call("pg", "query", {"sql": "SELECT 1"})[3] == OK)


def test_a_certificate_is_replaced_under_load(start, own_pg):
    pg = own_pg()
    stores = store(pg, where=f"localhost:{pg.port}", tls=f'{{ ca_file = "{pg.ca}" }}')
    gw = start(stores=stores, grants=grant())
    with load(gw):
        import certificates
        old = pg.ca.read_text()
        (pg.folder / "tls2").mkdir()
        ca = certificates.Authority(pg.folder / "tls2", "next CA", "next")
        certificate, key = ca.sign("next_server", names=["DNS:localhost"])
        pg.ca.write_text(old + ca.certificate.read_text())  # first both, then the new one serves
        gw.client().ok("headgate", "reload")
        until(lambda: "event=certificates_changed" in gw.log())
        for path in (certificate, key):
            (pg.folder / "tls" / f"next{path.suffix}").write_text(path.read_text())
        pg.certificate("next")


def test_a_client_certificate_logs_in(start, pg):
    folder = pg.folder / "tls"
    tls = (f'{{ ca_file = "{pg.ca}", cert_file = "{folder}/client.crt", '
           f'key_file = "{folder}/client.key" }}')
    gw = start(stores=store(pg, account="cert", where=f"localhost:{pg.port}", tls=tls),
               grants=grant())
    assert who(gw.client())[0] == "cert"
    expired = tls.replace("client.", "client_expired.")
    gw.write(stores=store(pg, account="cert", where=f"localhost:{pg.port}", tls=expired))
    checked = check(gw)
    assert checked.returncode != 0 and "certificate" in checked.stderr, checked.stderr


def test_check_config_connect_names_what_is_wrong(start, pg, tmp_path):
    tcp = f"127.0.0.1:{pg.port}"
    wrong = Postgres.write_secret(tmp_path / "wrong", "canary-secret-text")
    closed = f"127.0.0.1:{free_port()}"
    cases = {
        "host": (store(pg, "host", where="no-such-host.invalid:5432", tls='"off"'),
                 "no-such-host.invalid"),
        "port": (store(pg, "port", where=closed, tls='"off"'), "Connection refused"),
        "database": (store(pg, "database", where=tcp, tls='"off"').replace(
            'database = "shop"', 'database = "nowhere"'), 'database "nowhere" does not exist'),
        "password": (store(pg, "password", where=tcp, tls='"off"').replace(
            str(pg.secret("app")), str(wrong)), "password authentication failed"),
        "account": (store(pg, "account", where=tcp, tls='"off"').replace(
            'account = "app"', 'account = "nobody_here"'), "password authentication failed"),
    }
    gw = start(stores=store(pg) + "".join(c[0] for c in cases.values()),
               grants=grant() + "".join(grant(name) for name in cases))
    checked = check(gw)
    assert checked.returncode != 0
    for name, (_, words) in cases.items():
        line = [x for x in checked.stderr.splitlines() if f": store {name}, " in x]
        assert len(line) == 1 and words in line[0], checked.stderr
    assert "store pg, credential pg (write)" in checked.stdout and "connected" in checked.stdout
    assert "store sql: connected" in checked.stdout
    assert "canary" not in checked.stderr + checked.stdout
    # each is named in the daemon's log as well, and the others serve
    c = gw.client()
    assert rows(c, "SELECT 1") == [[1]]
    for name, (_, words) in cases.items():
        reply = c.call(name, "query", {"sql": "SELECT 1"}, timeout_ms=8000)
        assert reply[3] == UNAVAILABLE and reply[4]["outcome"] == NOT_SENT, reply
        until(lambda: re.search(rf"event=connect_failed store={name} .*{re.escape(words[:20])}",
                                gw.log().replace('\\"', '"')), what=name)
    assert rows(c, "SELECT 1") == [[1]]


def test_a_secret_that_cannot_be_read_is_named(start, pg, tmp_path):
    missing = tmp_path / "missing"
    text = store(pg).replace(str(pg.secret("app")), str(missing))
    gw = start(stores=text, grants=grant())  # starts all the same
    checked = check(gw, connect=False)
    assert checked.returncode != 0
    assert f"stores.pg.password: {missing} cannot be read" in checked.stderr
    c = gw.client()
    reply = c.call("pg", "query", {"sql": "SELECT 1"})
    assert reply[3] == UNAVAILABLE and str(missing) not in reply[4]["message"], reply
    until(lambda: "event=credential_unreadable" in gw.log() and str(missing) in gw.log())
    Postgres.write_secret(missing, pg.passwords["app"])
    missing.chmod(0o644)
    reply = c.call("headgate", "reload")
    assert reply[3] != OK and "others may read it" in reply[4]["message"], reply
    missing.chmod(0o600)
    c.ok("headgate", "reload")
    until(lambda: c.call("pg", "query", {"sql": "SELECT 1"})[3] == OK)


def test_secrets_appear_nowhere(start, own_pg, tmp_path, monkeypatch):
    pg = own_pg()
    command = tmp_path / "vault"
    command.write_text(f"#!/bin/sh\nprintf '%s\\n' '{pg.passwords['billing']}'\n")
    command.chmod(0o700)
    monkeypatch.setenv("READER_PASSWORD", pg.passwords["reader"])
    credentials = f"""
[stores.by_command]
plugin = "postgres"
kind = "sql"
endpoints = ["{pg.socket_dir}:{pg.port}"]
account = "billing"
password = {{ command = ["{command}"] }}
options = {{ database = "shop" }}
[stores.by_env]
plugin = "postgres"
kind = "sql"
endpoints = ["{pg.socket_dir}:{pg.port}"]
account = "reader"
password = {{ env = "READER_PASSWORD" }}
options = {{ database = "shop" }}
"""
    gw = start(daemon='allow_env_secrets = true\nlog_level = "debug"',
               stores=store(pg) + credentials,
               grants=grant() + grant("by_command") + grant("by_env", access="read"))
    c = gw.client()
    for name, account in (("pg", "app"), ("by_command", "billing"), ("by_env", "reader")):
        assert who(c, name)[0] == account
    shown = str([c.show(what) for what in ("config", "stores", "pools", "plugins", "limits")])
    checked = check(gw)
    assert checked.returncode == 0, checked.stderr
    assert "comes from the environment" in checked.stderr
    everything = gw.log() + shown + checked.stdout + checked.stderr
    for secret in pg.passwords.values():
        assert secret not in everything


def test_connect_check_warns_of_a_read_account_that_could_write(start, pg):
    pg.sql("CREATE TABLE IF NOT EXISTS owned (a int); ALTER TABLE owned OWNER TO app")

    def checked(account):
        gw = start(stores=store(pg, account=account), grants=grant(access="read"))
        return check(gw)

    loud = checked("app")
    assert loud.returncode == 0 and re.search(r"warning: store pg: .*app.*write", loud.stderr), \
        loud.stderr
    quiet = checked("reader")
    assert quiet.returncode == 0 and "warning" not in quiet.stderr, quiet.stderr


def init(gw, *words, name="pg"):
    return subprocess.run([binary("headgated"), "--config", str(gw.file), "--store-init", name,
                           *words], capture_output=True, text=True, timeout=60, check=False)


def keyed(client, key, text="SELECT 1"):
    return client.call("pg", "execute", {"sql": text}, 40, key=key, timeout_ms=20_000)


def test_store_init_makes_the_table_and_says_so(start, own_pg):
    pg = own_pg()
    gw = start(stores=store(pg), grants=grant())
    c = gw.client()
    assert keyed(c, "a")[3] == UNSUPPORTED
    done = init(gw, "--run")  # `app` may make tables in `public`
    assert done.returncode == 0, done.stderr
    assert "made the table" in done.stdout and "made its index" in done.stdout, done.stdout
    assert "account app may use it" in done.stdout
    assert keyed(c, "a")[3] == OK and keyed(c, "a")[4].get("replayed")
    again = init(gw, "--run")
    assert again.returncode == 0, again.stderr
    assert "was there" in again.stdout and "made" not in again.stdout.replace("was made", ""), again
    assert keyed(c, "a")[4].get("replayed"), "what is there is left alone"
    pg.sql("DROP INDEX headgate_idempotency_expires")
    assert "made its index" in init(gw, "--run").stdout
    assert pg.sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'headgate_idempotency'") == "2"


def test_store_init_with_another_account(start, own_pg, tmp_path):
    pg = own_pg()
    pg.sql("REVOKE CREATE ON SCHEMA public FROM app, PUBLIC; "
           "CREATE ROLE maker LOGIN PASSWORD 'of-the-maker'; GRANT CREATE ON SCHEMA public TO maker")
    gw = start(stores=store(pg), grants=grant())
    refused = init(gw, "--run")
    assert refused.returncode == 1 and refused.stdout == "", refused
    assert "cannot make the table: permission denied for schema public" in refused.stderr
    assert "42501" in refused.stderr
    password = tmp_path / "maker.pw"
    password.write_text("of-the-maker\n")
    password.chmod(0o600)
    done = init(gw, "--run", "--account", "maker", "--password-file", str(password))
    assert done.returncode == 0 and "made the table" in done.stdout, done
    assert "GRANT SELECT, INSERT, UPDATE, DELETE" in done.stdout
    # Now the store's account need not be able to make it; it is told that it may not use it.
    seen = init(gw, "--run")
    assert seen.returncode == 0 and "was there" in seen.stdout, seen
    assert "account app may not use it" in seen.stdout
    pg.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON headgate_idempotency TO app")
    assert "account app may use it" in init(gw, "--run").stdout
    assert keyed(gw.client(), "b")[3] == OK
    for output in (refused, done, seen):
        assert "of-the-maker" not in output.stdout + output.stderr


def test_store_init_says_why_not(start, own_pg, tmp_path):
    pg = own_pg()
    gw = start(stores=store(pg), grants=grant())
    wrong = tmp_path / "wrong.pw"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    done = init(gw, "--run", "--account", "app", "--password-file", str(wrong))
    assert done.returncode == 1 and "password authentication failed" in done.stderr, done
    wrong.chmod(0o644)
    done = init(gw, "--run", "--account", "app", "--password-file", str(wrong))
    assert done.returncode == 1 and "wrong.pw" in done.stderr, done
    done = init(gw, "--run", "--account", "app", "--password-file", str(tmp_path / "none"))
    assert done.returncode == 1 and "none" in done.stderr, done
    assert init(gw, "--run", name="nobody").returncode == 1
    assert init(gw, "--account", "app").returncode != 0, "goes with --run"
    done = init(gw, "--run", "--password-file", str(wrong))
    assert done.returncode != 0, "goes with --account"
    assert init(gw).returncode == 0, "printing asks for no server"

    pg.sql("CREATE TABLE headgate_idempotency (service text, key bytea)")
    done = init(gw, "--run")
    assert done.returncode == 1 and "not Headgate's" in done.stderr, done
    assert "key bytea, service text" in done.stderr
    pg.sql("DROP TABLE headgate_idempotency")
    ddl = init(gw).stdout
    pg.sql(ddl + "ALTER TABLE headgate_idempotency DROP CONSTRAINT headgate_idempotency_pkey")
    done = init(gw, "--run")
    assert done.returncode == 1 and "unique key" in done.stderr, done
    pg.sql("DROP TABLE headgate_idempotency")
    pg.stop()
    done = init(gw, "--run")
    assert done.returncode == 1 and str(pg.port) in done.stderr, done


def test_store_init_run_many_times_at_once(start, own_pg):
    pg = own_pg()
    gw = start(stores=store(pg), grants=grant())
    words = [binary("headgated"), "--config", str(gw.file), "--store-init", "pg", "--run"]
    all = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
           for _ in range(6)]
    said = [p.communicate(timeout=60) for p in all]
    assert [p.returncode for p in all] == [0] * 6, said
    assert sum("made the table" in out for out, _ in said) == 1


def test_store_init_goes_to_the_primary(start, own_pg):
    primary = own_pg()
    standby = primary.standby()
    where = f'["{standby.socket_dir}:{standby.port}", "{primary.socket_dir}:{primary.port}"]'
    gw = start(stores=store(primary, where=where), grants=grant())
    done = init(gw, "--run")
    assert done.returncode == 0 and "made the table" in done.stdout, done


def test_the_command_passes_it_on(start, own_pg, tmp_path):
    pg = own_pg()
    gw = start(stores=store(pg, options='keys_schema = "odd \\"name\'"'), grants=grant())
    pg.sql("CREATE SCHEMA \"odd \"\"name'\" AUTHORIZATION billing")
    words = [binary("headgate"), "store", "init", "pg", "--config", str(gw.file), "--run",
             "--account", "billing", "--password-file", str(pg.secret("billing"))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "made the table" in done.stdout, done
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "was there" in done.stdout, done


def test_store_init_of_an_embedded_store(gw):
    done = init(gw, "--run", name="sql")
    assert done.returncode == 0 and "sql.db" in done.stdout, done
