"""What outcomes mean beyond their recording: they are counted, logged in one line each, and may pause other work."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from recvault.discovery.source import Source
from recvault.dispatch.dispatcher import Dispatch
from recvault.dispatch.doubts import Doubts
from recvault.errors import ConfigError, CredentialsRefused, RecvaultError, StoreRefused, StoreUnavailable, Unavailable
from recvault.log.lines import get_logger
from recvault.models import CREDENTIALS_REFUSED, MISSING, Failure, Job, Outcome, Receipt, State, Verdict
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import PARTIAL, AccountReport, Report
from recvault.transfer import verdicts

log = get_logger("recvault.dispatch.outcomes")
_written = logging.getLogger("recvault.dispatch.outcomes")

_MOSTLY = 3  # number of missing recordings from which a majority of them is an error of its own
_STORE_PATIENCE = 8  # consecutive transfers refused by the store, after which no more are started
_MISSING_HINT = (
    "check base_url and the account's permissions, and look at one in the provider's console; each is checked again "
    "before it counts as gone, and `recvault retry ID` checks one that does"
)
_STORE_CODES = {
    verdicts.STORE_UNAVAILABLE: StoreUnavailable.exit_code,
    verdicts.SPOOL_FULL: StoreUnavailable.exit_code,
    verdicts.STORE_REFUSED: StoreRefused.exit_code,
    verdicts.CONFIG_WRONG: ConfigError.exit_code,
}


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """Handles each stored outcome. Pauses `dispatch` where needed."""

    sources: Sequence[Source]
    report: Report
    observer: Observer
    rest_seconds: float = math.inf  # pause before a source that refused its credentials is used again
    trouble: str | None = None  # of the store itself: transfers are paused
    doubts: Doubts | None = None
    dispatch: Dispatch = field(init=False)
    _strikes: int = 0
    _vanished: Counter[tuple[str, str]] = field(default_factory=Counter)  # listed, but not found
    _found: Counter[tuple[str, str]] = field(default_factory=Counter)

    def settled(self, job: Job, outcome: Outcome, state: State) -> None:
        """Count a stored outcome, log it in one line, and apply what it means for others."""
        if self.doubts is not None:
            self.doubts.ended(job, outcome)
        recording = outcome.recording
        row = self.report.account(job.source, recording.provider, recording.account_id)
        if isinstance(outcome, Receipt):
            self._strikes = 0
            self._found[job.source, recording.account_id] += 1
            if outcome.already_archived:
                row.already_archived += 1
            else:
                row.archived += 1
                row.bytes += outcome.bytes
            if outcome.taken:  # something else writes under our keys: tell the operator
                self.report.codes.add(PARTIAL)
        else:
            row.gone += state is State.GONE
            row.external += state is State.EXTERNAL
            row.missing += outcome.reason == MISSING
            if state is State.GONE or outcome.reason == MISSING:
                self._count_vanished(row)
            self._act_on(job, outcome)
        self.observer.settled(job, outcome, state)
        _say(job, outcome, state)
        self.observer.changed(self.report)

    def _count_vanished(self, row: AccountReport) -> None:
        """Warn once if more recordings of an account are missing than are found."""
        key = (row.source, row.account_id)
        self._vanished[key] += 1
        if self._vanished[key] == _MOSTLY and self._is_mostly_gone(row):
            log.warning("transfer.mostly_missing", source=row.source, account_id=row.account_id, hint=_MISSING_HINT)

    def _is_mostly_gone(self, row: AccountReport) -> bool:
        key = (row.source, row.account_id)
        return self._vanished[key] >= _MOSTLY and self._vanished[key] > self._found[key]

    def tell_missing(self, row: AccountReport) -> None:
        """Report a pass that misses more recordings than it finds as a failure: exit 3."""
        if row.error is None and self._is_mostly_gone(row):
            key = (row.source, row.account_id)
            vanished, tried = self._vanished[key], self._vanished[key] + self._found[key]
            words = f"{vanished:,} of {tried:,} listed recordings are not found ({_MISSING_HINT})"
            self.report.failed(row.source, row.provider, row.account_id, words, PARTIAL)

    def store_failed(self, error: RecvaultError) -> None:
        """The bucket accepts nothing now: due recordings stay due, listing and registering continue."""
        self._pause(str(error), error.exit_code)

    def store_works(self) -> None:
        """Resume transfers: the bucket accepts objects again."""
        self.trouble, self._strikes = None, 0
        self.dispatch.paused = False
        self._note_trouble()
        log.info("store.recovered")

    def _act_on(self, job: Job, failure: Failure) -> None:
        """Act on a failure that concerns more than its recording."""
        if failure.reason == verdicts.UNEXPECTED:
            self.report.codes.add(RecvaultError.exit_code)
        elif failure.reason == CREDENTIALS_REFUSED:
            recording, code = failure.recording, CredentialsRefused.exit_code
            self.report.failed(job.source, recording.provider, recording.account_id, failure.message, code)
            if not any(source.subaccounts for source in self.sources if source.name == job.source):
                self.dispatch.rest(job.source, self.rest_seconds)
        elif failure.reason == verdicts.RESTING:
            recording = failure.recording
            self.report.failed(
                job.source, recording.provider, recording.account_id, failure.message, Unavailable.exit_code
            )
            self.dispatch.rest(job.source, failure.retry_after or 0.0)
        elif failure.reason in _STORE_CODES:
            self._strikes += 1
            code = _STORE_CODES[failure.reason]
            if self._strikes >= (_STORE_PATIENCE if code == StoreUnavailable.exit_code else 1):
                self._pause(failure.message, code)

    def _pause(self, trouble: str, code: int) -> None:
        if self.trouble is None:
            self.trouble = trouble
            self.dispatch.paused = True
            self.report.codes.add(code)
            self._note_trouble()
            log.error("store.failed", error=trouble)

    def _note_trouble(self) -> None:
        self.observer.trouble("bucket", self.trouble is not None)


def _say(job: Job, outcome: Outcome, state: State) -> None:
    """Log the attempt's canonical line, and a warning for each oddity."""
    recording = outcome.recording
    names = {
        "source": job.source,
        "provider": recording.provider,
        "account_id": recording.account_id,
        "recording_id": recording.recording_id,
        "attempt": job.attempt,
    }
    if isinstance(outcome, Receipt):
        if _written.isEnabledFor(
            logging.INFO
        ):  # checked first: structlog does as much work for dropped events as for written ones
            media = [f"{medium.media_format}:{medium.sha256[:12]}" for medium in outcome.media]
            event = "transfer.already_archived" if outcome.already_archived else "transfer.archived"
            log.info(event, **names, bytes=outcome.bytes, media=media, key=outcome.sidecar_key)
        for medium in outcome.media:
            if medium.check.status == "suspect":
                log.warning("transfer.suspect", **names, key=medium.key, reason=medium.check.reason)
        for missing in outcome.missing:
            log.warning("transfer.format_missing", **names, media_format=missing.media_format, reason=missing.reason)
        if outcome.taken:
            log.warning("transfer.key_taken", **names, keys=list(outcome.taken), key=outcome.sidecar_key)
        return
    if state is State.ARCHIVED:
        log.info("transfer.nothing_more", **names, reason=outcome.reason, message=outcome.message)
        return
    level = log.info if outcome.verdict not in (Verdict.RETRY, Verdict.FATAL) else log.warning
    level(f"transfer.{state}", **names, reason=outcome.reason, message=outcome.message)
