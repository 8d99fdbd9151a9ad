"""Files of passwords and certificates that change under the running daemon, without a reload."""

import os
import pathlib
import re
import time

import certificates
import pytest
from gateway import OK, until
from postgres import Postgres, grant, store
from test_postgres_logins import check, load, rows, who

OFTEN = 'secrets_look_every = "100ms"'
UNAVAILABLE = 17


ANEW = 'lifetime_max = "1s"'  # logins all the time


def pids(pg, account="app"):
    return set(pg.sql(f"SELECT pid FROM pg_stat_activity WHERE usename = '{account}'").split())


def replaced(pg, account):
    """REQUIRES: ANEW. Waits for new logins."""
    before = pids(pg, account)
    until(lambda: (now := pids(pg, account)) and not before & now)


@pytest.mark.parametrize("how", ["rename", "in_place", "kubernetes"])
def test_a_password_rotated_in_its_file_under_load(start, own_pg, tmp_path, how):
    pg = own_pg()
    real = pg.secret("app")
    named = real
    if how == "kubernetes":  # a link to a link: the directory `..data` is what is swapped
        named = tmp_path / "password"
        (tmp_path / "..data").symlink_to("v0")
        (tmp_path / "v0").mkdir()
        Postgres.write_secret(tmp_path / "v0" / "password", pg.passwords["app"])
        named.symlink_to("..data/password")
    gw = start(daemon=OFTEN, stores=store(pg).replace(str(real), str(named)), grants=grant())
    with load(gw):
        for turn in range(1, 4):
            before = pids(pg)
            password = pg.set_password("app")
            if how == "rename":
                pg.secret("app")
            elif how == "in_place":
                named.write_text(password + "\n")
            else:
                (tmp_path / f"v{turn}").mkdir()
                Postgres.write_secret(tmp_path / f"v{turn}" / "password", password)
                (tmp_path / "..new").symlink_to(f"v{turn}")
                (tmp_path / "..new").rename(tmp_path / "..data")
            until(lambda: gw.log().count("event=credential_changed store=pg") == turn)
            until(lambda: not before & pids(pg), what="connections of the old password go")
    assert not any(p in gw.log() for p in pg.passwords.values())


def test_a_credential_of_systemd_is_looked_at_too(start, own_pg, tmp_path, monkeypatch):
    pg = own_pg()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    Postgres.write_secret(tmp_path / "db", pg.passwords["app"])
    text = re.sub(r"password = .*", 'password = { systemd = "db" }', store(pg))
    gw = start(daemon=OFTEN, stores=text, grants=grant())
    assert rows(gw.client(), "SELECT 1") == [[1]]
    Postgres.write_secret(tmp_path / "db", pg.set_password("app"))
    until(lambda: "event=credential_changed store=pg" in gw.log())
    pg.kill_backends()
    assert rows(gw.client(), "SELECT 1") == [[1]]


@pytest.mark.parametrize("how", ["empty", "gone", "others_may_read", "a_directory", "too_large"])
def test_a_bad_new_file_changes_nothing_and_is_named(start, own_pg, how):
    pg = own_pg()
    path = pg.secret("app")
    gw = start(daemon=OFTEN, stores=store(pg), grants=grant())
    with load(gw, callers=2):
        before = pids(pg)
        if how == "others_may_read":
            path.chmod(0o644)
        elif how == "empty":
            path.write_text("")
        elif how == "too_large":
            path.write_text("canary" * 20_000)
        else:
            path.unlink()
        if how == "a_directory":
            path.mkdir()
        until(lambda: "event=credential_unreadable store=pg" in gw.log())
        assert str(path) in gw.log()
        assert before <= pids(pg), "nothing changes"
    # new connections log in with what was known
    pg.kill_backends()
    assert rows(gw.client(), "SELECT 1") == [[1]]
    looks = gw.log().count("event=credential_unreadable")
    # and a good one is taken, told once
    if how == "a_directory":
        path.rmdir()
    pg.set_password("app")
    pg.secret("app").chmod(0o600)
    until(lambda: "event=credential_changed" in gw.log())
    assert rows(gw.client(), "SELECT 1") == [[1]]
    assert looks <= 2 and "canary" not in gw.log()


