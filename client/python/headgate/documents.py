"""Document stores, with the names of PyMongo."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from .client import Answer, Client
from .connection import Connection
from .errors import HeadgateError, InvalidRequest

Document = Dict[str, Any]
Filter = Mapping[str, Any]
Sort = Union[str, Sequence[Tuple[str, int]]]

ASCENDING = 1
DESCENDING = -1


class InsertOneResult(NamedTuple):
    inserted_id: Any


class InsertManyResult(NamedTuple):
    inserted_ids: List[Any]


class UpdateResult(NamedTuple):
    matched_count: int
    modified_count: int
    upserted_id: Any


class DeleteResult(NamedTuple):
    deleted_count: int


class BulkWriteResult(NamedTuple):
    inserted_count: int
    matched_count: int
    modified_count: int
    deleted_count: int
    upserted_count: int
    upserted_ids: Dict[int, Any]


class Documents:
    """A document store: ``store["name"]`` is a collection."""

    def __init__(self, client: Client, store: str) -> None:
        self._client = client
        self.store = store

    def __getitem__(self, name: str) -> "Collection":
        if not isinstance(name, str):  # a loop over this object comes here, too
            raise InvalidRequest(f"a collection's name is a str, not {type(name).__name__}",
                                 code="invalid")
        return Collection(self, name)

    def list_collection_names(self) -> List[str]:
        return [c["name"] for c in self.request("list_collections", {}).body["collections"]]

    def create_collection(self, name: str) -> "Collection":
        self.request("create_collection", {"collection": name})
        return self[name]

    def drop_collection(self, name: str) -> None:
        self.request("drop_collection", {"collection": name})

    def transaction(self) -> "DocumentTransaction":
        """``with docs.transaction() as tx:`` commits at the end, rolls back on an exception.

        ``tx["name"]`` gives the collections whose calls belong to it."""
        return DocumentTransaction(self._client, self.store)

    def request(self, verb: str, body: Any, *, timeout: Optional[float] = None,
                key: Optional[str] = None) -> Answer:
        return self._client.request(self.store, verb, body, timeout=timeout, key=key)

    def _stream(self, verb: str, body: Any, fetch: int, timeout: Optional[float]) -> Iterator[Document]:
        for part in self._client.stream(self.store, verb, body, fetch=fetch, timeout=timeout):
            yield from part.get("documents") or ()


class DocumentTransaction(Documents):
    def __init__(self, client: Client, store: str) -> None:
        super().__init__(client, store)
        self._id: Optional[int] = None
        self._connection: Optional[Connection] = None

    def __enter__(self) -> "DocumentTransaction":
        if self._id is not None:
            raise InvalidRequest("this transaction has been entered already", code="invalid")
        self._connection, self._id = self._client.begin(self.store, {}, False, None)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if self._connection is not None:
                self._connection.end_streams(self._id, kind is None)
            if kind is None:
                self.request("commit", {})
            else:
                try:
                    self.request("rollback", {})
                except HeadgateError:
                    pass  # rolled back already; the exception under way says more
        finally:
            self._id = None

    def request(self, verb: str, body: Any, *, timeout: Optional[float] = None,
                key: Optional[str] = None) -> Answer:
        return self._client.request(self.store, verb, body, timeout=timeout, key=key, tx=self._tx(),
                                    connection=self._connection)

    def _tx(self) -> int:
        if self._id is None:
            raise InvalidRequest("this transaction has ended or has not begun", code="invalid")
        return self._id

    def _stream(self, verb: str, body: Any, fetch: int, timeout: Optional[float]) -> Iterator[Document]:
        for part in self._client.stream(self.store, verb, body, fetch=fetch, timeout=timeout,
                                        tx=self._tx(), connection=self._connection):
            yield from part.get("documents") or ()


class Collection:
    """One collection. Filters, updates and pipelines are MongoDB's own."""

    def __init__(self, documents: Documents, name: str) -> None:
        self._documents = documents
        self.name = name

    def _ask(self, verb: str, timeout: Optional[float] = None, key: Optional[str] = None,
             **body: Any) -> Dict[str, Any]:
        body = {k: v for k, v in body.items() if v is not None}
        body["collection"] = self.name
        result: Dict[str, Any] = self._documents.request(verb, body, timeout=timeout, key=key).body
        return result

    def _one(self, verb: str, **body: Any) -> Optional[Document]:
        document: Optional[Document] = self._ask(verb, **body)["document"]
        return document

    # -- writing -----------------------------------------------------------------------------

    def insert_one(self, document: Mapping[str, Any], *, key: Optional[str] = None) -> InsertOneResult:
        result = self._ask("insert_one", key=key, document=_map(document, "the document"))
        return InsertOneResult(result["inserted_id"])

    def insert_many(self, documents: Iterable[Mapping[str, Any]], ordered: bool = True, *,
                    key: Optional[str] = None) -> InsertManyResult:
        """Inserts all; with errors raises, and the exception's ``.body`` says which failed."""
        result = self._ask("insert_many", key=key, ordered=ordered,
                           documents=[_map(d, "a document") for d in documents])
        return InsertManyResult(result["inserted_ids"])

    def replace_one(self, filter: Filter, replacement: Mapping[str, Any], upsert: bool = False, *,
                    if_version: Optional[bytes] = None) -> UpdateResult:
        return _update_result(self._ask("replace_one", filter=_filter(filter),
                                        replacement=_map(replacement, "the replacement"),
                                        upsert=upsert or None, if_version=if_version))

    def update_one(self, filter: Filter, update: Mapping[str, Any], upsert: bool = False, *,
                   key: Optional[str] = None) -> UpdateResult:
        return _update_result(self._ask("update_one", key=key, filter=_filter(filter),
                                        update=_map(update, "the update"), upsert=upsert or None))

    def update_many(self, filter: Filter, update: Mapping[str, Any], upsert: bool = False, *,
                    key: Optional[str] = None) -> UpdateResult:
        return _update_result(self._ask("update_many", key=key, filter=_filter(filter),
                                        update=_map(update, "the update"), upsert=upsert or None))

    def delete_one(self, filter: Filter) -> DeleteResult:
        return DeleteResult(self._ask("delete_one", filter=_filter(filter))["deleted_count"])

    def delete_many(self, filter: Filter) -> DeleteResult:
        return DeleteResult(self._ask("delete_many", filter=_filter(filter))["deleted_count"])

    def find_one_and_update(self, filter: Filter, update: Mapping[str, Any],
                            projection: Optional[Filter] = None, sort: Optional[Sort] = None,
                            upsert: bool = False, return_document: str = "before") -> Optional[Document]:
        return self._one("find_one_and_update", filter=_filter(filter),
                         update=_map(update, "the update"), projection=projection,
                         sort=_sort(sort), upsert=upsert or None,
                         return_document=return_document)

    def find_one_and_replace(self, filter: Filter, replacement: Mapping[str, Any],
                             projection: Optional[Filter] = None, sort: Optional[Sort] = None,
                             upsert: bool = False, return_document: str = "before") -> Optional[Document]:
        return self._one("find_one_and_replace", filter=_filter(filter),
                         replacement=_map(replacement, "the replacement"), projection=projection,
                         sort=_sort(sort), upsert=upsert or None,
                         return_document=return_document)

    def find_one_and_delete(self, filter: Filter, projection: Optional[Filter] = None,
                            sort: Optional[Sort] = None) -> Optional[Document]:
        return self._one("find_one_and_delete", filter=_filter(filter), projection=projection,
                         sort=_sort(sort))

    def bulk_write(self, operations: Iterable[Mapping[str, Any]], ordered: bool = True) -> BulkWriteResult:
        """``operations``: ``{"insert_one": {"document": ...}}``, ``{"update_one": {"filter": ...,
        "update": ..., "upsert": ...}}`` and so on, as VERBS.md lists them."""
        r = self._ask("bulk_write", ordered=ordered,
                      operations=[_map(o, "an operation") for o in operations])
        return BulkWriteResult(r["inserted_count"], r["matched_count"], r["modified_count"],
                               r["deleted_count"], r["upserted_count"],
                               {int(i): id for i, id in r["upserted_ids"].items()})

    # -- reading -----------------------------------------------------------------------------

    def find(self, filter: Optional[Filter] = None, projection: Optional[Filter] = None, *,
             sort: Optional[Sort] = None, skip: int = 0, limit: int = 0, hint: Optional[str] = None,
             fetch: int = 500, timeout: Optional[float] = None) -> Iterator[Document]:
        """Documents that match, streamed: memory stays flat however many there are."""
        body = _find_body(self.name, filter, projection, sort, skip, limit, hint)
        return self._documents._stream("find", body, fetch, timeout)

    def find_one(self, filter: Optional[Filter] = None, projection: Optional[Filter] = None, *,
                 sort: Optional[Sort] = None, skip: int = 0) -> Optional[Document]:
        return self._one("find_one", filter=_filter(filter or {}), projection=projection, sort=_sort(sort),
                         skip=skip or None)

    def count_documents(self, filter: Optional[Filter] = None, *, skip: int = 0, limit: int = 0) -> int:
        return int(self._ask("count_documents", filter=_filter(filter or {}), skip=skip or None,
                             limit=limit or None)["count"])

    def estimated_document_count(self) -> int:
        return int(self._ask("estimated_document_count")["count"])

    def distinct(self, key: str, filter: Optional[Filter] = None) -> List[Any]:
        result = self._documents.request(
            "distinct", {"collection": self.name, "key": key, "filter": _filter(filter or {})})
        values: List[Any] = result.body["values"]
        return values

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], *, fetch: int = 500,
                  timeout: Optional[float] = None) -> Iterator[Document]:
        body = {"collection": self.name, "pipeline": [_map(stage, "a stage") for stage in pipeline]}
        return self._documents._stream("aggregate", body, fetch, timeout)

    def explain(self, filter: Optional[Filter] = None, *, sort: Optional[Sort] = None) -> Any:
        """The plan of a find: which index serves it, or that the collection is scanned."""
        body = _find_body(self.name, filter, None, sort, 0, 0, None)
        return self._documents.request("explain", {"verb": "find", "body": body}).body["plan"]

    # -- indexes -----------------------------------------------------------------------------

    def create_index(self, keys: Sort, *, name: Optional[str] = None, unique: bool = False) -> str:
        index: str = self._ask("create_index", keys=_sort(keys), name=name, unique=unique or None)["name"]
        return index

    def drop_index(self, name: str) -> None:
        self._ask("drop_index", name=name)

    def list_indexes(self) -> List[Dict[str, Any]]:
        indexes: List[Dict[str, Any]] = self._ask("list_indexes")["indexes"]
        return indexes

    def rename(self, to: str) -> None:
        self._ask("rename_collection", to=to)
        self.name = to

    def drop(self) -> None:
        self._documents.drop_collection(self.name)


