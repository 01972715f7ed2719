"""Whether a failure is the recording's own or shared by its source. Only its own counts as an attempt.

Invariant: an outage costs no recording an attempt. Of a failure that may be the service's nothing is counted when it is
written down. It is counted afterwards where others are archived that began later, or where no other recording of the
source fails like it: not while the account's list fails, too.

A doubt ends: within `give_up_after` as many others must be archived as fail alike. Where a recording had failed for
longer, while the account's own list was answered all that time, one other is enough, or that none has joined those that
fail alike for as long: a few recordings that are refused for good in a quiet account come to an end with a name, and an
outage of a day ends none. One that goes on for longer, and meets more and more recordings, still costs none an attempt.
"""

from __future__ import annotations

import bisect
import itertools
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from recvault.ledger import Ledger, Policy
from recvault.ledger.blame import Alike
from recvault.log.lines import get_logger
from recvault.models import Doubt, Failure, Job, Outcome, State

log = get_logger("recvault.dispatch.doubts")

_CALM_SECONDS = 300.0  # between two times that all which waits for a source is made due sooner

Identity = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Open:
    """A failure whose cause is unknown."""

    number: int  # in the order in which transfers began
    job: Job
    failure: Failure
    at: datetime


@dataclass(slots=True, kw_only=True)
class Doubts:
    """Told of what begins and how it ends, from the thread that settles, but for `begun`."""

    ledger: Ledger
    clock: Callable[[], datetime]
    policies: Mapping[str, Policy]
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _begun: dict[Identity, int] = field(default_factory=dict)
    _open: defaultdict[str, dict[Identity, _Open]] = field(default_factory=lambda: defaultdict(dict))  # by source
    _archived: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # by number, sorted
    _hastened_at: dict[str, float] = field(default_factory=dict)

    def begun(self, job: Job) -> Job:
        """A transfer begins; the job as it is. From any thread."""
        self._begun[job.recording.identity] = next(self._numbers)
        return job

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A transfer ended, and its outcome is written down."""
        if isinstance(outcome, Failure):
            self._failed(job, outcome)
        elif outcome.already_archived:  # of which the service was asked nothing
            self._ended(job)
        else:
            self._archived_now(job)

    def _archived_now(self, job: Job) -> None:
        """Its service works, and what waited for it need not wait much longer."""
        number = self._ended(job)
        bisect.insort(self._archived[job.source], number)
        moment = time.monotonic()
        if moment - self._hastened_at.get(job.source, -math.inf) > _CALM_SECONDS:
            self._hastened_at[job.source] = moment
            if hastened := self.ledger.blame.hasten(job.source, self.clock(), self.policies[job.source]):
                log.info("source.works", source=job.source, due_soon=hastened)

    def _failed(self, job: Job, failure: Failure) -> None:
        """Where it may be the service's doing, that is found out later."""
        identity = job.recording.identity
        if identity in self._open[job.source]:
            self._judge(job.source, [identity])  # by all that was archived since
        number = self._ended(job)
        if failure.doubt is not None and failure.counted:
            self._open[job.source][identity] = _Open(number, job, failure, self.clock())

    def judge(self) -> None:
        """Count those known by now to be a recording's own, after all work has ended."""
        for source, doubts in self._open.items():
            self._judge(source, list(doubts))
            if not doubts:
                self._archived[source].clear()

    def _ended(self, job: Job) -> int:
        self._open[job.source].pop(job.recording.identity, None)
        return self._begun.pop(job.recording.identity, next(self._numbers))

    def _judge(self, source: str, identities: list[Identity]) -> None:
        doubts = self._open[source]
        alike: dict[str, Alike] = {}
        lists: dict[str, bool] = {}
        for identity in identities:
            doubt = doubts[identity]
            account_id, reason = doubt.job.recording.account_id, doubt.failure.reason
            if reason not in alike:
                alike[reason] = self.ledger.blame.alike(source, reason)
            if account_id not in lists:
                lists[account_id] = self.ledger.blame.list_fails(source, account_id, self.clock())
            if lists[account_id] or self._is_its_own(doubt, alike[reason]):
                del doubts[identity]  # it is the account's, or it was counted

    def _is_its_own(self, doubt: _Open, alike: Alike) -> bool:
        """Whether it is; then it is counted. `alike` are those that fail like it, of which nothing more is known."""
        source, recording = doubt.job.source, doubt.job.recording
        archived, policy, blame = self._archived[source], self.policies[source], self.ledger.blame
        later = len(archived) - bisect.bisect_right(archived, doubt.number)
        was_proven, fails_so = blame.is_proven(recording), blame.fails_so(recording, doubt.failure.reason)
        others = alike.count - (fails_so and not was_proven)
        has_lasted = blame.has_lasted(recording, doubt.at, policy)
        is_proven = later >= (1 if has_lasted else max(1, others))
        is_alone = others <= 0 and fails_so and (was_proven or doubt.failure.doubt is Doubt.ANSWERED)
        if not (is_proven or is_alone or (has_lasted and alike.has_not_grown(doubt.at, policy))):
            return False
        if blame.count(recording, self.clock(), policy, proven=is_proven) is State.DEAD:
            names = {"source": source, "account_id": recording.account_id, "recording_id": recording.recording_id}
            log.warning("transfer.dead", **names, reason=doubt.failure.reason, message=doubt.failure.message)
        return True
