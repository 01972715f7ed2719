"""Recording to receipt: fetch, put the media, put the sidecar.

Invariants: no object stands under a final key with other bytes than the provider served; a sidecar exists only where
all its media are durable, with the size and SHA-256 that it names. Hence the write order: data first, reference last.
What goes wrong comes back as a Failure, which is data: the ledger decides what follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from typing import cast

from recvault import archive
from recvault.archive import KeyTemplate
from recvault.errors import RecvaultError
from recvault.media import CONTENT_TYPES, MediaFacts
from recvault.models import (
    MISSING,
    Doubt,
    Earlier,
    Failure,
    Job,
    Look,
    MediaObject,
    MissingFormat,
    Outcome,
    Phase,
    Receipt,
    Recording,
    Verdict,
)
from recvault.store import ObjectStore
from recvault.transfer.fetch import SECOND_LOOK, Fetched, Line, Looking, fetch, formats, refreshed
from recvault.transfer.placing import Placing
from recvault.transfer.spool import SpoolPlace
from recvault.transfer.verdicts import Settled, failure_of


@dataclass(frozen=True, slots=True)
class Commit:
    """A sidecar that stands, and those of its media that do not."""

    receipt: Receipt
    lost: tuple[MediaObject, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Carries out jobs. Thread-safe; built once per process; called with a Job, returns an Outcome."""

    store: ObjectStore
    keys: KeyTemplate
    line: Callable[[str, str], Line]  # of a source's name and an account's id
    place: SpoolPlace
    clock: Callable[[], datetime]

    def __call__(self, job: Job) -> Outcome:
        """Transfer one recording. Raises only what is no failure of a recording: a bug."""
        attempt = _Attempt(self, job)
        try:
            try:
                return attempt.run()
            except Settled as settled:
                return attempt.rescued(settled) or attempt.failure(settled)
        except RecvaultError as error:
            return attempt.failure(error)


