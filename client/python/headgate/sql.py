"""SQL stores, with the names of DB-API 2.0 (PEP 249) where it has them."""

from __future__ import annotations

import itertools
import re
import threading
import weakref
from typing import (AbstractSet, Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence,
                    Tuple, Union)

from .client import Answer, Client
from .connection import Connection
from .errors import HeadgateError, InvalidRequest
from .listen import Listener
from .stream import Stream

Params = Union[Sequence[Any], Mapping[str, Any]]
Row = Tuple[Any, ...]


class Column(NamedTuple):
    name: str
    type: Optional[str]
    nullable: Optional[bool]
    precision: Optional[int]
    scale: Optional[int]


def _columns(raw: Optional[List[Any]]) -> Optional[List[Column]]:
    return None if raw is None else [Column(*c) for c in raw]


class Rows:
    """The rows of a result, as tuples; streamed when it was asked for with ``fetch``.

    ``columns`` is None when the statement returns no rows. Iterate, or use ``all()``, ``first()``,
    ``one()``, ``scalar()`` and ``dicts()``.
    """

    def __init__(self, columns: Optional[List[Column]], rows: Iterable[Row], meta: Dict[str, Any],
                 stream: Optional[Stream] = None) -> None:
        self.columns = columns
        self.meta = meta  # of a stream: empty until its end
        self._rows = iter(rows)
        self._stream = stream

    @property
    def rows_affected(self) -> Optional[int]:
        return self.meta.get("rows_affected")

    @property
    def last_id(self) -> Optional[int]:
        return self.meta.get("last_id")

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        return next(self._rows)

    def all(self) -> List[Row]:
        return list(self._rows)

    def first(self) -> Optional[Row]:
        """The next row or None; the rest is given up."""
        row = next(self._rows, None)
        self.close()
        return row

    def one(self) -> Row:
        """The only row; anything else is an error."""
        rows = list(itertools.islice(self._rows, 2))
        self.close()
        if len(rows) != 1:
            raise InvalidRequest(f"expected one row, got {'none' if not rows else 'more'}", code="invalid",
                                 outcome="applied")
        return rows[0]

    def scalar(self) -> Any:
        """The first value of the only row."""
        return self.one()[0]

    def dicts(self) -> Iterator[Dict[str, Any]]:
        names = [c.name for c in self.columns or []]
        for row in self._rows:
            yield dict(zip(names, row))

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


class _Local(threading.local):
    """The transactions that are open in a thread; weakly, as a signal handler's exception may come
    just before ``__exit__`` begins."""

    def __init__(self) -> None:
        self.open: "weakref.WeakSet[Transaction]" = weakref.WeakSet()


