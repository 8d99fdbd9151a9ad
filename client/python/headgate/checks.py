"""Arguments that are checked before anything is sent."""

from __future__ import annotations

import math

from .errors import InvalidRequest

TIMEOUT_MAX = 86_400.0  # seconds


def check_timeout(seconds: float) -> float:
    """Raises InvalidRequest for what is no time that a request may take (NaN, too)."""
    if not isinstance(seconds, (int, float)) or not 0 < seconds <= TIMEOUT_MAX:
        raise InvalidRequest(f"timeout must be above 0 seconds and at most a day, got {seconds!r}",
                             code="invalid")
    return seconds


def milliseconds(seconds: float, what: str) -> int:
    """Seconds as a body has them. Raises InvalidRequest for what is no number of them."""
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise InvalidRequest(f"{what} must be a number of seconds, got {seconds!r}", code="invalid")
    return int(seconds * 1000)