class _Attempt:
    """One job, once."""

    def __init__(self, parts: Transfer, job: Job) -> None:
        self._parts, self._job = parts, job
        self._store = parts.store
        self._placing = Placing(store=parts.store, keys=parts.keys, job=job)
        self._looking = Looking((*_archived_looks(job), *job.looks), parts.clock())
        self._is_served = False  # some format came

    def run(self) -> Receipt:
        """The recording as it stands at the end. Raises Settled, or what failed."""
        job, commit = self._job, self._committed()
        if commit is not None and not commit.lost and not job.again:
            return commit.receipt
        line = self._parts.line(job.source, job.recording.account_id)
        recording = job.recording
        if _must_be_read_again(job, line):
            recording = refreshed(line, recording)
        if commit is not None and commit.lost:
            return self._restored(line, recording, commit)
        media, missing, fetched_from, recording = self._media(line, recording)
        if commit is not None and {each.key for each in media} <= {each.key for each in commit.receipt.media}:
            return commit.receipt  # nothing more came
        return self._commit(line, recording, media, fetched_from, missing)

    def failure(self, error: RecvaultError | Settled) -> Failure:
        """What an error comes to, and what this attempt leaves behind."""
        failed = failure_of(self._job, error)
        doubt = failed.doubt
        if doubt is Doubt.ANSWERED and self._is_served:
            doubt = None  # the service works: it served another format just now
        return replace(failed, may_have_put=self._placing.begun, looks=self._looking.seen, doubt=doubt)

    def rescued(self, settled: Settled) -> Receipt | None:
        """What an earlier attempt had stored of a recording that its provider deleted before the commit.

        The proven bytes stand under its keys: they are committed now, and are no orphans. What no attempt of this
        ledger can have put is not: nothing proves it any more.
        """
        job, is_missing = self._job, settled.reason == MISSING
        if not (settled.verdict is Verdict.GONE or is_missing) or not job.maybe_archived or job.again:
            return None
        recording, line = job.recording, self._parts.line(job.source, job.recording.account_id)
        names = [name for name in self._placing.standing_endings(recording) if name != "json"]
        wanted = [name for name in line.formats if name in recording.formats] or recording.formats[:1]
        found = [self._adopted(line, recording, name) for name in names]
        media = tuple(each for each in found if each is not None)
        if is_missing and not job.confirms and not set(wanted) <= {each.media_format for each in media}:
            return None  # the rest may be there in an hour
        if not media:
            return None
        if (commit := self._committed()) is not None:
            return None if commit.lost else commit.receipt  # what is lost of a commit, no other can replace
        return self._commit(line, recording, media, None)

    def _media(
        self, line: Line, recording: Recording
    ) -> tuple[tuple[MediaObject, ...], tuple[MissingFormat, ...], str | None, Recording]:
        """Fetch and put every wanted format. One that is given up is missing, where another is there."""
        media: list[MediaObject] = []
        missing: list[MissingFormat] = []
        failures: list[tuple[RecvaultError | Settled, Failure]] = []
        fetched_from: str | None = None
        wanted = formats(line.formats, recording.formats)
        for media_format in wanted:
            try:
                with fetch(self._parts.place, line, recording, media_format, self._looking) as fetched:
                    if fetched.encryption != recording.encryption:
                        recording = replace(recording, encryption=fetched.encryption)
                    self._is_served = True
                    kept = self._kept(fetched.media_format, fetched)
                    medium = kept or self._put(line, recording, fetched.media_format, fetched)
                    if medium.key not in {each.key for each in media}:  # both formats may come as one
                        media.append(medium)
                    fetched_from = fetched_from or fetched.fetched_from
            except (RecvaultError, Settled) as error:
                failed = failure_of(self._job, error)
                # Where it is in doubt whose trouble it is, the other formats tell: they are asked for before it counts.
                if len(wanted) == 1 or (failed.doubt is None and not self._is_given_up(line, failed)):
                    raise
                failures.append((error, failed))
                missing.append(MissingFormat(media_format=media_format, reason=failed.reason))
        self._raise_what_is_open(line, failures, missing)
        if failures and not media:
            raise failures[0][0]
        return tuple(media), tuple(missing), fetched_from, recording

    def _raise_what_is_open(
        self, line: Line, failures: Sequence[tuple[RecvaultError | Settled, Failure]], missing: Sequence[MissingFormat]
    ) -> None:
        """Raise the first failure of a format that may still come."""
        still_open = [
            error
            for (error, failed), lacking in zip(failures, missing, strict=True)
            if not (self._is_lost(line, lacking) if _is_away(failed) else self._is_given_up(line, failed))
        ]
        if still_open:
            raise still_open[0]

    def _is_lost(self, line: Line, lacking: MissingFormat) -> bool:
        """Whether one format was out of reach for so long, and so often, while others came, that it is given up."""
        if not self._is_served:
            return False
        times, since = self._looking.away(lacking.media_format)
        return times >= line.max_attempts and since >= line.give_up_after

    def _is_given_up(self, line: Line, failed: Failure) -> bool:
        """Whether the ledger will try this no more: the recording would be dead, and its other formats uncommitted."""
        job = self._job
        if failed.verdict is Verdict.RETRY:
            return not _is_away(failed) and failed.counted and job.faults + 1 >= line.max_attempts
        if failed.verdict is Verdict.NOT_READY and job.watched_since is not None:
            return self._parts.clock() - job.watched_since >= line.give_up_after
        return False

    def _kept(self, media_format: str, fetched: Fetched) -> MediaObject | None:
        """The medium that it is archived as already, where what came now is no more than that."""
        if not self._job.again or self._job.standing is None:
            return None
        same_first = sorted(self._job.standing.media, key=lambda each: each.sha256 != fetched.spool.sha256)
        for known in same_first:
            if known.media_format == media_format:
                better = known.check.status == "suspect" and fetched.facts.check.status != "suspect"
                more = better or fetched.spool.bytes > known.bytes
                return None if more and fetched.spool.sha256 != known.sha256 else known
        return None

    def _put(self, line: Line, recording: Recording, media_format: str, fetched: Fetched) -> MediaObject:
        spool, facts = fetched.spool, fetched.facts
        medium = self._described(recording, media_format, size=spool.bytes, sha256=spool.sha256, facts=facts)
        medium = replace(medium, requested=fetched.requested)
        return self._placing.medium(
            recording,
            medium,
            cast("BytesIO", spool.file),
            lambda key: self._adoptable(line, recording, media_format, key),
        )

    def _restored(self, line: Line, recording: Recording, commit: Commit) -> Receipt:
        """Put back the media that a sidecar names and that are gone; other bytes than those stand beside it."""
        media = {each.key: each for each in commit.receipt.media}
        fetched_from: str | None = None
        for medium in commit.lost:
            asked = medium.requested.media_format if medium.requested else medium.media_format
            with fetch(self._parts.place, line, recording, asked, self._looking) as fetched:
                same = fetched.spool.sha256 == medium.sha256
                if not same or not self._placing.put(recording, medium, cast("BytesIO", fetched.spool.file)):
                    media[medium.key] = self._put_beside(line, recording, medium, fetched)
                    fetched_from = fetched.fetched_from
        if tuple(media.values()) == commit.receipt.media:
            return replace(commit.receipt, already_archived=False)
        return self._commit(line, recording, tuple(media.values()), fetched_from, earlier=commit.receipt)

    def _put_beside(self, line: Line, recording: Recording, lost: MediaObject, fetched: Fetched) -> MediaObject:
        """Never under the lost one's key: its sidecar names other bytes there."""
        parts = self._parts.keys.read(lost.key)
        spool = fetched.spool
        medium = self._described(
            recording, fetched.media_format, size=spool.bytes, sha256=spool.sha256, facts=fetched.facts
        )
        return self._placing.medium(
            recording,
            replace(medium, requested=fetched.requested),
            cast("BytesIO", spool.file),
            lambda key: None,
            after=parts.edition if parts is not None else 0,
        )

    def _described(
        self, recording: Recording, media_format: str, *, size: int, sha256: str, facts: MediaFacts, key: str = ""
    ) -> MediaObject:
        """A medium as it stands in the bucket, or is about to."""
        return MediaObject(
            key=key,
            media_format=media_format,
            bytes=size,
            sha256=sha256,
            content_type=CONTENT_TYPES.get(media_format, "application/octet-stream"),
            codec=facts.codec or recording.codec,
            sample_rate=facts.sample_rate,
            channels=facts.channels,
            duration_seconds=facts.duration_seconds,
            check=facts.check,
        )

    def _adopted(self, line: Line, recording: Recording, media_format: str) -> MediaObject | None:
        """What an earlier attempt put of a format: the last that stands."""
        for key in self._placing.standing_editions(recording, media_format):
            return self._adoptable(line, recording, media_format, key)
        return None

    def _adoptable(self, line: Line, recording: Recording, media_format: str, key: str) -> MediaObject | None:
        """Other bytes stand under the key, which an earlier attempt may have put: they must prove to be what it put.

        Some providers encode on demand, so a second download may differ. Bytes that were proven and stored before a
        crash are as good as the new ones.
        """
        standing = self._job.standing
        known = {each.key: each for each in standing.media} if standing else {}
        before = known.get(key)
        if self._job.again and before:
            return None
        found = self._store.head(key)
        ours = archive.object_metadata(recording, found.sha256 or "") if found else {}
        if found is None or any(found.metadata.get(name) != value for name, value in ours.items()):
            return None
        prober, digest = line.proof.probe(media_format, recording.encryption), hashlib.sha256()
        for chunk in self._store.stream(key):
            prober.feed(chunk)
            digest.update(chunk)
        if digest.hexdigest() != found.sha256 or (before and before.sha256 != found.sha256):
            return None
        facts = prober.finish(
            duration_seconds=recording.duration_seconds, size_bytes=recording.size_bytes, channels=recording.channels
        )
        medium = self._described(
            recording, media_format, size=found.bytes, sha256=digest.hexdigest(), facts=facts, key=key
        )
        return replace(medium, requested=before.requested if before else None)

    def _commit(
        self,
        line: Line,
        recording: Recording,
        media: tuple[MediaObject, ...],
        fetched_from: str | None,
        missing: tuple[MissingFormat, ...] = (),
        earlier: Receipt | None = None,
    ) -> Receipt:
        """Write the sidecar: from here on the recording is archived, whatever happens to us."""
        receipt = Receipt(
            source=self._job.source,
            recording=recording,
            sidecar_key="",
            media=media,
            archived_at=self._parts.clock(),
            missing=missing,
        )
        standing = earlier or self._job.standing

        def write(placed: Receipt) -> bytes:
            return archive.sidecar_bytes(
                _after(standing, placed, again=self._job.again),
                attempts=self._job.attempt,
                fetched_from=fetched_from,
                formats_wanted=line.formats,
            )

        return _after(standing, self._placing.sidecar(receipt, write), again=self._job.again)

    def _committed(self) -> Commit | None:
        """An earlier commit of this ledger: its sidecar stands, and of its media each as it names it, or is lost."""
        job, recording = self._job, self._job.recording
        if not job.maybe_archived:
            return None
        key = job.standing.sidecar_key if job.standing else self._parts.keys(recording, "json")
        receipt = self._placing.commit_at(recording, key)
        if receipt is None or not self._is_known(receipt):
            return None
        lost = []
        for medium in receipt.media:
            found = self._store.head(medium.key)
            if found is None:
                lost.append(medium)
            elif found.bytes != medium.bytes or (found.sha256 or medium.sha256) != medium.sha256:
                return None
        return Commit(receipt, tuple(lost))

    def _is_known(self, receipt: Receipt) -> bool:
        """Whether it is the one that an earlier attempt wrote. Of several, only the provider's bytes can tell."""
        if self._job.standing is not None:
            return self._job.standing.sidecar_sha256 in (None, receipt.sidecar_sha256)
        second = self._parts.keys(self._job.recording, "json", 2)
        return self._store.head(second) is None


