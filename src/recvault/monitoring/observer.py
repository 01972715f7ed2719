"""The interface of everything that is notified during work: metrics, terminal output, progress, the dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recvault.models import Job, Outcome, State

if TYPE_CHECKING:  # worker processes load this module, but no ledger
    from recvault.monitoring.report import Report


class Observer:
    """Notified of events, from any thread. Every method does nothing: override those that matter."""

    def polled(self, source: str, account_id: str, seconds: float, error: str | None) -> None:
        """A scan of an account's list ended; `error` is the class of its error, None for success."""

    def found(self) -> None:
        """A page was registered: recordings may be due."""

    def missed(self, source: str, recordings: int, lateness_seconds: float) -> None:
        """A reconcile ended: it found recordings that polls had missed; `lateness_seconds` is the largest lateness."""

    def transferred(self, source: str, seconds: float) -> None:
        """An attempt ended after so many seconds."""

    def settled(self, job: Job, outcome: Outcome, state: State) -> None:
        """An attempt's outcome was stored, with the recording's new state."""

    def trouble(self, part: str, is_on: bool) -> None:
        """The bucket or the ledger became unusable, or usable again."""

    def changed(self, report: Report) -> None:
        """The report of the running pass changed, or is complete."""


class Observers(Observer):
    """Notifies several observers, in this order."""

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
