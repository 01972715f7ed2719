"""The times of an exchange: when it is slow, and how often it is tried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When an exchange is slow, and how often it is tried."""

    min_rate: int = 1024  # bytes a second
    stall_timeout: float = 60.0  # seconds; a body slower than min_rate for so long is a stall
    reply_deadline: float = 180.0  # seconds for a whole API answer
    tries: int = 5  # of one request within one attempt
    backoff_base: float = 0.5  # seconds, doubles
    backoff_most: float = 30.0  # seconds; a provider that asks for more patience is asked again in a later pass
    circuit: float = 300.0  # seconds for which refused credentials are not tried again
