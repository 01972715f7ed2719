"""Who is told while recvault works: metrics, lines on a terminal, a backfill's progress, the daemon's dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recvault.models import Job, Outcome, State

if TYPE_CHECKING:  # worker processes load this file, and no ledger
    from recvault.monitoring.report import Report


class Observer:
    """Told of what happens, from any thread. Each method does nothing: override those that matter."""

    def polled(self, source: str, account_id: str, seconds: float, error: str | None) -> None:
        """A scan of an account's list ended; `error` is the class of the error that ended it, None for success."""

    def found(self) -> None:
        """A page is registered: recordings may be due."""

    def missed(self, source: str, recordings: int, lateness_seconds: float) -> None:
        """A reconcile ended: it found so many recordings that polls had missed, the latest of them so late."""

    def transferred(self, source: str, seconds: float) -> None:
        """An attempt ended after so long."""

    def settled(self, job: Job, outcome: Outcome, state: State) -> None:
        """An attempt's outcome is written down, and the recording's new state."""

    def trouble(self, part: str, is_on: bool) -> None:
        """The bucket or the ledger became unusable, or usable again."""

    def changed(self, report: Report) -> None:
        """The report of what is under way counts more than before, or is complete."""


class Observers(Observer):
    """Tells several, in this order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def polled(self, source: str, account_id: str, seconds: float, error: str | None) -> None:
        for each in self._observers:
            each.polled(source, account_id, seconds, error)

    def found(self) -> None:
        for each in self._observers:
            each.found()

    def missed(self, source: str, recordings: int, lateness_seconds: float) -> None:
        for each in self._observers:
            each.missed(source, recordings, lateness_seconds)

    def transferred(self, source: str, seconds: float) -> None:
        for each in self._observers:
            each.transferred(source, seconds)

    def settled(self, job: Job, outcome: Outcome, state: State) -> None:
        for each in self._observers:
            each.settled(job, outcome, state)

    def trouble(self, part: str, is_on: bool) -> None:
        for each in self._observers:
            each.trouble(part, is_on)

    def changed(self, report: Report) -> None:
        for each in self._observers:
            each.changed(report)
