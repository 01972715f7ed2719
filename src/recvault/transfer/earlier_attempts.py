"""Find what earlier attempts left of a recording, verify it, and complete it.

Bytes that were proven and stored before a crash are as good as those that would be fetched now.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, cast

from recvault import archive
from recvault.models import MISSING, Job, MediaObject, Receipt, Recording, Verdict
from recvault.transfer.fetch import Fetched, Line, fetch
from recvault.transfer.placing import described
from recvault.transfer.verdicts import Settled

if TYPE_CHECKING:
    from recvault.transfer.attempt import Attempt


@dataclass(frozen=True, slots=True)
class Commit:
    """A sidecar in the bucket, and which of its media are missing."""

    receipt: Receipt
    lost: tuple[MediaObject, ...] = ()


def committed(attempt: Attempt) -> Commit | None:
    """Find an earlier commit of this ledger: its sidecar exists, and each of its media matches it or is lost."""
    job, recording, parts = attempt.job, attempt.job.recording, attempt.parts
    if not job.maybe_archived:
        return None
    key = job.standing.sidecar_key if job.standing else parts.keys(recording, "json")
    receipt = attempt.placing.commit_at(recording, key)
    if receipt is None or not _is_known(attempt, receipt):
        return None
    lost = []
    for medium in receipt.media:
        found = parts.store.head(medium.key)
        if found is None:
            lost.append(medium)
        elif found.bytes != medium.bytes or (found.sha256 or medium.sha256) != medium.sha256:
            return None
    return Commit(receipt, tuple(lost))


def _is_known(attempt: Attempt, receipt: Receipt) -> bool:
    """Whether the sidecar is the one that an earlier attempt wrote. If there are several, only the media's bytes can
    show it."""
    job = attempt.job
    if job.standing is not None:
        return job.standing.sidecar_sha256 in (None, receipt.sidecar_sha256)
    second = attempt.parts.keys(job.recording, "json", 2)
    return attempt.parts.store.head(second) is None


def kept(job: Job, fetched: Fetched) -> MediaObject | None:
    """Return the medium already archived, if the fetched one is no better."""
    if job.standing is None:
        return None
    same_first = sorted(job.standing.media, key=lambda each: each.sha256 != fetched.spool.sha256)
    for known in same_first:
        if known.media_format == fetched.media_format:
            better = known.check.status == "suspect" and fetched.facts.check.status != "suspect"
            more = better or fetched.spool.bytes > known.bytes
            return None if more and fetched.spool.sha256 != known.sha256 else known
    return None


def restored(attempt: Attempt, line: Line, recording: Recording, commit: Commit) -> Receipt:
    """Restore lost media of a sidecar; different bytes are stored beside it, with a new sidecar."""
    media = {each.key: each for each in commit.receipt.media}
    fetched_from: str | None = None
    for medium in commit.lost:
        asked = medium.requested.media_format if medium.requested else medium.media_format
        with fetch(attempt.parts.place, line, recording, asked, attempt.looking) as fetched:
            same = fetched.spool.sha256 == medium.sha256
            if not same or not attempt.placing.put(recording, medium, cast("BytesIO", fetched.spool.file)):
                media[medium.key] = attempt.put_beside(recording, medium, fetched)
                fetched_from = fetched.fetched_from
    if tuple(media.values()) == commit.receipt.media:
        return replace(commit.receipt, already_archived=False)
    return attempt.commit(line, recording, tuple(media.values()), fetched_from, earlier=commit.receipt)


def rescued(attempt: Attempt, settled: Settled) -> Receipt | None:
    """Commit what an earlier attempt stored of a recording that its provider deleted before the commit.

    Its verified bytes are under its keys; without this they would be orphans. What no attempt of this ledger can have
    put is not committed, because nothing proves it.
    """
    job, is_missing = attempt.job, settled.reason == MISSING
    if not (settled.verdict is Verdict.GONE or is_missing) or not job.maybe_archived or job.again:
        return None
    recording, line = job.recording, attempt.parts.line(job.source, job.recording.account_id)
    names = [name for name in attempt.placing.standing_endings(recording) if name != "json"]
    wanted = [name for name in line.formats if name in recording.formats] or recording.formats[:1]
    found = [_adopted(attempt, line, recording, name) for name in names]
    media = tuple(each for each in found if each is not None)
    if is_missing and not job.confirms and not set(wanted) <= {each.media_format for each in media}:
        return None  # the provider may serve the rest in an hour
    if not media:
        return None
    if (commit := committed(attempt)) is not None:
        return None if commit.lost else commit.receipt  # other media cannot replace the lost media of a commit
    return attempt.commit(line, recording, media, None)


def _adopted(attempt: Attempt, line: Line, recording: Recording, media_format: str) -> MediaObject | None:
    """Return what an earlier attempt put for a format: the last one in the bucket."""
    for key in attempt.placing.standing_editions(recording, media_format):
        return adoptable(attempt, line, recording, media_format, key)
    return None


def adoptable(attempt: Attempt, line: Line, recording: Recording, media_format: str, key: str) -> MediaObject | None:
    """Verify other bytes under a key, and return the medium if an earlier attempt put them; else None.

    Some providers encode on demand, so a second download may differ.
    """
    standing, store = attempt.job.standing, attempt.parts.store
    known = {each.key: each for each in standing.media} if standing else {}
    before = known.get(key)
    if attempt.job.again and before:
        return None
    found = store.head(key)
    ours = archive.object_metadata(recording, found.sha256 or "") if found else {}
    if found is None or any(found.metadata.get(name) != value for name, value in ours.items()):
        return None
    prober, digest = line.proof.probe(media_format, recording.encryption), hashlib.sha256()
    for chunk in store.stream(key):
        prober.feed(chunk)
        digest.update(chunk)
    if digest.hexdigest() != found.sha256 or (before and before.sha256 != found.sha256):
        return None
    facts = prober.finish(
        duration_seconds=recording.duration_seconds, size_bytes=recording.size_bytes, channels=recording.channels
    )
    return described(
        recording,
        media_format,
        facts,
        key=key,
        size=found.bytes,
        sha256=digest.hexdigest(),
        requested=before.requested if before else None,
    )
