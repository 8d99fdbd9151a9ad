"""A cache in every process that is never stale for long: PostgreSQL tells what has changed.

A trigger notifies the key of each row that changes; whoever keeps that row forgets it. While nobody
tells (the connection is lost), nothing is kept.

    python3 cache_invalidation.py [STORE]        (a PostgreSQL store; default: shop)
"""

import sys
import threading

import headgate

CHANNEL = "example_price_changed"
SETUP = (
    "create table if not exists example_price (item text primary key, cents integer not null)",
    f"""create or replace function example_price_changed() returns trigger language plpgsql as $$
        begin
          perform pg_notify('{CHANNEL}', coalesce(new.item, old.item));
          return null;
        end $$""",
    "drop trigger if exists example_price_changed on example_price",
    """create trigger example_price_changed after insert or update or delete on example_price
       for each row execute function example_price_changed()""",
)


class Prices:
    def __init__(self, db):
        self._db = db
        self._kept, self._lock = {}, threading.Lock()
        self._changes = 0  # what was read before a change must not be kept after it
        self._listener, self._stopped = None, threading.Event()
        self.following = threading.Event()
        self.hits = self.misses = 0
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def get(self, item):
        with self._lock:
            if item in self._kept:
                self.hits += 1
                return self._kept[item]
            changes = self._changes
        self.misses += 1
        row = self._db.query("select cents from example_price where item = $1", (item,)).first()
        value = None if row is None else row[0]
        with self._lock:
            if self.following.is_set() and changes == self._changes:
                self._kept[item] = value
        return value

    def _follow(self):
        while not self._stopped.is_set():
            try:
                with self._db.listen(CHANNEL) as self._listener:
                    self._forget()  # first listen, then forget: what happened between is not missed
                    self.following.set()
                    for note in self._listener:
                        self._forget(note.payload)
            except headgate.HeadgateError as e:
                print("not following:", e, file=sys.stderr)
            self.following.clear()
            self._forget()
            self._stopped.wait(1)

    def _forget(self, item=None):
        with self._lock:
            self._changes += 1
            if item is None:
                self._kept.clear()
            else:
                self._kept.pop(item, None)

    def close(self):
        self._stopped.set()
        if self._listener is not None:
            self._listener.close()
        self._thread.join()


def main(store="shop"):
    with headgate.connect() as client:
        db = client.sql(store)
        for statement in SETUP:
            db.execute(statement)
        db.execute("insert into example_price values ('tea', 450) "
                   "on conflict (item) do update set cents = excluded.cents")
        prices = Prices(db)
        try:
            prices.following.wait(5)
            while prices.get("tea") != 450 or prices.hits < 3:
                pass  # the notification of the insert above may still be under way
            print("hits:", prices.hits, "misses:", prices.misses)

            db.execute("update example_price set cents = 475 where item = 'tea'")
            while prices.get("tea") != 475:
                pass
            print("tea costs 475 now, and every process knows")
        finally:
            prices.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
