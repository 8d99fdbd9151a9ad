"""Documents with an index and an aggregation.

    python3 documents.py [STORE]        (default: local-docs)
"""

import datetime
import sys

import headgate


def main(store="local-docs"):
    with headgate.connect() as client:
        db = client.documents(store)
        visits = db["example_visits"]
        visits.drop()
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        visits.insert_many([
            {"page": page, "at": start + datetime.timedelta(hours=i), "ms": 10 * i, "tags": tags}
            for i, (page, tags) in enumerate([("/", ["new"]), ("/about", []), ("/", ["new", "mobile"]),
                                              ("/shop", ["mobile"]), ("/", []), ("/shop", ["new"])])])
        visits.create_index([("page", headgate.ASCENDING), ("at", headgate.DESCENDING)])
        print("plan:", visits.explain({"page": "/"})["stage"])

        late = visits.find({"page": "/", "at": {"$gte": start + datetime.timedelta(hours=1)}},
                           {"_id": 0, "at": 1}, sort=[("at", headgate.DESCENDING)])
        print("late visits of /:", [d["at"].hour for d in late])

        visits.update_many({"tags": "mobile"}, {"$set": {"device": "phone"}, "$inc": {"ms": 1}})
        print("from phones:", visits.count_documents({"device": "phone"}))

        for row in visits.aggregate([
                {"$match": {"ms": {"$gt": 0}}},
                {"$group": {"_id": "$page", "visits": {"$sum": 1}, "slowest": {"$max": "$ms"}}},
                {"$sort": {"visits": -1, "_id": 1}}]):
            print(row)


if __name__ == "__main__":
    main(*sys.argv[1:])
