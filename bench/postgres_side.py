"""`bench/run postgres`: Headgate beside PgBouncer and beside direct connections, one PostgreSQL.

pgbench's data at scale 10, point select by primary key, Unix sockets. The sides alternate, round by
round; PgBouncer has transaction pooling, its best pool size and the better protocol of those it can
(HEADGATE_BENCH_PGBOUNCER names another binary than /usr/sbin/pgbouncer); Headgate is as configured
by default unless a line says otherwise.
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))

from postgres import BIN as PG_BIN  # noqa: E402
from postgres import DATABASE, Postgres  # noqa: E402

SCALE = 10
SELECT = "SELECT abalance FROM pgbench_accounts WHERE aid = $1"
BODY = json.dumps({"sql": SELECT, "params": [f"$random:{100_000 * SCALE}"]})
TPCB = json.dumps({"items": [
    ["execute", {"sql": "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2",
                 "params": ["$random:5000", f"$random:{100_000 * SCALE}"]}],
    ["query", {"sql": SELECT, "params": [f"$random:{100_000 * SCALE}"]}],
    ["execute", {"sql": "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2",
                 "params": ["$random:5000", f"$random:{10 * SCALE}"]}],
    ["execute", {"sql": "UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2",
                 "params": ["$random:5000", f"$random:{SCALE}"]}],
    ["execute", {"sql": "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) "
                        "VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)",
                 "params": [f"$random:{10 * SCALE}", f"$random:{SCALE}",
                            f"$random:{100_000 * SCALE}", "$random:5000"]}]]})
ROWS = ("SELECT i, i * 2 AS a, i::float8 AS b, 'row ' || i AS c, i % 2 = 0 AS d, now() AS e, "
        "i::numeric / 7 AS f, md5(i::text) AS g, i::bigint AS h, NULL::text AS j "
        "FROM generate_series(1, {}) i")
STORE = """
[stores.{name}]
plugin = "postgres"
kind = "sql"
endpoints = ["{socket}:{port}"]
account = "app"
password = {{ file = "{secret}" }}
options = {{ database = "shop"{options} }}
{extra}
[[grants]]
service = "me"
store = "{name}"
access = "write"
"""


def cpu_us(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


class Pgbench:
    """pgbench as the caller, towards a server or a pooler on a Unix socket."""

    def __init__(self, server, socket, port, work):
        self.server, self.socket, self.port, self.work = server, socket, port, work

    def run(self, callers, seconds, mode="prepared", select=True, latencies=False, pid=0):
        prefix = self.work / f"pgbench-{time.monotonic_ns()}"
        words = [PG_BIN / "pgbench", "-n", "-h", self.socket, "-p", self.port, "-U", "app", "-M",
                 mode, "-c", callers, "-j", min(2, callers), "-T", max(1, round(seconds))]
        words += ["-S"] if select else []
        words += ["-l", "--log-prefix", prefix] if latencies else []
        before = cpu_us(pid) if pid else 0
        done = subprocess.run([str(w) for w in words] + [DATABASE], text=True, capture_output=True,
                              env={"PGPASSWORD": self.server.passwords["app"], "PATH": "/usr/bin"})
        if done.returncode != 0:
            raise SystemExit(f"pgbench: {done.stderr}")
        used = (cpu_us(pid) - before) if pid else 0
        count = int(re.search(r"number of transactions actually processed: (\d+)", done.stdout)[1])
        rate = re.search(r"tps = ([\d.]+)", done.stdout)
        if rate is None:
            raise SystemExit(f"pgbench finished no transaction:\n{done.stdout}{done.stderr}")
        out = {"requests_per_second": float(rate[1]),
               "server_cpu_us_per_request": used / max(count, 1)}
        if latencies:
            times = []
            for file in self.work.glob(prefix.name + "*"):
                times += [int(line.split()[2]) for line in file.open()]
                file.unlink()
            out["p50_us"] = statistics.median(times)
        return out


class PgBouncer:
    """Transaction pooling on a Unix socket; .pid, and .pgbench to load it."""

    def __init__(self, server, work, pool_size):
        self.binary = os.environ.get("HEADGATE_BENCH_PGBOUNCER", "/usr/sbin/pgbouncer")
        self.folder = server.folder / f"bouncer-{pool_size}"
        self.folder.mkdir(exist_ok=True)
        server._own(self.folder)
        self.port = 6432
        ini = self.folder / "pgbouncer.ini"
        password = server.passwords["app"]
        server._put(self.folder / "users.txt", f'"app" "{password}"\n')
        server._put(ini, f"""
