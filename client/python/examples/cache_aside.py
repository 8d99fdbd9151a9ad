"""Cache-aside: look into the cache, else ask the database and remember the answer for a while.

    python3 cache_aside.py [SQL_STORE] [KEY_VALUE_STORE]        (default: local-sql local-kv)
"""

import json
import sys

import headgate


class Prices:
    def __init__(self, db, cache, ttl_seconds=60):
        self._db, self._cache, self._ttl = db, cache, ttl_seconds

    def get(self, item):
        key = f"price:{item}"
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.incr("price-cache:hits")
            return json.loads(cached)
        self._cache.incr("price-cache:misses")
        row = self._db.query("select cents from price where item = ?", (item,)).first()
        value = None if row is None else row[0]
        self._cache.set(key, json.dumps(value), ex=self._ttl)  # a miss is worth remembering too
        return value

    def set(self, item, cents):
        self._db.execute("insert into price values (?, ?) on conflict (item) do update set cents = excluded.cents",
                         (item, cents))
        self._cache.delete(f"price:{item}")


def main(sql_store="local-sql", key_value_store="local-kv"):
    with headgate.connect() as client:
        db, cache = client.sql(sql_store), client.key_value(key_value_store)
        db.execute("create table if not exists price (item text primary key, cents integer not null) strict")
        cache.delete_prefix("price")
        prices = Prices(db, cache)

        prices.set("tea", 450)
        for _ in range(5):
            assert prices.get("tea") == 450
        prices.set("tea", 475)
        assert prices.get("tea") == 475
        assert prices.get("nothing") is None

        print("hits:", int(cache.get("price-cache:hits")), "misses:", int(cache.get("price-cache:misses")))
        print("time to live of price:tea:", cache.ttl("price:tea"), "s")


if __name__ == "__main__":
    main(*sys.argv[1:])
