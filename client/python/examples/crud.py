"""Create, read, update and delete rows with parameters.

    python3 crud.py [STORE]        (default: local-sql)
"""

import sys

import headgate


def main(store="local-sql"):
    with headgate.connect() as client:
        db = client.sql(store)
        db.execute("create table if not exists book (id integer primary key, title text not null, "
                   "price real not null check (price >= 0)) strict")
        db.execute("delete from book")

        # Parameters are never part of the text, so nobody's title can be a statement.
        first = db.execute("insert into book (title, price) values (?, ?)", ("It's '; drop table--", 12.5))
        db.execute_many("insert into book (title, price) values (:title, :price)",
                        [{"title": "Dune", "price": 9.0}, {"title": "Emma", "price": 5.5}])
        print("the first book has id", first.last_id)

        for title, price in db.query("select title, price from book where price < ? order by title", (10,)):
            print(f"{title}: {price:.2f}")

        changed = db.execute("update book set price = price * 2 where title = ?", ("Emma",))
        print("changed:", changed.rows_affected)
        print("Emma costs", db.query("select price from book where title = 'Emma'").scalar())

        try:
            db.execute("update book set price = -1")
        except headgate.IntegrityError as e:
            print("refused:", e.code, e.outcome)
        gone = db.execute("delete from book where title <> ?", ("Dune",))
        print("deleted:", gone.rows_affected, "left:", db.query("select count(*) from book").scalar())


if __name__ == "__main__":
    main(*sys.argv[1:])