class Sql:
    """A SQL store. Each call commits by itself, except inside ``with sql.transaction():``."""

    def __init__(self, client: Client, store: str) -> None:
        self._client = client
        self.store = store
        self._local = _Local()

    # -- statements --------------------------------------------------------------------------

    def query(self, sql: str, params: Params = (), *, timeout: Optional[float] = None,
              fetch: Optional[int] = None, read_only: bool = False) -> Rows:
        """Run one statement and return its rows.

        Parameters are apart from the text: a sequence for ``?`` or ``$1``, a mapping for ``:name``.
        With ``fetch`` the rows stream, that many a part, and memory stays flat; without it a result
        above the gateway's reply_max is refused.
        """
        return self._rows("query", {"sql": sql, "params": _params(params)}, timeout=timeout,
                          fetch=fetch, read_only=read_only)

    def execute(self, sql: str, params: Params = (), *, timeout: Optional[float] = None,
                key: Optional[str] = None, idempotent: bool = False) -> Rows:
        """Run one statement that writes; ``.rows_affected`` and ``.last_id`` tell what it did."""
        return self._rows("execute", {"sql": sql, "params": _params(params)}, timeout=timeout,
                          key=key, idempotent=idempotent)

    def execute_many(self, sql: str, params: Iterable[Params], *, timeout: Optional[float] = None,
                     key: Optional[str] = None) -> int:
        """Run one statement for each parameter set, all or none, in one round trip.

        Returns the number of rows affected."""
        answer = self.request("execute_many", {"sql": sql, "params": [_params(p) for p in params]},
                              timeout=timeout, key=key)
        return answer.rows_affected or 0

    def run(self, name: str, params: Params = (), *, timeout: Optional[float] = None,
            fetch: Optional[int] = None, read_only: bool = False) -> Rows:
        """Run the named statement ``name`` of the gateway's catalogue."""
        return self._rows("run", {"name": name, "params": _params(params)}, timeout=timeout,
                          fetch=fetch, read_only=read_only)

    def copy_in(self, table: str, rows: Iterable[Sequence[Any]],
                columns: Optional[Sequence[str]] = None, *, rows_per_piece: int = 1000,
                timeout: Optional[float] = None) -> int:
        """Load rows into a table, all or none, as an upload. Returns how many."""
        body: Dict[str, Any] = {"table": table}
        if columns is not None:
            body["columns"] = _list(columns, "columns")
        if rows_per_piece < 1:
            raise InvalidRequest(f"rows_per_piece must be 1 or more, got {rows_per_piece}", code="invalid")
        answer = self._client.upload(self.store, "copy_in", body, _pieces(rows, rows_per_piece),
                                     timeout=timeout, **self._here())
        return answer.rows_affected or 0

    def copy_out(self, table: Optional[str] = None, *, sql: Optional[str] = None, params: Params = (),
                 columns: Optional[Sequence[str]] = None, fetch: int = 1000,
                 timeout: Optional[float] = None) -> Rows:
        """Unload a table, or the result of a query, as a stream."""
        body: Dict[str, Any] = {"table": table, "sql": sql, "columns": columns and _list(columns, "columns")}
        if sql is not None:
            body["params"] = _params(params)
        body = {k: v for k, v in body.items() if v is not None}
        return self._rows("copy_out", body, timeout=timeout, fetch=fetch)

    def explain(self, sql: str, params: Params = (), *, verb: str = "query") -> Any:
        """The store's own plan for a statement."""
        return self.request("explain", {"verb": verb, "body": {"sql": sql, "params": _params(params)}}
                            ).body["plan"]

    def tables(self) -> List[Dict[str, Any]]:
        return list(self._rows("tables", {}).dicts())

    def columns(self, table: str) -> List[Dict[str, Any]]:
        return list(self._rows("columns", {"table": table}).dicts())

    def keys(self, table: str) -> List[Dict[str, Any]]:
        return list(self._rows("keys", {"table": table}).dicts())

    def indexes(self, table: str) -> List[Dict[str, Any]]:
        return list(self._rows("indexes", {"table": table}).dicts())

    # -- notifications -----------------------------------------------------------------------

    def listen(self, *channels: str, timeout: Optional[float] = None,
               read_only: bool = False) -> Listener:
        """Listens to channels of the store (PostgreSQL's LISTEN); up to 64, each as it is spelt.

            with db.listen("prices") as listener:
                for note in listener:                # or listener.get(timeout=5)
                    cache.pop(note.payload, None)

        What is notified after this has returned is heard: see :class:`headgate.Listener`, also for
        what is lost when a connection is. ``timeout`` is of the beginning alone. Not part of a
        transaction that is open here.
        """
        return Listener(self._client, self.store, channels, read_only,
                        self._client.timeout if timeout is None else timeout)

    def notify(self, channel: str, payload: str = "", *, timeout: Optional[float] = None) -> None:
        """Sends a notification (PostgreSQL's pg_notify); in a transaction when that commits.

        PostgreSQL takes payloads of less than 8000 bytes, and sends equal ones of one transaction
        once."""
        self.execute("select pg_notify($1, $2)", (channel, payload), timeout=timeout)

    # -- transactions ------------------------------------------------------------------------

    def transaction(self, *, isolation: Optional[str] = None, read_only: bool = False,
                    timeout: Optional[float] = None) -> "Transaction":
        """``with sql.transaction():`` commits at the end, rolls back when an exception leaves it.

        All calls of this object in this thread belong to it meanwhile. Inside another transaction
        of this object it is a savepoint. The gateway rolls back what idles too long
        (``TransactionExpired``). One call at a time: while a result of it streams (``fetch``)
        another call raises Conflict.
        """
        return Transaction(self, isolation, read_only, timeout)

    def cursor(self) -> "Cursor":
        """A cursor as DB-API 2.0 describes it (paramstyle qmark or named)."""
        return Cursor(self)

    # -- underneath --------------------------------------------------------------------------

    def _tx(self) -> Optional["Transaction"]:
        return max(self._local.open, key=lambda tx: tx._depth, default=None)

    def _here(self) -> Dict[str, Any]:
        """Where a request goes: into the transaction that is open here, if one is."""
        tx = self._tx()
        return {} if tx is None else {"tx": tx.id, "connection": tx.connection}

    def request(self, verb: str, body: Any, *, timeout: Optional[float] = None, read_only: bool = False,
                key: Optional[str] = None, idempotent: bool = False) -> Answer:
        """Any verb of this store, inside the transaction that is open here, if one is."""
        return self._client.request(self.store, verb, body, timeout=timeout, read_only=read_only,
                                    key=key, idempotent=idempotent, **self._here())

    def _rows(self, verb: str, body: Any, *, timeout: Optional[float] = None,
              fetch: Optional[int] = None, read_only: bool = False, key: Optional[str] = None,
              idempotent: bool = False) -> Rows:
        if fetch is None:
            answer = self.request(verb, body, timeout=timeout, read_only=read_only, key=key,
                                  idempotent=idempotent)
            rows = answer.body["rows"] or ()
            return Rows(_columns(answer.body["columns"]), (tuple(r) for r in rows), answer.meta)
        stream = self._client.stream(self.store, verb, body, fetch=fetch, timeout=timeout,
                                     read_only=read_only, **self._here())
        bodies = iter(stream)
        first = next(bodies, None) or {"columns": None, "rows": None}
        rest = itertools.chain([first], bodies)
        rows = (tuple(r) for body in rest for r in (body.get("rows") or ()))
        return Rows(_columns(first.get("columns")), rows, stream.meta, stream)


