"""Adopt the objects of a foreign bucket, one recording at a time, several at once.

Invariants: an object is adopted only if it is proven; a recording's lease is given back if nothing was adopted, so that
a pass fetches it from the provider as ever. Killed anywhere, the same command continues.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from itertools import islice

from recvault.app.opened_store import foreign
from recvault.app.runtime import Runtime
from recvault.custody import Tombstones
from recvault.errors import (
    ConfigError,
    CredentialsRefused,
    Interrupted,
    LedgerDamaged,
    LedgerLocked,
    LedgerUnavailable,
    ProtocolError,
    RecvaultError,
    Resting,
    StoreUnavailable,
    Unavailable,
)
from recvault.models import JSON, Job, Phase, Receipt, Recording, State
from recvault.operations.adopt.adopted import Adopted, Named
from recvault.operations.adopt.by_length import ByLength
from recvault.operations.adopt.matching import Match, Matching
from recvault.operations.adopt.names import may_be_media
from recvault.operations.adopt.proving import ProvenObject, Prover, Unproven
from recvault.store import Foreign, Listed
from recvault.transfer.archive_recording import Transfer, must_be_read_again
from recvault.transfer.attempt import Attempt
from recvault.transfer.earlier_attempts import committed
from recvault.transfer.fetch import Line, formats
from recvault.transfer.listed_row import refreshed
from recvault.transfer.spool import SpoolFull
from recvault.transfer.verdicts import Settled

_TOGETHER = 256  # recordings between two looks for a stop
_MOST_AWAY = 10  # recordings in a row for which the provider does not answer
# These concern more than one recording: the run ends, and the same command continues it.
_OF_ALL = (
    *(ConfigError, CredentialsRefused, Interrupted, Resting, SpoolFull, StoreUnavailable),
    *(LedgerDamaged, LedgerLocked, LedgerUnavailable),
)


class Adopt:
    """Made for one run over one source and one prefix of a bucket."""

    def __init__(
        self, runtime: Runtime, name: str, bucket: str, prefix: str, *, dry_run: bool = False, limit: int | None = None
    ) -> None:
        self._runtime, self._name, self._bucket, self._prefix = runtime, name, bucket, prefix
        self._dry_run, self._limit = dry_run, limit
        self._adopted = Adopted(
            source=name, origin=f"s3://{bucket}/{prefix}", dry_run=dry_run, started_at=runtime.clock()
        )
        self._policies = {name: runtime.listed(name).policy}
        self._erased = Tombstones()
        self._away, self._lock = 0, threading.Lock()

    def run(self) -> Adopted:
        """Adopt what can be adopted. Raises what concerns all: what was adopted until then stays."""
        runtime = self._runtime
        runtime.ledger  # noqa: B018 - opened first: without a ledger nothing is begun
        if not self._dry_run:
            runtime.prepare_store()
        where = runtime.settings
        self._erased = Tombstones.listed(runtime.records)
        with closing(foreign(self._bucket, where.archive, where.transfer, runtime.stop)) as theirs:
            groups, left = Matching(runtime, self._name).groups(self._objects(theirs), may_register=not self._dry_run)
            known, prover = [each for each in groups if not self._is_known(each)][: self._limit], self._prover(theirs)
            self._run(prover, known)
            self._run_unnamed(prover, left[: None if self._limit is None else self._limit - len(known)])
        self._adopted.requests = sum(sum(each.values()) for each in runtime.lines(self._name).answers.values())
        self._adopted.finished_at = runtime.clock()
        return self._adopted

    def _objects(self, theirs: Foreign) -> Iterable[Listed]:
        """Yield the objects that may be media, and are not recvault's own."""
        keys, is_own = self._runtime.keys, self._bucket == self._runtime.settings.archive.bucket
        for each in theirs.listed(self._prefix):
            ours = is_own and (keys.is_reserved(each.key) or keys.read(each.key) is not None)
            if ours or not may_be_media(each.key, each.bytes):
                self._adopted.count(others=1)
            else:
                self._adopted.count(objects=1)
                yield each

    def _is_known(self, group: Match) -> bool:
        if group.is_archived:
            self._adopted.count(already_archived=len(group.keys))
        return group.is_archived

    def _prover(self, theirs: Foreign) -> Prover:
        place = self._runtime.transfer().place
        return Prover(foreign=theirs, place=place, count=lambda sent: self._adopted.count(provider_bytes=sent))

    def _run(self, prover: Prover, matches: Iterable[Match]) -> None:
        one = partial(self._one, self._runtime.transfer(), prover)
        with ThreadPoolExecutor(self._runtime.settings.transfer.workers, thread_name_prefix="adopt") as workers:
            left = iter(matches)
            while some := list(islice(left, _TOGETHER)):
                for _ in workers.map(one, some):
                    self._runtime.stop.check()

    def _run_unnamed(self, prover: Prover, objects: list[Listed]) -> None:
        """Adopt objects without an id in their keys, one after the other."""
        if not objects:
            return
        by_length, transfer = ByLength(self._runtime, self._name, prover), self._runtime.transfer()
        for each in objects:
            self._runtime.stop.check()
            try:
                found = by_length.match(each)
            except Unproven as error:
                self._adopted.name(Named(each.key, None, error.reason, error.message))
                continue
            if found is None:
                self._adopted.count(already_archived=1)
            else:
                self._one(transfer, prover, found)

    def _one(self, transfer: Transfer, prover: Prover, group: Match) -> None:
        """Adopt one recording, and note the result. Raises only what concerns all."""
        self._runtime.stop.check()
        if self._dry_run:
            assert group.recording is not None  # noqa: S101 - only archived ones have none
            job = Job(source=self._name, recording=group.recording, attempt=1, maybe_archived=False)
            self._tried(Attempt(transfer, job), prover, group)
            return
        assert group.row_id is not None  # noqa: S101 - registered before
        ledger, clock = self._runtime.ledger, self._runtime.clock
        taken = ledger.taking.take(group.row_id, clock())
        rows = ledger.ask.find(group.recording_id, self._name) if taken is None else []
        if any(row["id"] == group.row_id and row["state"] == State.ARCHIVED for row in rows):
            self._adopted.count(copies=len(group.keys))
            return
        if taken is None:
            self._name_all(group, "adopt.busy", "another process works on it, or it is archived: run the command again")
            return
        attempt, receipt = Attempt(transfer, taken.job), None
        try:
            receipt = self._tried(attempt, prover, group)
            if receipt is not None:
                ledger.settle([receipt], clock(), self._policies)
        finally:
            if receipt is None:
                with suppress(LedgerLocked, LedgerUnavailable):  # then it is freed with this process
                    ledger.taking.give_back(taken, begun=attempt.placing.begun)

    def _tried(self, attempt: Attempt, prover: Prover, group: Match) -> Receipt | None:
        """Adopt; what goes wrong with this recording alone is named, and None is returned."""
        try:
            receipt = self._adopt(attempt, prover, group)
        except Unproven as error:
            self._name_all(group, error.reason, error.message)
        except Settled as error:
            self._name_all(group, error.reason, error.message)
        except _OF_ALL:
            raise
        except RecvaultError as error:
            self._note_away(error)
            failure = attempt.failure(error)
            self._name_all(group, failure.reason, failure.message)
        else:
            with self._lock:
                self._away = 0
            return receipt
        return None

    def _adopt(self, attempt: Attempt, prover: Prover, group: Match) -> Receipt | None:
        job = attempt.job
        if job.recording.identity in self._erased:
            raise Unproven("adopt.erased", "its erasure was asked for: it must not come back")
        commit = committed(attempt) if job.maybe_archived else None
        if commit is not None and not commit.lost:
            self._adopted.count(already_archived=len(group.keys))
            return commit.receipt
        if commit is not None or job.standing is not None:
            raise Unproven("adopt.lost", "it was archived before and objects are missing: `recvault sync` restores it")
        line, recording = attempt.parts.line(job.source, job.recording.account_id), job.recording
        if recording.phase is not Phase.EXTERNAL and must_be_read_again(job, line):
            recording = refreshed(line, recording)
        with ExitStack() as spools:
            proven = self._proven(prover, line, recording, group, spools)
            if not proven:
                return None
            if self._dry_run:
                self._count(sum(each.fetched.spool.bytes for each in proven))
                return None
            found = [attempt.put(line, recording, each.fetched, each.origin) for each in proven]
            media = {each.key: each.altered(requested=None) for each in found}
            receipt = attempt.commit(line, recording, tuple(media.values()), None, adopted=self._said(proven))
        self._count(receipt.bytes)
        return receipt

    def _proven(
        self, prover: Prover, line: Line, recording: Recording, group: Match, spools: ExitStack
    ) -> list[ProvenObject]:
        """Prove an object for each wanted format, the wanted order first; none if a format is missing."""
        wanted = formats(line.formats, recording.formats) if recording.formats else ()
        is_any = line.provider.one_format or not wanted
        found: dict[str, ProvenObject] = {}
        for key in group.keys:
            if len(found) >= max(1, 0 if is_any else len(wanted)):
                self._adopted.count(copies=1)
                continue
            try:
                proven = prover.prove(line, recording, key, group.matched_by)
            except Unproven as error:
                self._adopted.name(Named(key, group.recording_id, error.reason, error.message))
                continue
            spools.callback(proven.fetched.spool.close)
            kind = proven.fetched.media_format
            if kind in found:
                self._adopted.count(copies=1)
            elif is_any or kind in wanted:
                found[kind] = proven
            else:
                message = f"it is {kind}, and {self._name} archives {', '.join(wanted)}"
                self._adopted.name(Named(key, group.recording_id, "adopt.format", message))
        if is_any or len(found) == len(wanted):
            return [found[each] for each in wanted if each in found] if not is_any else list(found.values())
        message = f"{self._name} archives {' and '.join(wanted)}, of which only {' and '.join(found)} is there"
        for proven in found.values():
            self._adopted.name(Named(proven.origin.key, group.recording_id, "adopt.format", message))
        return []

    def _said(self, proven: list[ProvenObject]) -> JSON:
        """Return what the sidecar says of the adoption."""
        at = self._runtime.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"from": str(proven[0].origin), "at": at, "proof": [each.proof for each in proven]}

    def _count(self, size: int) -> None:
        self._adopted.count(adopted=1, bytes=size)

    def _name_all(self, group: Match, reason: str, message: str) -> None:
        for key in group.keys:
            self._adopted.name(Named(key, group.recording_id, reason, message))

    def _note_away(self, error: RecvaultError) -> None:
        """Raise the error if the provider has not answered for several recordings in a row."""
        if isinstance(error, Unavailable) and not isinstance(error, ProtocolError):
            with self._lock:
                self._away += 1
                if self._away >= _MOST_AWAY:
                    raise error