def _is_away(failed: Failure) -> bool:
    """Whether it was nobody's fault as far as is known: it counts against no recording."""
    return failed.doubt is Doubt.AWAY


def _archived_looks(job: Job) -> tuple[Look, ...]:
    """What is archived was looked at for long enough: where no more comes than that, there is nothing to wait for."""
    if not job.again or job.standing is None:
        return ()
    at = job.standing.archived_at - SECOND_LOOK
    return tuple(
        Look(media_format=each.media_format, bytes=each.bytes, sha256=each.sha256, seen_at=at)
        for each in job.standing.media
    )


def _after(standing: Receipt | None, receipt: Receipt, *, again: bool) -> Receipt:
    """Say before which edition this one stood; its own sidecar written anew is none."""
    if standing is None or standing.sidecar_key == receipt.sidecar_key:
        return receipt
    earlier = Earlier(sidecar_key=standing.sidecar_key, sidecar_sha256=standing.sidecar_sha256, replaced=not again)
    return replace(receipt, earlier=earlier)


def _must_be_read_again(job: Job, line: Line) -> bool:
    """Whether the row at hand may be out of date: not final when it was read, or of a list that cannot tell."""
    recording = job.recording
    if recording.phase is not Phase.COMPLETE or (line.provider.media_url_expires and not recording.media_urls):
        return True
    return recording.status is None and (job.attempt > 1 or recording.duration_seconds is None)
