"""Shared fixtures: a ledger in a file, a clock that stands still, a channel that records."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recvault.alerts import KINDS, Teller
from recvault.alerts.event import OutgoingEvent
from recvault.ledger import Feed, FeedStatus, Ledger, StateCounts
from recvault.monitoring.health import Condition, Health
from recvault.monitoring.risks import Reason, Risk
from recvault.monitoring.verdict import verdict
from recvault.testing import Answer, Front

START = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)


@dataclass
class Recorder:
    """A channel that accepts everything unless told otherwise."""

    name: str = "recorder"
    error: str = ""
    refused: str = ""  # a subject whose notices it refuses
    accepted: list[dict[str, Any]] = field(default_factory=list)
    tried: list[dict[str, Any]] = field(default_factory=list)

    def send(self, told: OutgoingEvent) -> str:
        self.tried.append(told.document)
        error = self.error or ("status 413" if told.document["subject"] == self.refused else "")
        if not error:
            self.accepted.append(told.document)
        return error

    def heard(self) -> list[tuple[str, str]]:
        """Return kind and subject of what was accepted."""
        return [(each["data"]["event"], each["subject"]) for each in self.accepted]


@dataclass
class Desk:
    """A ledger and its teller, at a time set by the test."""

    path: Path
    recorder: Recorder
    now: datetime = START
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    results: list[tuple[str, str, int]] = field(default_factory=list)
    more: list[Recorder] = field(default_factory=list)
    kinds: tuple[str, ...] = KINDS
    _ledger: Ledger | None = None

    @property
    def ledger(self) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger.open(self.path, self.now)
        return self._ledger

    def restart(self) -> None:
        """Start over with only the file, like a new process."""
        if self._ledger is not None:
            self._ledger.close()
        self._ledger = None

    def teller(self) -> Teller:
        return Teller(
            ledger=self.ledger,
            channels=[self.recorder, *self.more],
            kinds=self.kinds,
            trouble_after=timedelta(minutes=15),
            origin="/recvault/test",
            clock=lambda: self.now,
            on_result=lambda *result: self.results.append(result) if result[2] else None,
            new_id=lambda: f"id-{next(self.numbers)}",
        )

    def turn(self, *judged: tuple[FeedStatus, Health], deliver: bool = True, **troubles: str) -> None:
        """Let a new teller look once; return what it sends."""
        beside = [Reason(risk=Risk(part), message=words, command="recvault check") for part, words in troubles.items()]
        teller = self.teller()
        teller.look(judged, verdict(judged, beside))
        if deliver:
            teller.deliver()

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Return a desk whose only channel accepts everything."""
    desk = Desk(tmp_path / "ledger.db", Recorder())
    yield desk
    desk.restart()


@pytest.fixture
def front() -> Iterator[Callable[..., Front]]:
    """Run an HTTP server that records its requests."""
    with ExitStack() as opened:

        def serve(answer: Answer | None = None) -> Front:
            answer = answer or Answer()
            return opened.enter_context(Front(lambda request: answer))

        yield serve


Judged = tuple[FeedStatus, Health]


@pytest.fixture
def feed() -> Callable[..., Judged]:
    """Make a source's judged list: its condition and its counts."""

    def judged(
        condition: str = "ok", words: str = "words", account: str = "AC1", source: str = "main", **counts: int
    ) -> Judged:
        status = FeedStatus(feed=Feed(source, "twilio", account), standing=StateCounts(**counts))
        risks = {"stale": Risk.STALE, "failing": Risk.FAILING, "attention": Risk.QUIET}
        reasons = tuple(
            Reason(risk=risks[each], message=words, command="recvault check", source=source, account_id=account)
            for each in [condition]
            if each in risks and not counts
        )
        return status, Health(Condition(condition), words, reasons)

    return judged
