"""Starts the real headgated in a directory of its own, and speaks raw frames to it.

A test waits for a condition, never for a time: see ``until``.
"""

import contextlib
import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile
import time

import msgpack
import zmq
import zmq.utils.monitor

ROOT = pathlib.Path(__file__).resolve().parents[2]
OK, INVALID, UNSUPPORTED, UNAUTHENTICATED, DENIED, NOT_FOUND = 0, 1, 2, 3, 4, 5
CONFLICT, TOO_LARGE, OVERLOADED, QUEUE_TIMEOUT, DEADLINE, CANCELLED = 7, 9, 10, 11, 12, 13
EXPIRED, UNAVAILABLE, DRAINING = 14, 17, 19
NOT_SENT, REJECTED, ROLLED_BACK, APPLIED, UNKNOWN = range(5)
HELLO, WELCOME, REQUEST, DATA, PART, REPLY, CREDIT, CANCEL, PING, PONG, GOAWAY = range(1, 12)


def build() -> pathlib.Path:
    return pathlib.Path(os.environ.get("HEADGATE_BUILD", ROOT / "build" / "release")).resolve()


def binary(name: str) -> str:
    for path in (build() / "bin" / name, build() / name, build() / "daemon" / name):
        if path.is_file():
            return str(path)
    raise FileNotFoundError(f"{name} is not in {build()} (set HEADGATE_BUILD)")


def until(condition, seconds: float = 30, what: str = ""):
    """Waits until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"did not come true in {seconds} s: {what or condition}")
        time.sleep(0.01)


class Gateway:
    """One running daemon with an SQLite store `sql` (and `kv`), its log and its files."""

    def __init__(self, daemon: str = "", services: str = "", grants: str = "", stores: str = "",
                 nofile: int | None = None, wait: bool = True, folder: str | None = None):
        self.own_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="hg-"))
        self.sock = self.folder / "hg.sock"
        self.url = f"ipc://{self.sock}"
        self.file = self.folder / "headgate.toml"
        self.log_file = self.folder / "daemon.log"
        self.parts = {"daemon": daemon, "services": services, "grants": grants, "stores": stores}
        self.write()
        self.nofile = nofile
        self.process = None
        self.context = zmq.Context()
        self.sockets = []
        self.start(wait)

    def write(self, **parts):
        self.parts.update(parts)
        p = self.parts
        listen = "" if "listen_ipc" in p["daemon"] else f'listen_ipc = "{self.sock}"\n'
        self.file.write_text(f"""
[daemon]
{listen}plugin_dir = "{build() / 'plugins'}"
state_dir = "{self.folder}"
statements_dir = "{self.folder / 'statements'}"
{p['daemon']}

[services.app]
unix_users = ["@daemon"]
{p['services']}

[stores.sql]
plugin = "sqlite"
kind = "sql"
options = {{ path = "sql.db" }}
{p['stores']}

[[grants]]
service = "app"
store = "sql"
access = "admin"
{p['grants']}
""")

    def start(self, wait: bool = True):
        log = open(self.log_file, "ab")
        before = self.log().count("event=ready")

        def limit():
            if self.nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile))

        self.process = subprocess.Popen([binary("headgated"), "--config", str(self.file)],
                                        stdout=log, stderr=log, preexec_fn=limit)
        log.close()
        if wait:
            until(lambda: self.log().count("event=ready") > before
                  or self.process.poll() is not None, what="ready")
            assert self.process.poll() is None, self.log()

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int):
        self.process.send_signal(number)

    def stop(self, code: int | None = 0):
        """SIGTERM; the exit code must be `code`."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("did not stop:\n" + self.log()) from None
        if code is not None:
            assert self.process.returncode == code, self.log()

    def close(self):
        for s in self.sockets:
            s.close(0)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self.context.term()
        if self.own_folder:
            subprocess.run(["rm", "-rf", str(self.folder)], check=False)

    def raw(self, **options) -> zmq.Socket:
        s = self.context.socket(zmq.DEALER)
        s.linger = 0
        s.setsockopt(zmq.RECONNECT_IVL, -1)
        for name, value in options.items():
            setattr(s, name, value)
        self.sockets.append(s)
        s.connect(self.url)
        return s

    def client(self, pongs: bool = False, hello: bool = True, **options) -> "Client":
        return Client(self, self.raw(**options), pongs, hello)

    def memory_kb(self) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


class Client:
    """One peer. Replies are msgpack lists as they came: [1, 6, id, code, meta, body]."""

    def __init__(self, gateway: Gateway, socket: zmq.Socket, pongs: bool, hello: bool):
        self.gateway, self.socket, self.pongs = gateway, socket, pongs
        self.next_id = 1
        self.pings = 0
        if hello:
            self.welcome = self.hello()

    def send(self, frame):
        # A socket that was cut has nowhere to send to, and would wait for ever.
        with contextlib.suppress(zmq.Again):
            self.socket.send(frame if isinstance(frame, bytes) else msgpack.packb(frame),
                             zmq.DONTWAIT)

    def hello(self):
        self.next_id += 1
        self.send([1, HELLO, self.next_id, "test", "1", 1, 1, self.pongs])
        return self.receive()

    def request(self, store, verb, body=None, id=None, sent_us=None, **options) -> int:
        if id is None:
            self.next_id += 1
            id = self.next_id
        sent = time.monotonic_ns() // 1000 if sent_us is None else sent_us
        self.send([1, REQUEST, id, sent, store, verb, options, {} if body is None else body])
        return id

    def receive(self, seconds: float = 10, pings: bool = False):
        """The next frame that is no ping, or None."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0 or not self.socket.poll(int(left * 1000) + 1):
                return None
            frame = msgpack.unpackb(self.socket.recv(), strict_map_key=False)
            if frame[1] == PING and not pings:
                self.pings += 1
                if self.pongs:
                    self.send([1, PONG, frame[2]])
                continue
            return frame

    def call(self, store, verb, body=None, seconds: float = 10, **options):
        id = self.request(store, verb, body, **options)
        while True:
            frame = self.receive(seconds)
            assert frame is not None, "no answer:\n" + self.gateway.log()[-4000:]
            if frame[1] == REPLY and frame[2] == id:
                return frame

    def ok(self, store, verb, body=None, **options):
        reply = self.call(store, verb, body, **options)
        assert reply[3] == OK, reply
        return reply[5]

    def sql(self, text, *params, **options):
        verb = "query" if text.lower().startswith("select") else "execute"
        return self.ok("sql", verb, {"sql": text, "params": list(params)}, **options)

    def rows(self, text, *params):
        return self.sql(text, *params)["rows"]

    def show(self, what):
        t = self.ok("headgate", "show", {"what": what})
        return [dict(zip(t["columns"], row)) for row in t["rows"]]

    def is_cut(self, seconds: float = 10) -> bool:
        """True when the daemon ends the connection; frames that come before are dropped."""
        monitor = self.monitor
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if monitor.poll(50):
                zmq.utils.monitor.recv_monitor_message(monitor)
                return True
            with contextlib.suppress(zmq.Again):
                self.socket.recv(zmq.DONTWAIT)
        return False

    def watch(self) -> "Client":
        """REQUIRES: before what is_cut() shall see."""
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.gateway.sockets.append(self.monitor)
        return self

    def close(self):
        self.socket.close(0)
