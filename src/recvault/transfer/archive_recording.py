"""From recording to receipt: fetch, put the media, put the sidecar. `archive_recording` does all of it.

Invariants: no final key holds other bytes than the provider served; a sidecar exists only if
all its media are durable, with the size and SHA-256 that it names. Hence the write order: data first, reference last.
Errors are returned as a Failure, which is data: the ledger decides what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from recvault.errors import RecvaultError
from recvault.models import Job, MediaObject, Outcome, Phase, Receipt
from recvault.transfer.attempt import Attempt, Parts
from recvault.transfer.earlier_attempts import committed, kept, rescued, restored
from recvault.transfer.fetch import Line, fetch, formats
from recvault.transfer.listed_row import refreshed
from recvault.transfer.missing_formats import Lacking
from recvault.transfer.verdicts import Settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Parts):
    """Runs jobs. Thread-safe; made once per process; called with a Job, returns an Outcome."""

    def __call__(self, job: Job) -> Outcome:
        """Transfer one recording. Raises only bugs, never a failure of the recording."""
        attempt = Attempt(self, job)
        try:
            try:
                return archive_recording(attempt)
            except Settled as settled:
                return rescued(attempt, settled) or attempt.failure(settled)
        except RecvaultError as error:
            return attempt.failure(error)


def archive_recording(attempt: Attempt) -> Receipt:
    """Archive the recording; return its receipt.

    Raises Settled, or the error. Usually nothing of it is in the bucket yet: its media are fetched and put, one after
    the other, then its sidecar.
    """
    job, recording = attempt.job, attempt.job.recording
    commit = committed(attempt) if job.maybe_archived else None
    if commit is not None and not commit.lost and not job.again:
        return commit.receipt
    line = attempt.parts.line(job.source, recording.account_id)
    if must_be_read_again(job, line):
        recording = refreshed(line, recording)
    if commit is not None and commit.lost:
        return restored(attempt, line, recording, commit)

    media: dict[str, MediaObject] = {}  # by key: two requested formats may have the same real one
    fetched_from: str | None = None
    wanted = formats(line.formats, recording.formats)
    lacking = Lacking(attempt, line, wanted)
    for media_format in wanted:
        try:
            with fetch(attempt.parts.place, line, recording, media_format, attempt.looking) as fetched:
                attempt.is_served = True
                if fetched.encryption != recording.encryption:
                    recording = replace(recording, encryption=fetched.encryption)
                medium = (kept(job, fetched) if job.again else None) or attempt.put(line, recording, fetched)
                media.setdefault(medium.key, medium)
                fetched_from = fetched_from or fetched.fetched_from
        except (RecvaultError, Settled) as error:
            lacking.add(media_format, error)
    if lacking.failures:
        lacking.settle(some_came=bool(media))

    if commit is not None and media.keys() <= {each.key for each in commit.receipt.media}:
        return commit.receipt  # nothing new was served
    return attempt.commit(line, recording, tuple(media.values()), fetched_from, lacking.formats)


def must_be_read_again(job: Job, line: Line) -> bool:
    """Whether the row may be outdated: not final, without URLs that expire, or from a list that cannot tell."""
    recording = job.recording
    expires = line.provider.media_url_lifetime is not None
    if recording.phase is not Phase.COMPLETE or (expires and not recording.media_urls):
        return True
    return recording.status is None and (job.attempt > 1 or recording.duration_seconds is None)
