"""Headgate: a client of the data access gateway.

    import headgate

    client = headgate.connect()
    orders = client.sql("orders")
    with orders.transaction():
        orders.execute("update account set balance = balance - ? where id = ?", (10, 1))
        orders.execute("update account set balance = balance + ? where id = ?", (10, 2))

No password is here: the gateway knows this program by its Unix user or its key, and holds the
credentials, the connections and the retries. See ``help(headgate.connect)``.
"""

from .client import Answer, Client, connect
from .documents import ASCENDING, DESCENDING, Collection, Documents
from .errors import (Cancelled, Conflict, DeadlineExceeded, Denied, Draining, DuplicateKey,
                     HeadgateError, InProgress, IntegrityError, InternalError, InvalidRequest,
                     NotFound, Overloaded, ProtocolError, QueueTimeout, Refused, StoreError, TooLarge,
                     TransactionAborted, TransactionExpired, Unauthenticated, Unavailable, Unsupported)
from .key_value import KeyValue, Lock
from .listen import Listener, Notify
from .sql import Column, Cursor, Rows, Sql, Transaction
from .stream import Stream
from .values import Bson, Int64, Interval, Json, ObjectId, RawBson, TimeWithOffset
from .version import __version__

__all__ = [
    "ASCENDING", "DESCENDING", "Answer", "Bson", "Cancelled", "Client", "Collection", "Column",
    "Conflict", "Cursor", "DeadlineExceeded", "Denied", "Documents", "Draining", "DuplicateKey",
    "HeadgateError", "InProgress", "Int64", "IntegrityError", "InternalError", "Interval",
    "InvalidRequest", "Json", "KeyValue", "Listener", "Lock", "NotFound", "Notify", "ObjectId",
    "Overloaded",
    "ProtocolError", "QueueTimeout", "RawBson", "Refused", "Rows", "Sql", "StoreError", "Stream",
    "TimeWithOffset", "TooLarge", "Transaction", "TransactionAborted", "TransactionExpired",
    "Unauthenticated", "Unavailable", "Unsupported", "__version__", "connect",
]
