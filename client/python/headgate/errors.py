"""Exceptions: one class for each code of the protocol, with what is known of the outcome.

Every exception has ``.code`` (str), ``.outcome`` (str: what happened to the store), ``.retryable``
(bool: sending the same request again is safe and may help), ``.retry_after`` (seconds or None),
``.sqlstate``, ``.vendor_code``, ``.detail``, ``.attempts`` and ``.body`` (a partial result, where the
verb gives one).
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Type

CODES = (
    "ok", "invalid", "unsupported", "unauthenticated", "denied", "not_found", "exists", "conflict",
    "constraint", "too_large", "overloaded", "queue_timeout", "deadline", "cancelled",
    "transaction_expired", "transaction_aborted", "in_progress", "unavailable", "store_error",
    "draining", "internal",
)
OUTCOMES = ("not_sent", "rejected", "rolled_back", "applied", "unknown")


class HeadgateError(Exception):
    """The root of all errors that this package raises.

    ``outcome`` is ``not_sent``, ``rejected``, ``rolled_back``, ``applied`` or ``unknown``.
    """

    def __init__(self, message: str, *, code: str = "internal", outcome: str = "not_sent",
                 meta: Optional[Dict[str, Any]] = None, body: Any = None) -> None:
        super().__init__(message)
        meta = meta or {}
        self.message = message
        self.code = code
        self.outcome = outcome
        self.retryable: bool = bool(meta.get("retryable", False))
        after = meta.get("retry_after_ms")
        self.retry_after: Optional[float] = None if after is None else after / 1000
        self.sqlstate: Optional[str] = meta.get("sqlstate")
        self.vendor_code: Optional[int] = meta.get("vendor_code")
        self.detail: Any = meta.get("detail")
        self.attempts: int = meta.get("attempts", 0)
        self.store: Optional[str] = meta.get("store")
        self.body = body

    def __str__(self) -> str:
        where = f" (store {self.store})" if self.store else ""
        return f"{self.message}{where} [{self.code}, outcome {self.outcome}]"


class InvalidRequest(HeadgateError):
    """The request is not what the verb takes."""


class Unsupported(InvalidRequest):
    """The store has no such verb or capability."""


class Refused(HeadgateError):
    """The gateway did not try: not granted, overloaded, draining or unknown caller."""


class Unauthenticated(Refused):
    """The gateway does not know who is calling."""


class Denied(Refused):
    """A grant, or the store's own account, does not allow it."""


class Overloaded(Refused):
    """Refused at once: it could not have been served in time. See ``retry_after``."""


class Draining(Refused):
    """The gateway is being stopped."""


class NotFound(HeadgateError):
    pass


class IntegrityError(HeadgateError):
    """A constraint of the store was violated."""


class DuplicateKey(IntegrityError):
    """A unique key exists already."""


class Conflict(HeadgateError):
    """A version or write conflict, or two calls at once in one transaction."""


class TooLarge(HeadgateError):
    """A frame, a result or a value is above its limit; use ``fetch`` for big results."""


class DeadlineExceeded(HeadgateError):
    """No answer in time; ``outcome`` says whether it may have run."""


class QueueTimeout(DeadlineExceeded):
    """The deadline passed while the request waited for a connection: it never reached the store."""


class Cancelled(HeadgateError):
    pass


class TransactionExpired(HeadgateError):
    """The transaction is gone (its limits, or this connection to the gateway): rolled back."""


class TransactionAborted(HeadgateError):
    """The transaction can only be rolled back."""


class InProgress(HeadgateError):
    """A request with this idempotency key is still running."""


class Unavailable(HeadgateError):
    """The gateway, or the store behind it, could not be reached."""


class StoreError(HeadgateError):
    """The store said no: see ``sqlstate`` and ``vendor_code``."""


class InternalError(HeadgateError):
    """A fault of the gateway or of this library."""


class ProtocolError(InternalError):
    """The other end does not speak the protocol."""


_BY_CODE: Dict[str, Type[HeadgateError]] = {
    "invalid": InvalidRequest, "unsupported": Unsupported, "unauthenticated": Unauthenticated,
    "denied": Denied, "not_found": NotFound, "exists": DuplicateKey, "conflict": Conflict,
    "constraint": IntegrityError, "too_large": TooLarge, "overloaded": Overloaded,
    "queue_timeout": QueueTimeout, "deadline": DeadlineExceeded, "cancelled": Cancelled,
    "transaction_expired": TransactionExpired, "transaction_aborted": TransactionAborted,
    "in_progress": InProgress, "unavailable": Unavailable, "store_error": StoreError,
    "draining": Draining, "internal": InternalError,
}


def error_for(code: str, meta: Dict[str, Any], body: Any = None) -> HeadgateError:
    """The exception for a reply whose code is not ``ok``."""
    outcome = meta.get("outcome", 4)
    name = OUTCOMES[outcome] if isinstance(outcome, int) and 0 <= outcome < len(OUTCOMES) else "unknown"
    message = str(meta.get("message") or code.replace("_", " "))
    return _BY_CODE.get(code, InternalError)(message, code=code, outcome=name, meta=meta, body=body)
