"""Arguments that are checked before anything is sent."""

from __future__ import annotations

from .errors import InvalidRequest

TIMEOUT_MAX = 86_400.0  # seconds


def check_timeout(seconds: float) -> float:
    """Raises InvalidRequest for what is no time that a request may take (NaN, too)."""
    if not 0 < seconds <= TIMEOUT_MAX:
        raise InvalidRequest(f"timeout must be above 0 seconds and at most a day, got {seconds}",
                             code="invalid")
    return seconds
