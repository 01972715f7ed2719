"""Recording to receipt: fetch, put the media, put the sidecar.

Invariants: no object stands under a final key with other bytes than the provider served; a sidecar exists only where
all its media are durable, with the size and SHA-256 that it names. Hence the write order: data first, reference last.
What goes wrong comes back as a Failure, which is data: the ledger decides what follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from typing import cast

from recvault import archive
from recvault.archive import KeyTemplate
from recvault.cold import cold_commit
from recvault.errors import Cold, KeyConflict, RecvaultError
from recvault.fetch import Fetched, Line, fetch, formats, refreshed
from recvault.media import CONTENT_TYPES, MediaFacts
from recvault.models import MISSING, Job, MediaObject, Outcome, Phase, Receipt, Recording, Verdict
from recvault.presence import Presence
from recvault.spool import SpoolPlace
from recvault.store import ObjectStore, Put
from recvault.verdicts import Settled, failure_of


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
    presence: Presence | None = None  # spares first attempts a question each; without it every one is asked

    def __call__(self, job: Job) -> Outcome:
        """Transfer one recording. Raises only what is no failure of a recording: a bug."""
        try:
            try:
                return self._transfer(job)
            except Settled as settled:
                rescued = self._rescued(job, settled)
                return rescued or failure_of(job, settled)
        except RecvaultError as error:
            return failure_of(job, error)

    def _transfer(self, job: Job) -> Receipt:
        commit = self._committed(job) if self._may_be_committed(job) else None
        if commit is not None and not commit.lost:
            return commit.receipt
        line = self.line(job.source, job.recording.account_id)
        recording = job.recording
        if _must_be_read_again(job, line):
            recording = refreshed(line, recording)
        if commit is not None:
            return self._restored(line, recording, commit)
        media: list[MediaObject] = []
        fetched_from: str | None = None
        for media_format in formats(line.formats, recording.formats):
            with fetch(self.place, line, recording, media_format) as fetched:
                if fetched.encryption != recording.encryption:
                    recording = replace(recording, encryption=fetched.encryption)
                media.append(self._put_medium(line, recording, media_format, fetched))
                fetched_from = fetched_from or fetched.fetched_from
        return self._commit(job, line, recording, tuple(media), fetched_from)

    def _rescued(self, job: Job, settled: Settled) -> Receipt | None:
        """What an earlier attempt had stored of a recording that its provider deleted before the commit.

        The proven bytes stand under its keys: they are committed now, and are no orphans. Asked on a first attempt too,
        which may be an earlier ledger's second.
        """
        if settled.verdict is not Verdict.GONE and settled.reason != MISSING:
            return None
        recording, line = job.recording, self.line(job.source, job.recording.account_id)
        # Its row may name no format any more; what was stored bears one that is wanted, or the provider's best.
        names = dict.fromkeys((*line.formats, *recording.formats, *line.provider.formats))
        stored = [name for name in names if self.store.head(self.keys(recording, name)) is not None]
        wanted = [name for name in line.formats if name in recording.formats] or recording.formats[:1]
        if settled.reason == MISSING and not job.confirms and not set(wanted) <= set(stored):
            return None  # the rest may be there in an hour
        media = tuple(self._adopted(line, recording, name) for name in stored)
        if not media:
            return None
        if (commit := self._committed(job)) is not None:
            return None if commit.lost else commit.receipt  # what is lost of a commit, no other can replace
        return self._commit(job, line, recording, media, None)

    def _restored(self, line: Line, recording: Recording, commit: Commit) -> Receipt:
        """Put back the media that a sidecar names and that are gone: those very bytes, or none."""
        for medium in commit.lost:
            with fetch(self.place, line, recording, medium.media_format) as fetched:
                if fetched.spool.sha256 != medium.sha256:
                    raise KeyConflict(
                        f"{medium.key} is lost, and the provider serves other bytes now than its sidecar names",
                        f"nothing was written; to archive what it serves now, move {commit.receipt.sidecar_key}, "
                        "then retry",
                    )
                self.store.put(_put_of(recording, medium, cast("BytesIO", fetched.spool.file)))
        return replace(commit.receipt, already_archived=False)

    def _described(
        self, recording: Recording, media_format: str, *, size: int, sha256: str, facts: MediaFacts
    ) -> MediaObject:
        """A medium as it stands in the bucket, or is about to."""
        return MediaObject(
            key=self.keys(recording, media_format),
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

    def _put_medium(self, line: Line, recording: Recording, media_format: str, fetched: Fetched) -> MediaObject:
        spool, facts = fetched.spool, fetched.facts
        medium = self._described(recording, media_format, size=spool.bytes, sha256=spool.sha256, facts=facts)
        medium = replace(medium, requested=fetched.requested)
        try:
            self.store.put(_put_of(recording, medium, cast("BytesIO", fetched.spool.file)))
        except KeyConflict:
            return self._adopted(line, recording, media_format)
        return medium

    def _adopted(self, line: Line, recording: Recording, media_format: str) -> MediaObject:
        """Other bytes stand under the key: an earlier attempt's, if they prove to be what their own metadata say.

        Some providers encode on demand, so a second download may differ. Bytes that were proven and stored before a
        crash are as good as the new ones; anything else under our key is somebody else's, and stays untouched.
        """
        key = self.keys(recording, media_format)
        found = self.store.head(key)
        ours = archive.object_metadata(recording, found.sha256 or "") if found else {}
        if found is None or any(found.metadata.get(name) != value for name, value in ours.items()):
            raise KeyConflict(f"{key} holds other bytes, not written by recvault", "move them, then retry")
        prober, digest = line.proof.probe(media_format, recording.encryption), hashlib.sha256()
        for chunk in self.store.stream(key):
            prober.feed(chunk)
            digest.update(chunk)
        if digest.hexdigest() != found.sha256:
            raise KeyConflict(f"{key} holds bytes that differ from their own SHA-256", "move them, then retry")
        facts = prober.finish(duration_seconds=recording.duration_seconds, size_bytes=recording.size_bytes)
        return self._described(recording, media_format, size=found.bytes, sha256=digest.hexdigest(), facts=facts)

    def _commit(
        self, job: Job, line: Line, recording: Recording, media: tuple[MediaObject, ...], fetched_from: str | None
    ) -> Receipt:
        """Write the sidecar: from here on the recording is archived, whatever happens to us."""
        receipt = Receipt(
            source=job.source,
            recording=recording,
            sidecar_key=self.keys(recording, "json"),
            media=media,
            archived_at=self.clock(),
        )
        body = archive.sidecar(receipt, attempts=job.attempt, fetched_from=fetched_from, formats_wanted=line.formats)
        sha256 = hashlib.sha256(body).hexdigest()
        put = Put(
            key=receipt.sidecar_key,
            body=BytesIO(body),
            bytes=len(body),
            sha256=sha256,
            content_type=archive.SIDECAR_TYPE,
            metadata=archive.object_metadata(recording, sha256),
        )
        try:
            self.store.put(put)
        except KeyConflict:
            committed = self._committed(job)  # by another process, or by a put whose answer was lost
            if committed is None or committed.lost:
                raise
            return committed.receipt
        return replace(receipt, sidecar_sha256=sha256)

    def _may_be_committed(self, job: Job) -> bool:
        """Worth a look: an earlier attempt may have come so far, or an earlier ledger's."""
        if not job.maybe_archived:
            return False
        return job.attempt > 1 or self.presence is None or self.presence.may_stand(self.keys(job.recording, "json"))

    def _committed(self, job: Job) -> Commit | None:
        """An earlier commit: its sidecar stands, and of its media each has the size and sum it names, or is lost."""
        key = self.keys(job.recording, "json")
        try:
            body = self.store.get(key)
        except Cold as cold:
            return Commit(cold_commit(self.store, self.keys, job, cold))
        if body is None:
            return None
        if job.sidecar_sha256 not in (None, hashlib.sha256(body).hexdigest()):
            raise KeyConflict(f"{key} is not the sidecar that this recording was archived with", "move it, then retry")
        try:
            receipt = archive.read_sidecar(body, recording=job.recording, sidecar_key=key)
        except ValueError as error:
            raise KeyConflict(str(error), "the key holds something else: move it, then retry") from error
        lost = []
        for medium in receipt.media:
            found = self.store.head(medium.key)
            if found is None:
                lost.append(medium)
            elif found.bytes != medium.bytes or (found.sha256 or medium.sha256) != medium.sha256:
                raise KeyConflict(f"{medium.key} holds other bytes than its sidecar names", "move it, then retry")
        return Commit(receipt, tuple(lost))


def _put_of(recording: Recording, medium: MediaObject, body: BytesIO) -> Put:
    return Put(
        key=medium.key,
        body=body,
        bytes=medium.bytes,
        sha256=medium.sha256,
        content_type=medium.content_type,
        metadata=archive.object_metadata(recording, medium.sha256),
    )


def _must_be_read_again(job: Job, line: Line) -> bool:
    """Whether the row at hand may be out of date: not final when it was read, or of a list that cannot tell."""
    recording = job.recording
    if recording.phase is not Phase.COMPLETE or (line.provider.media_url_expires and not recording.media_urls):
        return True
    return recording.status is None and (job.attempt > 1 or recording.duration_seconds is None)
