"""Storms and soaks: seconds of them in every run, minutes with tools/test --full (HEADGATE_FULL=1)."""

import collections
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from gateway import OK, ROOT, until

FULL = os.environ.get("HEADGATE_FULL") == "1"

STORES = """
[stores.docs]
plugin = "sqlite"
kind = "document"
options = { path = "docs.db" }
[stores.kv]
plugin = "sqlite"
kind = "key_value"
options = { path = "kv.db" }
"""
GRANTS = """
[[grants]]
service = "app"
store = "docs"
access = "admin"
[[grants]]
service = "app"
store = "kv"
access = "admin"
"""

# Writes rows (name, 0), (name, 1), ... and says of each what it was told, before it goes on. With
# keys it repeats what is unknown until it knows.
WRITER = """
import sys
import headgate
url, name, keyed = sys.argv[1], sys.argv[2], sys.argv[3] == "keyed"
n = 0
while True:
    try:
        db = headgate.connect(url, timeout=2).sql("sql")
        while True:
            print("try", n, flush=True)
            try:
                db.execute("insert into t values (?, ?)", (name, n), **({"key": f"{name}-{n}"} if keyed else {}))
            except headgate.HeadgateError as e:
                if not keyed:
                    print(str(e.outcome), n, flush=True)
                    n += 1
                raise
            print("applied", n, flush=True)
            n += 1
    except headgate.HeadgateError:
        pass
"""


class Writer:
    """A program that writes until it is killed, and what it was told until then."""

    def __init__(self, url, name, keyed):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, name, "keyed" if keyed else "plain"], text=True, stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=str(ROOT / "client" / "python")))
        self.told = {}
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if not line.endswith("\n"):
                return  # killed in the middle of it
            what, n = line.split()
            self.told[int(n)] = what

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


@pytest.mark.parametrize("keyed", [False, True], ids=["plain", "keyed"])
def test_writes_are_counted_through_kills_of_both_sides(start, keyed):
    gw = start()
    gw.client().sql("create table t(w text, n integer)")
    dice = random.Random(7)
    living, dead = [], []
    for i in range(6):
        living.append(Writer(gw.url, f"w{i}", keyed))
    kills = 200 if FULL else 12
    for i in range(kills):
        until(lambda: sum(len(w.told) for w in living) > 20, 60, "writers write")
        victim = dice.randrange(len(living))
        living[victim].kill()
        dead.append(living[victim])
        living[victim] = Writer(gw.url, f"w{6 + i}", keyed)
        if i % 6 == 5:  # and the gateway itself
            gw.process.kill()
            gw.process.wait()
            gw.start()
    for w in living:
        w.kill()
        dead.append(w)
    rows = collections.Counter((w, n) for w, n in gw.client().rows("select w, n from t"))
    assert max(rows.values()) == 1, [r for r, count in rows.items() if count > 1][:5]
    outcomes = collections.Counter(what for w in dead for what in w.told.values())
    assert outcomes["applied"] > kills
    for w in dead:
        for n, what in w.told.items():
            if what == "applied":
                assert rows.pop((w.name, n), 0) == 1, f"{w.name} was told that {n} is applied, but it is not there"
            elif what in ("try", "unknown"):  # it died before it was told, or was told that nobody knows
                rows.pop((w.name, n), 0)
            else:
                assert (w.name, n) not in rows, f"{w.name} was told {what} of {n}, but it is there"
    assert not rows, f"rows that nobody wrote: {list(rows)[:5]}"


def test_a_soak_leaves_nothing(start):
    gw = start(stores=STORES, grants=GRANTS)
    c = gw.client()
    c.sql("create table t(a integer primary key, b text)")
    stop = threading.Event()
    faults, counts = [], collections.Counter()

    def ok(peer, *args, **options):
        reply = peer.call(*args, **options)
        counts[reply[3]] += 1
        if reply[3] != OK:
            faults.append(reply)

    def work(seed):
        dice = random.Random(seed)
        while not stop.is_set():
            peer = gw.client()
            for _ in range(dice.randrange(1, 200)):
                k = dice.randrange(1000)
                what = dice.choices(range(6), (8, 8, 8, 8, 8, 1))[0]
                if what == 0:
                    ok(peer, "sql", "execute", {"sql": "insert or replace into t values (?, ?)", "params": [k, "x" * k]})
                elif what == 1:
                    ok(peer, "sql", "query", {"sql": "select b from t where a = ?", "params": [k]})
                elif what == 2:
                    ok(peer, "docs", "update_one", {"collection": "d", "filter": {"_id": k}, "update": {"$inc": {"n": 1}}, "upsert": True})
                elif what == 3:
                    ok(peer, "kv", "set", {"key": b"k%d" % k, "value": b"v" * k, "ttl_ms": 5000})
                elif what == 4:
                    ok(peer, "kv", "get", {"key": b"k%d" % k})
                else:  # a stream that is left in the middle
                    peer.request("sql", "query", {"sql": "select a, b from t"}, fetch=10)
                    break
            peer.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for t in threads:
        t.start()
    seconds = 300 if FULL else 6
    begun, early = time.monotonic(), 0
    while time.monotonic() < begun + seconds:
        c.ok("headgate", "reload")
        time.sleep(0.2)  # between two reloads, not for a condition
        if not early and time.monotonic() > begun + seconds / 3:
            early = gw.memory_kb()
    late = gw.memory_kb()
    stop.set()
    for t in threads:
        t.join()
    assert not faults, faults[:3]
    assert counts[OK] > 200  # more than a machine in trouble does
    until(lambda: len(c.show("peers")) == 1)
    until(lambda: not c.show("leases") and len(c.show("calls")) <= 1)
    assert late < early * 1.2 + 16_384, f"the daemon grew from {early} to {late} kB"
    gw.stop()
