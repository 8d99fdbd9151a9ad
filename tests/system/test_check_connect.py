"""`headgated --check --connect` against a real PostgreSQL: each thing that is wrong is named, with
its place in the file, and leaves the other stores checked; the daemon starts all the same."""

import pathlib
import re
import socket

import pytest
from gate import Gate
from gateway import OK, until
from postgres import Postgres, free_port, grant, store
from test_postgres_logins import check, rows


def line_of(gw, text: str, after: str) -> int:
    """The number of the first line with `text` behind the line `after`."""
    lines = gw.file.read_text().splitlines()
    begin = lines.index(after)
    return next(n for n, line in enumerate(lines[begin:], begin + 1) if text in line)


def checked(gw, *, name="bad", at: str, says: str):
    """One line of stderr: the place of `at` in [stores.NAME], and `says`. The others are checked."""
    done = check(gw)
    assert done.returncode != 0, done.stderr
    place = f"{gw.file}:{line_of(gw, at, f'[stores.{name}]')}:"
    found = [x for x in done.stderr.splitlines() if x.startswith(place) and re.search(says, x)]
    assert found, (place, says, done.stderr)
    assert "store pg, credential pg (write)" in done.stdout, done.stdout + done.stderr
    assert "store sql: connected" in done.stdout
    assert "store pg" not in done.stderr
    assert "canary" not in done.stdout + done.stderr
    return done


def serves(gw):
    """The daemon is up and the good store serves."""
    assert rows(gw.client(), "SELECT 1") == [[1]]


def secret(path: pathlib.Path, text: str, mode=0o600) -> pathlib.Path:
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return path


WRONG_ENDPOINTS = {
    "host": ("no-such-host.invalid:5432", "could not translate host name"),
    "port": ("127.0.0.1:{closed}", "Connection refused"),
    "ipv6": ("[::1]:{closed}", "Connection refused|Cannot assign|unreachable|not supported"),
    "socket": ("/nowhere/run:5432", "/nowhere/run.*No such file or directory"),
    "silent": ("127.0.0.1:{silent}", "no answer within the time for a login"),
}


@pytest.mark.parametrize("which", WRONG_ENDPOINTS)
@pytest.mark.parametrize("beside", ["alone", "beside_a_good_one"])
def test_a_wrong_endpoint(start, pg, which, beside):
    where, says = WRONG_ENDPOINTS[which]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        where = where.format(closed=free_port(), silent=silent.getsockname()[1])
        good = f'"127.0.0.1:{pg.port}",\n' if beside != "alone" else ""
        tls = "" if which == "socket" and not good else '"off"'
        gw = start(stores=store(pg) + store(pg, "bad", where=f'[{good} "{where}"]', tls=tls,
                                            extra='connect_timeout = "1s"'),
                   grants=grant() + grant("bad"))
        done = checked(gw, at=where, says=says)
        assert (f"127.0.0.1:{pg.port}: connected" in done.stdout) == bool(good)
        serves(gw)
        c = gw.client()
        reply = c.call("bad", "query", {"sql": "SELECT 1"}, timeout_ms=8000)
        assert (reply[3] == OK) == bool(good), reply
        if not good:
            until(lambda: re.search(f"event=connect_failed store=bad .*{re.escape(where)}", gw.log()))


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_an_ipv6_literal_is_an_address(start, pg):
    gw = start(stores=store(pg, where=f'["[::1]:{pg.port}"]', tls='"off"'), grants=grant())
    done = check(gw)
    assert done.returncode == 0 and f"[::1]:{pg.port}: connected" in done.stdout, done.stderr
    serves(gw)


WRONG_SECRETS = {
    "missing": (None, "cannot be read: No such file"),
    "others": ("canary\n", "others may read it"),
    "empty": ("", "is empty"),
    "blank": ("\n", "is empty"),
    "wrong": ("canary-wrong\n", "password authentication failed"),
}