def test_a_store_without_its_password_heals_when_the_file_comes(start, pg, tmp_path):
    missing = tmp_path / "later"
    gw = start(daemon=OFTEN, stores=store(pg).replace(str(pg.secret("app")), str(missing)),
               grants=grant())
    c = gw.client()
    for _ in range(3):
        assert c.call("pg", "query", {"sql": "SELECT 1"})[3] == UNAVAILABLE
    Postgres.write_secret(missing, pg.passwords["app"])
    begun = time.monotonic()
    until(lambda: c.call("pg", "query", {"sql": "SELECT 1"})[3] == OK)
    assert time.monotonic() - begun < 10, "waited for the pause after a refusal"


def test_touching_a_file_drains_nothing(start, own_pg):
    pg = own_pg()
    tls = f'{{ ca_file = "{pg.ca}" }}'
    gw = start(daemon=OFTEN, stores=store(pg, where=f"localhost:{pg.port}", tls=tls),
               grants=grant())
    with load(gw, callers=2):
        before = pids(pg)
        for _ in range(3):
            os.utime(pg.secret("app"))
            os.utime(pg.ca)
            at = time.monotonic()
            until(lambda: time.monotonic() - at > 0.5)
        assert before <= pids(pg)
    assert "_changed" not in gw.log()


def test_zero_means_at_a_reload_alone(start, own_pg):
    pg = own_pg()
    gw = start(daemon='secrets_look_every = "0s"', stores=store(pg), grants=grant())
    with load(gw, callers=2):
        pg.set_password("app")
        pg.secret("app")
    assert "event=credential_changed" not in gw.log()
    gw.write(daemon=OFTEN)
    gw.client().ok("headgate", "reload")
    until(lambda: gw.log().count("event=credential_changed") == 1)
    pg.set_password("app")
    pg.secret("app")
    until(lambda: gw.log().count("event=credential_changed") == 2)


def client_tls(pg):
    folder = pg.folder / "tls"
    return (f'{{ ca_file = "{pg.ca}", cert_file = "{folder}/client.crt", '
            f'key_file = "{folder}/client.key" }}')


def swap(path: pathlib.Path, text: str) -> None:
    new = path.with_suffix(".swap")
    new.touch(mode=0o600)
    new.write_text(text)
    new.rename(path)


def test_a_client_certificate_rotated_under_load(start, own_pg):
    pg = own_pg()
    folder = pg.folder / "tls"
    gw = start(daemon=OFTEN, stores=store(pg, account="cert", where=f"localhost:{pg.port}",
                                          tls=client_tls(pg), extra=ANEW), grants=grant())
    assert who(gw.client())[0] == "cert"
    ca = certificates.Authority.__new__(certificates.Authority)
    ca.folder, ca.name, ca.certificate, ca.key = folder, "ca", folder / "ca.crt", folder / "ca.key"
    with load(gw):
        for turn in range(1, 3):
            certificate, key = ca.sign(f"next{turn}", "cert")
            # the certificate first: for a moment the key is another one's
            swap(folder / "client.crt", certificate.read_text())
            until(lambda: gw.log().count("event=certificates_unusable store=pg") == turn)
            assert "client.key is not the key of the certificate" in gw.log()
            replaced(pg, "cert")  # who logs in now does so with the pair that is known
            swap(folder / "client.key", key.read_text())
            until(lambda: gw.log().count("event=certificates_changed store=pg") == turn)
    assert "PRIVATE" not in gw.log()


@pytest.mark.parametrize("how", ["half", "empty", "gone", "no_certificate"])
def test_a_bad_authority_changes_nothing_and_is_named(start, own_pg, how):
    pg = own_pg()
    tls = f'{{ ca_file = "{pg.ca}" }}'
    gw = start(daemon=OFTEN, stores=store(pg, where=f"localhost:{pg.port}", tls=tls, extra=ANEW),
               grants=grant())
    good = pg.ca.read_text()
    with load(gw, callers=2):
        if how == "gone":
            pg.ca.unlink()
        else:
            pg.ca.write_text({"half": good + good[:len(good) // 2], "empty": "",
                              "no_certificate": "hello\n"}[how])
        until(lambda: re.search(rf"event=certificates_unusable store=pg .*{pg.ca}", gw.log()))
        replaced(pg, "app")
        reply = gw.client().call("headgate", "reload")
        assert reply[3] != OK and "stores.pg.tls.ca_file" in reply[4]["message"], reply
        pg.ca.write_text(good)
    assert check(gw).returncode == 0
    assert gw.log().count("event=certificates_unusable") <= 2