class Transaction:
    """See :meth:`Sql.transaction`. Entering it gives the :class:`Sql` object back."""

    def __init__(self, sql: Sql, isolation: Optional[str], read_only: bool,
                 timeout: Optional[float]) -> None:
        self._sql = sql
        self._isolation = isolation
        self._read_only = read_only
        self._timeout = timeout
        self._outer: Optional[Transaction] = None
        self._savepoint = ""
        self._depth = 0
        self.id: Optional[int] = None
        self.connection: Optional[Connection] = None

    def __enter__(self) -> Sql:
        if self._depth:
            raise InvalidRequest("this transaction has been entered already", code="invalid")
        self._outer = self._sql._tx()
        if self._outer is not None:
            if self._isolation is not None or self._read_only:
                raise InvalidRequest("a savepoint has no isolation or read_only of its own", code="invalid")
            depth = self._outer._depth + 1
            self._savepoint = f"sp{depth}"
            self.id, self.connection = self._outer.id, self._outer.connection
            self._sql.request("savepoint", {"name": self._savepoint})
        else:
            depth = 1
            body = {} if self._isolation is None else {"isolation": self._isolation}
            self.connection, self.id = self._sql._client.begin(self._sql.store, body, self._read_only,
                                                               self._timeout)
        self._depth = depth
        self._sql._local.open.add(self)
        return self._sql

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        assert self.connection is not None
        try:
            self.connection.end_streams(self.id, kind is None or self._outer is not None)
            if self._outer is not None:
                if kind is None:
                    self._sql.request("release", {"name": self._savepoint})
                else:
                    self._undo("rollback_to", {"name": self._savepoint})
            elif kind is None:
                self._sql.request("commit", {})
            else:
                self._undo("rollback", {})
        finally:
            self._sql._local.open.discard(self)
            self._depth = 0

    def _undo(self, verb: str, body: Any) -> None:
        """Rolls back; that it is rolled back already must not hide the exception under way."""
        try:
            self._sql.request(verb, body)
        except HeadgateError:
            pass


