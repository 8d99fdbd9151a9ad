"""A transfer between two accounts: both bookings or none.

    python3 bank_transfer.py [STORE]        (default: local-sql)
"""

import sys

import headgate


class NotEnoughMoney(Exception):
    pass


def transfer(db, source, target, cents):
    with db.transaction():  # commits at the end; an exception rolls back
        db.execute("update account set cents = cents + ? where name = ?", (cents, target))
        db.execute("update account set cents = cents - ? where name = ?", (cents, source))
        if db.query("select cents from account where name = ?", (source,)).scalar() < 0:
            raise NotEnoughMoney(f"{source} has less than {cents / 100:.2f}")


def balances(db):
    return dict(db.query("select name, cents from account order by name"))


def main(store="local-sql"):
    with headgate.connect() as client:
        db = client.sql(store)
        db.execute("create table if not exists account (name text primary key, cents integer not null) strict")
        db.execute("delete from account")
        db.execute_many("insert into account values (?, ?)", [("ada", 10_000), ("bob", 500)])

        transfer(db, "ada", "bob", 2_500)
        print("after the first transfer: ", balances(db))
        try:
            transfer(db, "bob", "ada", 1_000_000)
        except NotEnoughMoney as e:
            print("rolled back:", e)
        after = balances(db)
        print("after the second transfer:", after)
        assert after == {"ada": 7_500, "bob": 3_000}, after


if __name__ == "__main__":
    main(*sys.argv[1:])
