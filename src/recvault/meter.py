"""Who counts along while recvault works: metrics, where somebody reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFacts:
    """How a source's provider was asked so far: answers by status ("200", or "error"), and how many may run at once."""

    source: str
    answers: Mapping[str, int]
    concurrency: int
    max_concurrency: int
    held_by: str | None = None  # why fewer: it refuses more, or answers more slowly; None while that is being found


class Meter(Protocol):
    """Told of what happens, from any thread. Times are seconds; an error is told by its class's name."""

    def polled(self, source: str, account_id: str, seconds: float, error: str | None) -> None: ...

    def transferred(self, source: str, seconds: float) -> None: ...

    def settled(self, source: str, state: str, reason: str | None, bytes: int) -> None: ...

    def suspect(self, source: str, media: int) -> None: ...

    def trouble(self, part: str, is_on: bool) -> None: ...

    def missed(self, source: str, recordings: int, lateness_seconds: float) -> None: ...