[databases]
{DATABASE} = host={server.socket_dir} port={server.port} dbname={DATABASE} user=app password={password}
[pgbouncer]
listen_port = {self.port}
unix_socket_dir = {self.folder}
unix_socket_mode = 0777
auth_type = trust
auth_file = {self.folder}/users.txt
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 4000
logfile = {self.folder}/log
log_connections = 0
log_disconnections = 0
""")
        self.process = server._popen([self.binary, "-q", ini], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        end = time.monotonic() + 10
        while not (self.folder / f".s.PGSQL.{self.port}").exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit("pgbouncer did not start:\n" + (self.folder / "log").read_text())
            time.sleep(0.01)
        self.pgbench = Pgbench(server, self.folder, self.port, work)

    def close(self):
        self.process.terminate()
        self.process.wait(10)


def best_pgbouncer(server, work, seconds, say):
    """(bouncer, protocol) that is quickest with 64 callers."""
    newer = "HEADGATE_BENCH_PGBOUNCER" in os.environ
    best = (0, 0, "")
    for size in (2, 4, 8, 16, 32):
        bouncer = PgBouncer(server, work, size)
        for mode in ("extended", "simple", *(("prepared",) if newer else ())):
            rate = bouncer.pgbench.run(64, min(seconds, 2), mode)["requests_per_second"]
            best = max(best, (rate, size, mode))
        bouncer.close()
    say(f"  PgBouncer's best: pool size {best[1]}, {best[2]} protocol, {best[0]:.0f}/s")
    return PgBouncer(server, work, best[1]), best[2]


def run(report, args, work, daemon, bench, bins, say):
    """`daemon(stores)` and `bench(url, ...)` are bench/run's."""
    server = Postgres("shared_buffers = 256MB\nmax_connections = 200\nmax_wal_size = 4GB")
    bouncer = None
    try:
        subprocess.run([str(PG_BIN / "pgbench"), "-i", "-q", "-s", str(SCALE), "-h",
                        str(server.socket_dir), "-p", str(server.port), "-U", "app", DATABASE],
                       env={"PGPASSWORD": server.passwords["app"], "PATH": "/usr/bin"}, check=True,
                       capture_output=True)
        server.sql("VACUUM ANALYZE")

        def store(name, options="", extra=""):
            return STORE.format(name=name, socket=server.socket_dir, port=server.port,
                                secret=server.secret("app"), options=options, extra=extra)

        stores = (store("pg") + store("alone", ', shared = "off"', "connections_max = 32")
                  + store("ten", ", connections = 8", "connections_max = 10"))
        direct = Pgbench(server, server.socket_dir, server.port, work)
        bouncer, mode = best_pgbouncer(server, work, args.seconds, say)
        with daemon(stores) as gate:
            compare(report, args, gate, direct, bouncer, mode, bench)
            fairness(report, args, gate, bench)
            neighbours(report, args, gate, bench, bins)
            transactions(report, args, gate, direct, bench)
            stream(report, args, gate, server, bench, bins)
    finally:
        if bouncer is not None:
            bouncer.close()
        server.close()


def rates(xs, ys):
    return statistics.median(x["requests_per_second"] / y["requests_per_second"]
                             for x, y in zip(xs, ys))