@pytest.mark.parametrize("which", WRONG_SECRETS)
def test_a_wrong_secret(start, pg, tmp_path, which):
    text, says = WRONG_SECRETS[which]
    path = tmp_path / "password"
    if text is not None:
        secret(path, text, 0o644 if which == "others" else 0o600)
    bad = store(pg, "bad").replace(str(pg.secret("app")), str(path))
    gw = start(stores=store(pg) + bad, grants=grant() + grant("bad"))
    checked(gw, at="password", says=says)
    serves(gw)
    c = gw.client()
    assert c.call("bad", "query", {"sql": "SELECT 1"})[3] != OK
    until(lambda: re.search(r"event=(credential_unreadable|connect_failed) store=bad ", gw.log()))
    assert "canary" not in gw.log()
    # healed by the file alone
    gw.write(daemon='secrets_look_every = "100ms"')
    Postgres.write_secret(path, pg.passwords["app"])
    c.ok("headgate", "reload")
    until(lambda: c.call("bad", "query", {"sql": "SELECT 1"})[3] == OK)


def test_a_line_end_is_not_part_of_a_password(start, pg, tmp_path):
    for n, end in enumerate(("", "\n", "\r\n")):
        path = secret(tmp_path / f"p{n}", pg.passwords["app"] + end)
        gw = start(stores=store(pg).replace(str(pg.secret("app")), str(path)), grants=grant())
        assert check(gw).returncode == 0
        serves(gw)


def test_an_account_or_a_database_that_is_not_there(start, pg):
    bad = store(pg, "bad").replace('account = "app"', 'account = "nobody_here"')
    gw = start(stores=store(pg) + bad, grants=grant() + grant("bad"))
    checked(gw, at="password", says="password authentication failed")
    bad = store(pg, "bad").replace('"shop"', '"nowhere"')
    gw.write(stores=store(pg) + bad)
    checked(gw, at="endpoints", says='database "nowhere" does not exist')


def client_tls(pg, cert="client", key="client", ca=None):
    folder = pg.folder / "tls"
    return (f'{{ ca_file = "{ca or pg.ca}", cert_file = "{folder}/{cert}.crt", '
            f'key_file = "{folder}/{key}.key" }}')


CERTIFICATES = {
    "no_certificate": (lambda pg: f'{{ ca_file = "{pg.ca}" }}', "certificate", "endpoints"),
    "missing": (lambda pg: client_tls(pg, cert="nowhere"),
                "tls.cert_file: .*nowhere.crt cannot be read: No such file", "tls"),
    "key_missing": (lambda pg: client_tls(pg, key="nowhere"),
                    "tls.key_file: .*nowhere.key cannot be read", "tls"),
    "mismatched": (lambda pg: client_tls(pg, key="server"),
                   "tls.key_file: .*server.key is not the key of the certificate", "tls"),
    "swapped": (lambda pg: client_tls(pg).replace("client.crt", "client.key"),
                "tls.cert_file: .*client.key holds no whole certificate", "tls"),
    "expired": (lambda pg: client_tls(pg, "client_expired", "client_expired"), "certificate",
                "endpoints"),
    "ca_missing": (lambda pg: client_tls(pg, ca="/nowhere/ca.crt"),
                   "tls.ca_file: /nowhere/ca.crt cannot be read", "tls"),
    "ca_is_a_key": (lambda pg: client_tls(pg, ca=pg.folder / "tls" / "client.key"),
                    "tls.ca_file: .* holds no whole certificate", "tls"),
    "other_ca": (lambda pg: client_tls(pg, ca=pg.folder / "tls" / "other.crt"),
                 "certificate verify failed", "endpoints"),
    "key_others_may_read": (lambda pg: client_tls(pg, key="open"),
                            "tls.key_file: .*open.key has mode 0644", "tls"),
    "server_name": (lambda pg: client_tls(pg).replace("{ ", '{ server_name = "else.invalid", '),
                    "else.invalid", "endpoints"),
}