def _map(value: Any, what: str) -> Document:
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"{what} must be a mapping, not {type(value).__name__}", code="invalid")
    return dict(value)


def _filter(value: Any) -> Document:
    return _map(value, "the filter")


def _sort(sort: Optional[Sort]) -> Optional[List[List[Any]]]:
    if sort is None:
        return None
    if isinstance(sort, str):
        return [[sort, ASCENDING]]
    if isinstance(sort, Mapping):
        return [[k, v] for k, v in sort.items()]
    try:
        return [[k, v] for k, v in sort]
    except (TypeError, ValueError) as e:
        raise InvalidRequest('an order is a field\'s name or [("field", 1 or -1), ...]',
                             code="invalid") from e


def _find_body(collection: str, filter: Optional[Filter], projection: Optional[Filter],
               sort: Optional[Sort], skip: int, limit: int, hint: Optional[str]) -> Dict[str, Any]:
    body = {"collection": collection, "filter": _filter(filter or {}), "projection": projection,
            "sort": _sort(sort), "skip": skip or None, "limit": limit or None, "hint": hint}
    return {k: v for k, v in body.items() if v is not None}


def _update_result(r: Dict[str, Any]) -> UpdateResult:
    return UpdateResult(r["matched_count"], r["modified_count"], r["upserted_id"])