def compare(report, args, gate, direct, bouncer, mode, bench):
    def headgate(programs, each=1, store="pg"):
        """`programs` connections, as the client library makes one a program, of `each` callers."""
        return bench(gate.url, store=store, verb="query", body=BODY, callers=programs, depth=each,
                     seconds=args.seconds, server_pid=gate.pid)

    for callers, over_bouncer, over_direct in ((64, 2.0, 1.5), (16, 1.4, 0.9)):
        shapes = {f"{callers} callers in {callers // 8} programs": (callers // 8, 8),
                  f"{callers} callers, a program each": (callers, 1)}
        h, b, d = {name: [] for name in shapes}, [], []
        for _ in range(args.rounds):
            b.append(bouncer.pgbench.run(callers, args.seconds, mode, pid=bouncer.pid))
            d.append(direct.run(callers, args.seconds))
            for name, shape in shapes.items():
                h[name].append(headgate(*shape))
        for name, mine in h.items():
            last = "; ".join(f"{side} {x[-1]['requests_per_second']:.0f}/s"
                             for side, x in (("Headgate", mine), ("PgBouncer", b), ("direct", d)))
            report.add(f"{name}: requests over PgBouncer's", f"{rates(mine, b):.2f}",
                       f">= {over_bouncer}", f"last round: {last}")
            report.add(f"{name}: requests over direct prepared", f"{rates(mine, d):.2f}",
                       f">= {over_direct}", f"p50 {mine[-1]['p50_us']} us, p99 {mine[-1]['p99_us']} us")
            if callers == 64:
                cpu = statistics.median(
                    x["server_cpu_us_per_request"] / y["server_cpu_us_per_request"]
                    for x, y in zip(mine, b))
                report.add(f"{name}: gateway CPU a request over PgBouncer's", f"{cpu:.2f}",
                           "<= 0.7", f"last round: {mine[-1]['server_cpu_us_per_request']:.1f} us "
                                     f"beside {b[-1]['server_cpu_us_per_request']:.1f} us")
    alone, b = [], []
    for _ in range(args.rounds):
        alone.append(headgate(64, store="alone"))
        b.append(bouncer.pgbench.run(64, args.seconds, mode))
    report.add('64 callers, shared = "off", requests over PgBouncer\'s', f"{rates(alone, b):.2f}",
               ">= 1.0", f"last round: {alone[-1]['requests_per_second']:.0f}/s beside "
                         f"{b[-1]['requests_per_second']:.0f}/s")
    added = []
    for _ in range(args.rounds):
        d = direct.run(1, args.seconds, latencies=True)["p50_us"]
        b = bouncer.pgbench.run(1, args.seconds, mode, latencies=True)["p50_us"]
        h = headgate(1)["p50_us"]
        added.append((h - d, b - d, d))
    h, b, d = (statistics.median(x) for x in zip(*added))
    report.add("1 caller, added p50 over what PgBouncer adds", f"{h / max(b, 1):.2f}", "<= 2",
               f"direct {d:.0f} us; Headgate adds {h:.0f} us, PgBouncer {b:.0f} us")


def fairness(report, args, gate, bench):
    spread, slowest = [], []
    for _ in range(args.rounds):
        r = bench(gate.url, store="ten", verb="query", body=BODY, callers=1000,
                  seconds=args.seconds)
        spread.append(r["p99_us"] / r["p50_us"])
        slowest.append(r["slowest_caller_over_mean"])
    report.add("1,000 callers on 10 connections, p99 over p50", f"{statistics.median(spread):.2f}",
               "<= 3")
    report.add("1,000 callers, slowest caller over the mean", f"{statistics.median(slowest):.2f}",
               ">= 0.5")


def neighbours(report, args, gate, bench, bins):
    ratios = []
    for _ in range(args.rounds):
        quiet = bench(gate.url, store="pg", verb="query", body=BODY, callers=16,
                      seconds=args.seconds)
        slow = subprocess.Popen(
            [str(bins["headgate-bench"]), "--url", gate.url, "--store", "pg", "--verb", "query",
             "--body", json.dumps({"sql": "SELECT pg_sleep(0.3)"}), "--callers", "1", "--seconds",
             str(args.seconds + 3), "--json"], stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        busy = bench(gate.url, store="pg", verb="query", body=BODY, callers=16,
                     seconds=args.seconds)
        slow.wait()
        ratios.append(busy["p99_us"] / quiet["p99_us"])
    report.add("neighbours' p99 while one caller runs 300 ms statements, over without",
               f"{statistics.median(ratios):.2f}", "<= 2", "16 neighbours")


def transactions(report, args, gate, direct, bench):
    h, d = [], []
    for _ in range(args.rounds):
        d.append(direct.run(16, args.seconds, select=False))
        h.append(bench(gate.url, store="pg", verb="batch", body=TPCB, callers=16,
                       seconds=args.seconds))
    report.add("TPC-B-like transaction as one batch over pgbench -M prepared, 16 callers",
               f"{rates(h, d):.2f}", ">= 1.0",
               f"last round: {h[-1]['requests_per_second']:.0f}/s beside "
               f"{d[-1]['requests_per_second']:.0f}/s")


def stream(report, args, gate, server, bench, bins):
    sql = ROWS.format(100_000 if args.quick else 1_000_000)
    bench(gate.url, store="pg", verb="query", body=BODY, callers=1, seconds=0.5)
    idle = peak = gate.rss_kb()
    ratios, streamed = [], 0
    for _ in range(args.rounds):
        done = subprocess.run([str(bins["bench-direct-postgres"]), "--dsn", server.dsn("app"),
                               "--sql", sql], capture_output=True, text=True, check=True)
        libpq = json.loads(done.stdout)["seconds"]
        p = subprocess.Popen(
            [str(bins["headgate-bench"]), "--url", gate.url, "--store", "pg", "--verb", "query",
             "--body", json.dumps({"sql": sql}), "--callers", "1", "--fetch", "5000", "--seconds",
             "0.01", "--warmup", "0", "--timeout-ms", "60000", "--json"],
            stdout=subprocess.PIPE, text=True)
        while p.poll() is None:
            peak = max(peak, gate.rss_kb())
            time.sleep(0.01)
        out = json.loads(p.stdout.read())
        streamed = out["streamed_bytes"]
        ratios.append(libpq / (out["max_us"] / 1e6))
    report.add("streamed result of 10 columns, rate over libpq's single-row mode",
               f"{statistics.median(ratios):.2f}", ">= 0.8", f"{streamed / 1e6:.0f} MB")
    report.add("daemon's growth meanwhile", f"{(peak - idle) / 1024:.1f} MB", "<= 32 MB")
