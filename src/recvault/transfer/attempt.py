"""One attempt at a job: its inputs, what it has done so far, and its failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import cast

from recvault import archive
from recvault.archive import KeyTemplate
from recvault.errors import RecvaultError
from recvault.models import JSON, Doubt, Earlier, Failure, Job, Look, MediaObject, MissingFormat, Receipt, Recording
from recvault.providers.calls import call_in_row
from recvault.store import ObjectStore, Origin
from recvault.transfer.earlier_attempts import adoptable
from recvault.transfer.fetch import Fetched, Line
from recvault.transfer.placing import Placing, described
from recvault.transfer.second_look import SECOND_LOOK, Looking
from recvault.transfer.spool import SpoolPlace
from recvault.transfer.verdicts import Settled, failure_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every transfer uses."""

    store: ObjectStore
    keys: KeyTemplate
    line: Callable[[str, str], Line]  # by source name and account id
    place: SpoolPlace
    clock: Callable[[], datetime]
    call: Callable[[Recording], JSON | None] = lambda recording: None  # the facts of its call, as far as known now


class Attempt:
    """One job, once."""

    def __init__(self, parts: Parts, job: Job) -> None:
        self.parts, self.job = parts, job
        self.placing = Placing(store=parts.store, keys=parts.keys, job=job)
        looks = (*_archived_looks(job), *job.looks) if job.again else job.looks
        self.looking = Looking(looks, parts.clock())
        self.is_served = False  # some format was fetched

    def put(self, line: Line, recording: Recording, fetched: Fetched, origin: Origin | None = None) -> MediaObject:
        """Put a medium under its key, or find there what an earlier attempt put. `origin`: where it may be copied."""
        return self.placing.medium(
            recording,
            fetched.media_format,
            partial(_described, recording, fetched),
            cast("BytesIO", fetched.spool.file),
            partial(adoptable, self, line, recording, fetched.media_format),
            origin=origin,
        )

    def put_beside(self, recording: Recording, lost: MediaObject, fetched: Fetched) -> MediaObject:
        """Put bytes that differ from the lost ones: never under the lost key, as its sidecar names those."""
        parts = self.parts.keys.read(lost.key)
        return self.placing.medium(
            recording,
            fetched.media_format,
            partial(_described, recording, fetched),
            cast("BytesIO", fetched.spool.file),
            lambda key: None,
            after=parts.edition if parts is not None else 0,
        )

    def commit(
        self,
        line: Line,
        recording: Recording,
        media: tuple[MediaObject, ...],
        fetched_from: str | None,
        missing: tuple[MissingFormat, ...] = (),
        earlier: Receipt | None = None,
        adopted: JSON | None = None,
    ) -> Receipt:
        """Write the sidecar: from here on the recording is archived, whatever happens.

        `adopted`: how the media came, if not from the provider.
        """
        job = self.job
        standing = earlier or job.standing
        call = self._call(line, recording)
        receipt = partial(
            Receipt,
            source=job.source,
            recording=recording,
            media=media,
            archived_at=self.parts.clock(),
            missing=missing,
            has_call=call is not None,
        )

        def write(placed: Receipt) -> bytes:
            return archive.sidecar_bytes(
                _after(standing, placed, again=job.again) if standing else placed,
                attempts=job.attempt,
                fetched_from=fetched_from,
                formats_wanted=line.formats,
                call=call,
                adopted=adopted,
            )

        placed = self.placing.sidecar(recording, receipt, write)
        return _after(standing, placed, again=job.again) if standing else placed

    def _call(self, line: Line, recording: Recording) -> JSON | None:
        """Return the facts of its call that are known now: nothing waits for them."""
        if not line.call_facts:
            return None
        return self.job.call or self.parts.call(recording) or call_in_row(recording, self.parts.clock())

    def failure(self, error: RecvaultError | Settled) -> Failure:
        """Return the failure for an error, with what this attempt leaves behind."""
        failed = failure_of(self.job, error)
        doubt = failed.doubt
        if doubt is Doubt.ANSWERED and self.is_served:
            doubt = None  # the service works: it just served another format
        return replace(failed, may_have_put=self.placing.begun, looks=self.looking.seen, doubt=doubt)


def _described(recording: Recording, fetched: Fetched, key: str) -> MediaObject:
    """Describe fetched media, to be put under a key."""
    spool = fetched.spool
    return described(
        recording,
        fetched.media_format,
        fetched.facts,
        key=key,
        size=spool.bytes,
        sha256=spool.sha256,
        requested=fetched.requested,
    )


def _archived_looks(job: Job) -> tuple[Look, ...]:
    """Return looks by which archived media count as checked for long enough: nothing better needs to be waited for."""
    if job.standing is None:
        return ()
    at = job.standing.archived_at - SECOND_LOOK
    return tuple(
        Look(media_format=each.media_format, bytes=each.bytes, sha256=each.sha256, seen_at=at)
        for each in job.standing.media
    )


def _after(standing: Receipt, receipt: Receipt, *, again: bool) -> Receipt:
    """Record the edition before this one; the same sidecar rewritten does not count."""
    if standing.sidecar_key == receipt.sidecar_key:
        return receipt
    earlier = Earlier(sidecar_key=standing.sidecar_key, sidecar_sha256=standing.sidecar_sha256, replaced=not again)
    return replace(receipt, earlier=earlier)