@pytest.mark.parametrize("which", CERTIFICATES)
def test_a_wrong_certificate(start, pg, which):
    tls, says, at = CERTIFICATES[which]
    if which == "key_others_may_read":
        secret(pg.folder / "tls" / "open.key", (pg.folder / "tls" / "client.key").read_text(), 0o644)
    good = store(pg, "bad", account="cert", where=f"localhost:{pg.port}", tls=client_tls(pg))
    gw = start(stores=store(pg) + good, grants=grant() + grant("bad"))
    assert check(gw).returncode == 0
    gw.write(stores=store(pg) + store(pg, "bad", account="cert", where=f"localhost:{pg.port}",
                                      tls=tls(pg)))
    done = checked(gw, at=at, says=says)
    if which == "expired":
        assert "client_expired.crt has expired" in done.stderr
    # a reload refuses what the files alone tell, and nothing has changed
    c = gw.client()
    reply = c.call("headgate", "reload")
    assert (reply[3] != OK) == (at == "tls"), reply
    if at == "tls":
        assert rows(c, "SELECT current_user::text", name="bad") == [["cert"]]
    # a start does not fail for one store, and heals
    gw.stop()
    gw.start()
    serves(gw)
    c = gw.client()
    reply = c.call("bad", "query", {"sql": "SELECT 1"}, timeout_ms=5000)
    assert reply[3] != OK, reply
    until(lambda: re.search(r"event=(certificates_unusable|connect_failed) store=bad ", gw.log()))
    gw.write(stores=store(pg) + good)
    c.ok("headgate", "reload")
    until(lambda: c.call("bad", "query", {"sql": "SELECT 1"})[3] == OK)


@pytest.mark.parametrize("which", ["expired", "wrong_name", "self_signed", "other_ca"])
def test_a_server_that_proves_nothing_is_named_at_its_endpoint(start, own_pg, which):
    pg = own_pg()
    tls = f'{{ ca_file = "{pg.ca}" }}'
    gw = start(stores=store(pg) + store(pg, "bad", where=f"localhost:{pg.port}", tls=tls),
               grants=grant() + grant("bad"))
    pg.certificate(which)
    checked(gw, at="endpoints", says="certificate|does not match host name")


def test_every_bad_store_is_named_in_one_run(start, pg, tmp_path):
    closed = free_port()
    missing = tmp_path / "missing"
    stores = (store(pg) + store(pg, "one", where=f"127.0.0.1:{closed}", tls='"off"')
              + store(pg, "two").replace(str(pg.secret("app")), str(missing))
              + store(pg, "three", where=f"localhost:{pg.port}", tls=client_tls(pg, key="server")))
    gw = start(stores=stores, grants="".join(map(grant, ["pg", "one", "two", "three"])))
    done = check(gw)
    assert done.returncode != 0
    for name, says in {"one": "Connection refused", "two": str(missing),
                       "three": "is not the key of the certificate"}.items():
        assert re.search(rf"(?m)^{gw.file}:\d+:\d+: store[s]?[ .]{name}\b.*{says}", done.stderr), \
            (name, done.stderr)
    assert "store pg, credential pg (write)" in done.stdout


@pytest.mark.parametrize("how", ["down", "silent"])
def test_the_daemon_starts_without_its_server_and_heals(start, own_pg, how):
    pg = own_pg()
    with Gate(("127.0.0.1", pg.port)) as gate:
        gate.silence() if how == "silent" else gate.refuse()
        gw = start(stores=store(pg, where=f"127.0.0.1:{gate.port}", tls='"off"',
                                extra='connect_timeout = "1s"'), grants=grant())
        c = gw.client()
        assert c.sql("SELECT 1")["rows"] == [[1]]
        assert c.call("pg", "query", {"sql": "SELECT 1"}, timeout_ms=3000)[3] != OK
        until(lambda: f"event=connect_failed store=pg endpoint=127.0.0.1:{gate.port}" in gw.log())
        gate.heal()
        until(lambda: c.call("pg", "query", {"sql": "SELECT 1"}, timeout_ms=3000)[3] == OK)
        until(lambda: "event=connected_again store=pg" in gw.log())
