"""Private PostgreSQL servers for tests: a directory, a Unix socket and a random port of their own,
TLS with a CA made here, SCRAM passwords, a streaming standby.

    with Postgres() as server:
        server.port, server.socket_dir, server.dsn("app")
        server.sql("SELECT 1")                     # as the superuser
        standby = server.standby(); standby.promote()

By hand: `python3 tests/system/postgres.py [--standby]` starts one, prints how to reach it, and
stops it when its input ends. Run as root, the server runs as `postgres` or `nobody`.
"""

import ctypes
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import certificates
from gateway import until

BIN = pathlib.Path(os.environ.get("HEADGATE_POSTGRES_BIN", "/usr/lib/postgresql/15/bin"))
DATABASE = "shop"
# account -> what it may do; each has a password of its own
ACCOUNTS = {
    "app": "LOGIN CONNECTION LIMIT -1",      # a service; owns the schema
    "billing": "LOGIN",                      # another one, with tables of its own
    "reader": "LOGIN",                       # may only read
    "app_b": "LOGIN",                        # rotation: the second account of `app`
    "cert": "LOGIN",                         # by client certificate over TLS
    "repl": "LOGIN REPLICATION",
}
SUPER = "super"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as; None: as we do. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no user to run PostgreSQL as")


def _end_with_us() -> None:
    """In the child: whoever started it is killed, and it ends too (57P02 to its clients)."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


class Postgres:
    """One server. `settings` are lines of postgresql.conf, over those of below."""

    def __init__(self, settings: str = "", tls: bool = True, primary: "Postgres | None" = None,
                 name: str = "primary"):
        self.user = server_user()
        self.name, self.primary, self.tls = name, primary, tls
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"hg-pg-{name}-"))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.socket_dir = self.folder / "run"
        self.log_file = self.folder / "server.log"
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.standbys: list[Postgres] = []
        self.passwords = {a: secrets.token_urlsafe(18) for a in (*ACCOUNTS, SUPER)}
        for path in (self.data, self.socket_dir):
            path.mkdir(mode=0o700 if path == self.data else 0o755)
            self._own(path)
        try:
            if primary is None:
                self._initdb()
            else:
                self._copy(primary)
            self._configure(settings)
            self.start()
            if primary is None:
                self._accounts()
        except BaseException:
            self.close()
            raise

    # -- what tests do to it

    def start(self, wait: bool = True) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
        log = open(self.log_file, "ab")
        self.process = self._popen([BIN / "postgres", "-D", self.data], stdout=log, stderr=log)
        log.close()
        if wait:
            until(self.is_ready, 60, f"{self.name} starts")

    def is_ready(self) -> bool:
        """As pg_ctl decides it: line 8 of postmaster.pid."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended:\n{self.log()[-4000:]}")
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return (len(lines) > 7 and lines[0] == str(self.process.pid)
                and lines[7].strip() in ("ready", "standby"))

    def stop(self, how: str = "fast") -> None:
        """fast: connections are ended with 57P01. immediate: with 57P02. kill: as a crash."""
        if self.process is None or self.process.poll() is not None:
            return
        number = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT,
                  "kill": signal.SIGKILL}[how]
        children = self._backends() if how == "kill" else []
        self.process.send_signal(number)
        for child in children:  # they would go on until they look for their parent
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(60)

    def restart(self, how: str = "fast") -> None:
        self.stop(how)
        self.start()

    def reload(self) -> None:
        """Settings and certificates are read again; pg_hba.conf too."""
        self.sql("SELECT pg_reload_conf()")

    def set(self, **settings) -> None:
        """ALTER SYSTEM for each, then reload."""
        for name, value in settings.items():
            self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.reload()

    def certificate(self, which: str) -> None:
        """What the server shows from now on: server, expired, wrong_name, self_signed, other_ca."""
        for end in ("crt", "key"):
            made = self.folder / "tls" / f"{which}.{end}"
            self._put(self.data / f"server.{end}", made.read_text())
        if self.process is not None and self.process.poll() is None:
            self.reload()

    def standby(self, settings: str = "") -> "Postgres":
        """A streaming standby that has caught up, named standbyN to the primary."""
        made = Postgres(settings, self.tls, self, f"standby{len(self.standbys) + 1}")
        self.standbys.append(made)
        until(lambda: made.name in self.sql("SELECT application_name FROM pg_stat_replication "
                                            "WHERE state = 'streaming'"), 60, "streaming")
        return made

    def caught_up(self, standby: "Postgres") -> None:
        """Waits until the standby has replayed what is committed now."""
        lsn = self.sql("SELECT pg_current_wal_lsn()")
        until(lambda: standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'") == "t", 30,
              "the standby catches up")

    def promote(self) -> None:
        assert self.sql("SELECT pg_promote(true, 60)") == "t"

    def kill_backends(self, where: str = "true", how: str = "terminate") -> int:
        """pg_terminate_backend (or cancel) of the client backends that `where` chooses."""
        return int(self.sql(f"SELECT count(pg_{how}_backend(pid)) FROM pg_stat_activity WHERE "
                            f"backend_type = 'client backend' AND pid <> pg_backend_pid() "
                            f"AND usename <> '{SUPER}' AND ({where})"))

    def sql(self, text: str, account: str = SUPER, database: str = DATABASE) -> str:
        """psql's unaligned output, over the Unix socket."""
        done = subprocess.run(
            [BIN / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.socket_dir, "-p",
             str(self.port), "-U", account, "-d", database, "-c", text],
            env={"PGPASSWORD": self.passwords[account], "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def set_password(self, account: str, password: str | None = None) -> str:
        """A new password in the server; the secret file keeps the old one until write_secret()."""
        password = password or secrets.token_urlsafe(18)
        self.sql(f"ALTER ROLE {account} PASSWORD '{password}'")
        self.passwords[account] = password
        return password

    def secret(self, account: str) -> pathlib.Path:
        """A file (0600, ours) with the account's password, as `password = { file = ... }` reads."""
        folder = self.folder / "secrets"
        if not folder.exists():
            folder.mkdir(mode=0o700)
        return self.write_secret(folder / account, self.passwords[account])

    @staticmethod
    def write_secret(path: pathlib.Path, password: str) -> pathlib.Path:
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(password + "\n")
        new.replace(path)
        return path

    def dsn(self, account: str = "app", tcp: bool = False) -> str:
        where = f"host={self.socket_dir} port={self.port}"
        if tcp:
            where = f"host=localhost port={self.port} sslmode=verify-full sslrootcert={self.ca}"
        return f"{where} dbname={DATABASE} user={account} password={self.passwords[account]}"

    @property
    def ca(self) -> pathlib.Path:
        return (self.primary or self).folder / "tls" / "ca.crt"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def close(self) -> None:
        for standby in self.standbys:
            standby.close()
        if self.process is not None and self.process.poll() is None:
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    # -- how it is made

    def _popen(self, words, **options) -> subprocess.Popen:
        env = {"PATH": f"{BIN}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", **options.pop("env", {})}
        if self.user is not None:
            options.update(user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[])
        return subprocess.Popen([str(w) for w in words], cwd="/", env=env, start_new_session=True,
                                preexec_fn=_end_with_us, **options)

    def _run(self, *words, **options) -> None:
        process = self._popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              **options)
        out, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{words[0]}: {out}")

    def _own(self, path: pathlib.Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def _put(self, path: pathlib.Path, text: str, mode: int = 0o600) -> None:
        new = path.with_name(path.name + ".put")
        new.write_text(text)
        new.chmod(mode)
        self._own(new)
        new.replace(path)

    def _initdb(self) -> None:
        pw = self.folder / "super.pw"
        self._put(pw, self.passwords[SUPER])
        self._run(BIN / "initdb", "-D", self.data, "-U", SUPER, "--pwfile", pw, "-A",
                  "scram-sha-256", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        pw.unlink()
        self._put(self.data / "pg_hba.conf", """\
local   all          all                 scram-sha-256
hostssl all          cert  127.0.0.1/32  cert
host    all          all   127.0.0.1/32  scram-sha-256
hostssl all          cert  ::1/128       cert
host    all          all   ::1/128       scram-sha-256
local   replication  repl                scram-sha-256
host    replication  repl  127.0.0.1/32  scram-sha-256
""")
        if self.tls:
            names = ["DNS:localhost", "IP:127.0.0.1"]
            ca = certificates.Authority(self.folder / "tls", "test CA")
            ca.sign("server", names=names)
            ca.sign("expired", names=names, days=(-3, -1))
            ca.sign("wrong_name", "elsewhere.invalid", names=["DNS:elsewhere.invalid"])
            ca.sign("client", "cert")
            ca.sign("client_expired", "cert", days=(-3, -1))
            other = certificates.Authority(self.folder / "tls", "another CA", "other")
            other.sign("other_ca", names=names)
            certificates.self_signed(self.folder / "tls", "self_signed", names)
            self._put(self.data / "ca.crt", self.ca.read_text())
            self.certificate("server")

    def _copy(self, primary: "Postgres") -> None:
        self.passwords = primary.passwords
        self._run(BIN / "pg_basebackup", "-D", self.data, "-h", primary.socket_dir, "-p",
                  primary.port, "-U", "repl", "-R", "-X", "stream", "-c", "fast", "--no-sync",
                  "-d", f"application_name={self.name}",
                  env={"PGPASSWORD": primary.passwords["repl"]})
        self.data.chmod(0o700)

    def _configure(self, settings: str) -> None:
        tls = "ssl = on\nssl_ca_file = 'ca.crt'" if self.tls else ""
        # fsync off: tests end processes, never the machine.
        self._put(self.data / "postgresql.conf", f"""
listen_addresses = '127.0.0.1, ::1'
port = {self.port}
unix_socket_directories = '{self.socket_dir}'
cluster_name = '{self.name}'
max_connections = 100
shared_buffers = 64MB
dynamic_shared_memory_type = posix
fsync = off
wal_level = replica
max_wal_senders = 6
hot_standby = on
wal_receiver_timeout = 5s
wal_retrieve_retry_interval = 200ms
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d %a '
timezone = 'UTC'
{tls}
{settings}
""")

    def _accounts(self) -> None:
        self.sql(f"CREATE DATABASE {DATABASE}", database="postgres")
        self.sql("; ".join(f"CREATE ROLE {a} {may} PASSWORD '{self.passwords[a]}'"
                           for a, may in ACCOUNTS.items()))
        self.sql("""
CREATE SCHEMA app AUTHORIZATION app; CREATE SCHEMA billing AUTHORIZATION billing;
GRANT CREATE, USAGE ON SCHEMA public TO app, app_b, billing, cert;
GRANT USAGE ON SCHEMA public, app TO reader; GRANT app TO app_b; GRANT pg_read_all_data TO reader;
""")

    def _backends(self) -> list[int]:
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


def store(server: Postgres, name: str = "pg", account: str = "app", where: str | None = None,
          tls: str = "", options: str = "", extra: str = "") -> str:
    """[stores.NAME] of the configuration. `where`: an endpoint, or several; default: the socket."""
    where = where or f"{server.socket_dir}:{server.port}"
    endpoints = where if where.startswith("[") else f'["{where}"]'
    password = f'password = {{ file = "{server.secret(account)}" }}' if account != "cert" else ""
    return f"""
[stores.{name}]
plugin = "postgres"
kind = "sql"
endpoints = {endpoints}
{f"tls = {tls}" if tls else ""}
account = "{account}"
{password}
{extra}
options = {{ database = "{DATABASE}"{", " + options if options else ""} }}
"""


def grant(name: str = "pg", service: str = "app", access: str = "write") -> str:
    return f'\n[[grants]]\nservice = "{service}"\nstore = "{name}"\naccess = "{access}"\n'


def call(client, verb: str, body: dict, seconds: float = 40, **options) -> list:
    """The reply of the store `pg`, with a timeout that a busy machine keeps."""
    options.setdefault("timeout_ms", 30_000)
    return client.call("pg", verb, body, seconds, **options)


def execute(client, text: str, *params, **options) -> list:
    return call(client, "execute", {"sql": text, "params": list(params)}, **options)


def query(client, text: str, *params, **options) -> list:
    return call(client, "query", {"sql": text, "params": list(params)}, **options)


def begin(client, **body) -> int:
    """The transaction's id."""
    id = client.request("pg", "begin", body, timeout_ms=30_000)
    reply = client.receive(40)
    assert reply[3] == 0, reply
    return id


def main() -> None:
    import argparse
    parser = argparse.ArgumentParser(description="Starts a private PostgreSQL until input ends.")
    parser.add_argument("--standby", action="store_true", help="and a streaming standby")
    parser.add_argument("--set", action="append", default=[], help="a line of postgresql.conf")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with Postgres("\n".join(options.set)) as server:
        for s in [server, *([server.standby()] if options.standby else [])]:
            print(f"{s.name}: 127.0.0.1:{s.port}, socket {s.socket_dir}, CA {s.ca}")
            print(f"  log {s.log_file}")
        for account in (*ACCOUNTS, SUPER):
            print(f"  {account}: {server.dsn(account)}\n    password file {server.secret(account)}")
        print("client certificate of account `cert`:", server.folder / "tls" / "client.{crt,key}")
        print("ends with its input (Ctrl-D)", flush=True)
        try:
            while os.read(0, 4096):
                pass
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