class Cursor:
    """DB-API 2.0 cursor over a :class:`Sql` store. Rows are fetched at execute()."""

    arraysize = 1

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._result: Optional[Rows] = None
        self.rowcount = -1
        self.lastrowid: Optional[int] = None

    @property
    def description(self) -> Optional[List[Tuple[Any, ...]]]:
        if self._result is None or self._result.columns is None:
            return None
        return [(c.name, c.type, None, None, c.precision, c.scale, c.nullable)
                for c in self._result.columns]

    def execute(self, sql: str, params: Params = ()) -> "Cursor":
        self.close()  # after an error there is nothing to fetch
        self._result = self._sql.execute(sql, params) if _writes(sql) else self._sql.query(sql, params)
        affected = self._result.rows_affected
        self.rowcount = -1 if affected is None else affected
        self.lastrowid = self._result.last_id
        return self

    def executemany(self, sql: str, params: Iterable[Params]) -> "Cursor":
        self.rowcount = self._sql.execute_many(sql, params)
        self._result, self.lastrowid = None, None
        return self

    def _rows(self) -> Rows:
        if self._result is None or self._result.columns is None:
            raise InvalidRequest("there is no result to fetch from", code="invalid")
        return self._result

    def fetchone(self) -> Optional[Row]:
        return next(self._rows(), None)

    def fetchmany(self, size: Optional[int] = None) -> List[Row]:
        return list(itertools.islice(self._rows(), self.arraysize if size is None else size))

    def fetchall(self) -> List[Row]:
        return self._rows().all()

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows())

    def setinputsizes(self, sizes: Any) -> None:
        """DB-API asks for it; does nothing, as it allows."""

    def setoutputsize(self, size: int, column: Optional[int] = None) -> None:
        """DB-API asks for it; does nothing, as it allows."""

    def close(self) -> None:
        if self._result is not None:
            self._result.close()
            self._result = None

    def __enter__(self) -> "Cursor":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


_FIRST_WORD = re.compile(r"(?:[\s(]|--[^\n]*\n|/\*.*?\*/)*(\w*)", re.DOTALL)  # after comments
_WRITES = re.compile(r"\b(?:insert|update|delete|merge|replace)\b", re.IGNORECASE)


def _writes(sql: str) -> bool:
    """Whether a statement needs `execute`, which takes anything but needs a grant to write."""
    match = _FIRST_WORD.match(sql)
    first = match[1].upper() if match else ""
    if first == "WITH":
        return _WRITES.search(sql) is not None
    return first not in ("SELECT", "VALUES", "EXPLAIN", "TABLE", "SHOW")


def _params(params: Params) -> Any:
    if isinstance(params, Mapping):
        return dict(params)
    if isinstance(params, (str, bytes, bytearray)):
        raise InvalidRequest("params must be a sequence or a mapping, not one string: write (value,)",
                             code="invalid")
    return _list(params, "params")


def _list(values: Any, what: str) -> List[Any]:
    """A list of what has an order and is no single value or mapping; else raises InvalidRequest."""
    if isinstance(values, (list, tuple)):
        return list(values)
    if isinstance(values, (str, bytes, bytearray, memoryview, Mapping, AbstractSet)) \
            or not isinstance(values, Iterable):
        raise InvalidRequest(f"{what} must be a sequence, not {type(values).__name__}", code="invalid")
    return list(values)


def _pieces(rows: Iterable[Sequence[Any]], size: int) -> Iterator[List[List[Any]]]:
    iterator = iter(rows)
    while True:
        piece = [_list(r, "a row") for r in itertools.islice(iterator, size)]
        if not piece:
            return
        yield piece
