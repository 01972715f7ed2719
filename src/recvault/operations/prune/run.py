"""One prune of one source: settle what a kill left open, then prove, record and delete, a batch after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from recvault.app.runtime import Runtime
from recvault.errors import Interrupted, RecvaultError, UnknownName
from recvault.ledger import KeySet, PruneCandidate, alone_pruning
from recvault.log.lines import get_logger
from recvault.operations.manifests.text import Partition
from recvault.operations.prune.deleting import Deleter
from recvault.operations.prune.deletion_records import IS_AWAY, Deletion, DeletionOutcome, PruneRecords
from recvault.operations.prune.guards import Guards
from recvault.operations.prune.manifested import Manifested
from recvault.operations.prune.prune_rule import Proven, PruneRule
from recvault.operations.prune.prune_summary import PruneSummary
from recvault.providers.base import deletes
from recvault.providers.calendar import moment_before

log = get_logger("recvault.operations.prune")

MOST = 1_000  # recordings a run asks to delete, unless it is told otherwise
_TOGETHER = 100  # recordings proven, recorded and deleted as one batch: a proof is at most so old
_SHARE = 0.25  # of the source's requests per second, within the account's budget


class Prune:
    """Made for one run over one source."""

    def __init__(
        self, runtime: Runtime, name: str, older_than: timedelta, *, limit: int = MOST, dry_run: bool = False
    ) -> None:
        self.runtime, self.name, self.dry_run = runtime, name, dry_run
        now = runtime.clock()
        self.summary = PruneSummary(
            source=name, started_at=now, before=moment_before(now, older_than), limit=limit, dry_run=dry_run
        )

    def run(self) -> PruneSummary:
        """Prune each account. An account that fails does not stop the others."""
        provider = self.runtime.lines(self.name).provider
        if not deletes(provider):
            raise UnknownName(
                f"{self.name}: {provider.name} cannot delete recordings",
                "its provider does not declare `deletes`: delete them at the provider's own console",
            )
        accounts = dict.fromkeys([provider.account_id, *self.runtime.ledger.ask.accounts(self.name)])
        threads = self.runtime.settings.transfer.workers
        with (
            alone_pruning(self.runtime.settings.ledger.path),
            ThreadPoolExecutor(threads, thread_name_prefix="proofs") as provers,
        ):
            for account_id in accounts:
                try:
                    _Account(self, account_id, provers).run()
                except Interrupted:
                    self.summary.interrupted = True
                    break
                except RecvaultError as error:
                    log.warning("prune.failed", source=self.name, account_id=account_id, error=str(error))
                    self.summary.failed_by(account_id, error)
        self.summary.finished_at = self.runtime.clock()
        return self.summary


class _Account:
    """One account of the source."""

    def __init__(self, prune: Prune, account_id: str, provers: ThreadPoolExecutor) -> None:
        runtime, name = prune.runtime, prune.name
        line, rate = runtime.lines(name), runtime.source(name).requests_per_second * _SHARE
        self._runtime, self._summary, self._dry_run = runtime, prune.summary, prune.dry_run
        self._source, self._account_id, self._provers = name, account_id, provers
        self._provider = line(account_id).provider
        self._reader = runtime.store.reader()
        self._session = line.deletions(account_id, rate, runtime.stop)
        self._deleter = Deleter(self._provider, self._session)
        self._records = PruneRecords(runtime.records, self._provider.provider, account_id)
        self._guards = Guards(runtime.records)

    def run(self) -> None:
        """Settle, then prune until the limit."""
        try:
            if not self._dry_run:
                self._settle()
            with KeySet() as known:
                partition = Partition.of(self._provider.provider, self._account_id)
                rule = self._rule(Manifested.of(self._runtime, partition, known))
                for batch in self._batches(rule):
                    self._prune(rule, batch)
        finally:
            self._summary.requests += self._session.count.requests

    # -- what an earlier run left --------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Ask about every deletion that a kill left open, and record what came of it."""
        for intent in self._records.open_intents():
            try:
                left = self._records.intended(intent)
            except ValueError as error:
                log.error("prune.unreadable", key=intent, error=str(error))
                continue
            outcomes = [self._deleter.ask(identity, call_id) for identity, call_id in left]
            self._conclude(intent, outcomes)
            self._summary.settled += sum(each.deletion in IS_AWAY for each in outcomes)

    # -- what may be deleted -------------------------------------------------------------------------------------------

    def _rule(self, manifests: Manifested) -> PruneRule:
        return PruneRule(
            reader=self._reader,
            keys=self._runtime.keys,
            provider=self._provider,
            formats=self._runtime.source(self._source).formats,
            before=self._summary.before,
            manifests=manifests,
            head=manifests.head,
            held=self._guards.is_held,
            erased=self._guards.is_erased,
            source=self._source,
        )

    def _batches(self, rule: PruneRule) -> Iterator[list[PruneCandidate]]:
        """Yield the candidates that may pass, as many at a time as one batch may delete."""
        for page in self._runtime.ledger.pruned.candidates(self._source, self._account_id, self._summary.before):
            while page:
                self._runtime.stop.check()
                self._guards.look()
                batch: list[PruneCandidate] = []
                while page and len(batch) < min(_TOGETHER, self._left):
                    candidate = page.pop(0)
                    self._summary.checked += 1
                    if reason := rule.refused(candidate):
                        self._summary.skipped[reason] += 1
                    else:
                        batch.append(candidate)
                yield batch
                if not self._left:
                    self._summary.limit_reached = True
                    return

    @property
    def _left(self) -> int:
        """How many this run may still ask to delete."""
        summary = self._summary
        return summary.limit - summary.eligible - sum(summary.deletions.values())

    # -- deleting ------------------------------------------------------------------------------------------------------

    def _prune(self, rule: PruneRule, batch: Sequence[PruneCandidate]) -> None:
        """Prove a batch, and delete what is proven."""
        proven: list[Proven] = []
        for each in self._provers.map(rule.proven, batch):
            self._runtime.stop.check()  # a sign of life, too: large media may have been read
            reason = each if isinstance(each, str) else rule.unlisted(each)
            if reason is not None:
                self._summary.skipped[reason] += 1
            elif isinstance(each, Proven):
                proven.append(each)
        if self._dry_run:
            self._summary.eligible += len(proven)
            for each in proven:
                self._summary.took(each)
        elif proven:
            self._delete(list(self._still(proven)))

    def _still(self, proven: Sequence[Proven]) -> Iterator[Proven]:
        """Yield what no hold or erasure came for meanwhile: to read the media of a batch may take hours."""
        self._guards.look()
        for each in proven:
            identity = each.candidate.expected.identity
            if self._guards.is_held(identity):
                self._summary.skipped["held"] += 1
            elif self._guards.is_erased(identity):
                self._summary.skipped["erasure"] += 1
            else:
                yield each

    def _delete(self, proven: Sequence[Proven]) -> None:
        """Record the intent, delete, record what came of it. An error ends the account's work after that."""
        if not proven:
            return
        intent = self._records.intend([each.intent for each in proven], self._runtime.clock())
        outcomes: list[DeletionOutcome] = []
        error: RecvaultError | None = None
        for each in proven:
            try:
                self._runtime.stop.check()
                outcome = self._deleter.delete(each.sidecar.recording)
            except RecvaultError as ended:
                error = ended
                break
            outcomes.append(outcome)
            self._summary.came(outcome)
            if outcome.deletion in IS_AWAY:
                self._summary.took(each)
        self._conclude(intent, outcomes if error is None else [*outcomes, *self._open(proven, len(outcomes), error)])
        if error is not None:
            raise error

    def _open(self, proven: Sequence[Proven], done: int, error: RecvaultError) -> Iterator[DeletionOutcome]:
        """Return the outcomes after an error: the one that met it is uncertain, the others were not asked for."""
        for place, each in enumerate(proven[done:]):
            deletion = Deletion.KEPT if place else Deletion.UNKNOWN
            message = f"{'not asked for' if place else 'not known'}: {error.message}"
            yield DeletionOutcome(identity=each.candidate.expected.identity, deletion=deletion, message=message)

    def _conclude(self, intent: str, outcomes: Sequence[DeletionOutcome]) -> None:
        """Note in the ledger what is gone, then put the record: after a kill in between, the intent is still open."""
        now = self._runtime.clock()
        self._runtime.ledger.pruned.mark([each.identity for each in outcomes if each.deletion in IS_AWAY], now)
        self._records.conclude(intent, outcomes, now)
        for each in outcomes:
            provider, account_id, recording_id = each.identity
            log.info(
                "prune.concluded",
                source=self._source,
                provider=provider,
                account_id=account_id,
                recording_id=recording_id,
                deletion=each.deletion.value,
            )
