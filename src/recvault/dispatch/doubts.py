"""Decide whether a failure is the recording's own or shared by its source. Only its own counts as an attempt.

Invariant: an outage costs no recording an attempt. A failure that may be the service's is stored uncounted. It is
counted later if recordings whose transfer began later are archived, or if the service had answered and no other
recording of the source fails alike; but not while the account's list fails, too.

The number of later ones needed is that of the others that fail alike. It is one if the recording has failed for
`give_up_after`, and the account's list was answered all that time. It is none if, in addition, no recording joined
those that fail alike for as long. So a few permanently refused recordings of a quiet account die with a reason, while
an outage of a day kills none; one that lasts longer and affects ever more recordings still costs none an attempt.
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

_CALM_SECONDS = 300.0  # between two times that what waits for a source is made due sooner

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
    """Gets each start and each outcome: all from the settling thread, except `begun`."""

    ledger: Ledger
    clock: Callable[[], datetime]
    policies: Mapping[str, Policy]
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _begun: dict[Identity, int] = field(default_factory=dict)
    _open: defaultdict[str, dict[Identity, _Open]] = field(default_factory=lambda: defaultdict(dict))  # by source
    _archived: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # by number, sorted
    _hastened_at: dict[str, float] = field(default_factory=dict)

    def begun(self, job: Job) -> Job:
        """Note that a transfer begins; return the job unchanged. From any thread."""
        self._begun[job.recording.identity] = next(self._numbers)
        return job

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Note that a transfer ended, after its outcome is stored."""
        if isinstance(outcome, Failure):
            self._failed(job, outcome)
        elif outcome.already_archived:  # without a request to the service
            self._ended(job)
        else:
            self._archived_now(job)

    def _archived_now(self, job: Job) -> None:
        """Make waiting recordings of the source due sooner: its service works."""
        number = self._ended(job)
        bisect.insort(self._archived[job.source], number)
        moment = time.monotonic()
        if moment - self._hastened_at.get(job.source, -math.inf) > _CALM_SECONDS:
            self._hastened_at[job.source] = moment
            if hastened := self.ledger.blame.hasten(job.source, self.clock(), self.policies[job.source]):
                log.info("source.works", source=job.source, due_soon=hastened)

    def _failed(self, job: Job, failure: Failure) -> None:
        """Remember a failure that may be the service's, to be judged later."""
        identity = job.recording.identity
        if identity in self._open[job.source]:
            self._judge(job.source, [identity])  # against all that was archived since
        number = self._ended(job)
        if failure.doubt is not None and failure.counted:
            self._open[job.source][identity] = _Open(number, job, failure, self.clock())

    def judge(self) -> None:
        """Count the failures now known to be a recording's own, after all work has ended."""
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
                del doubts[identity]  # it is the account's problem, or was counted

    def _is_its_own(self, doubt: _Open, alike: Alike) -> bool:
        """Whether it is; if so, count it. `alike`: the recordings with the same failure of unknown cause."""
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
