"""Recording to receipt: fetch, prove, put the media, put the sidecar.

Invariants: no object stands under a final key with other bytes than the provider served; a sidecar exists only where
all its media are durable, with the size and SHA-256 that it names. Hence the write order: data first, reference last.
What goes wrong comes back as a Failure, which is data: the ledger decides what follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from typing import cast

from recvault import archive
from recvault.archive import KeyTemplate
from recvault.errors import (
    ConfigError,
    CredentialsRefused,
    Interrupted,
    KeyConflict,
    MediaExpired,
    MediaRejected,
    NotFound,
    RecvaultError,
    Refused,
    StoreRefused,
    StoreUnavailable,
    Unavailable,
    UnsafeAddress,
)
from recvault.http import MediaHead, Session
from recvault.media import CONTENT_TYPES, MediaFacts, Prober, refuse_document
from recvault.models import (
    DRAINED,
    JSON,
    Failure,
    Job,
    MediaObject,
    Outcome,
    Phase,
    Receipt,
    Recording,
    Verdict,
)
from recvault.presence import Presence
from recvault.providers.base import Provider
from recvault.spool import Spool, SpoolFull, SpoolPlace
from recvault.store import ObjectStore, Put

# Reasons that concern more than one recording: the pass acts on them.
CREDENTIALS_REFUSED = "credentials.refused"
STORE_REFUSED = "store.refused"
STORE_UNAVAILABLE = "store.unavailable"
CONFIG_WRONG = "config.wrong"
SPOOL_FULL = "spool.full"

_SNIFF = 512  # bytes in which a document shows itself


@dataclass(frozen=True, slots=True)
class Line:
    """The way to one account: its provider's facts, a session, and what is wanted from it."""

    provider: Provider
    session: Session
    formats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A medium in the spool, hashed and proven."""

    spool: Spool
    facts: MediaFacts
    encryption: JSON | None
    fetched_from: str


class _Settled(Exception):
    """The recording has no media to archive: the row says so."""

    def __init__(self, recording: Recording, verdict: Verdict, reason: str, message: str) -> None:
        super().__init__(recording, verdict, reason, message)
        self.recording, self.verdict, self.reason, self.message = recording, verdict, reason, message


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
            return self._transfer(job)
        except _Settled as settled:
            return _failure(job, settled.verdict, settled.reason, settled.message, recording=settled.recording)
        except RecvaultError as error:
            return _failure_of(job, error)

    def _transfer(self, job: Job) -> Receipt:
        if self._may_be_committed(job) and (receipt := self._committed(job)) is not None:
            return receipt
        line = self.line(job.source, job.recording.account_id)
        recording = job.recording
        if recording.phase is not Phase.COMPLETE or (line.provider.media_url_expires and not recording.media_urls):
            recording = _refreshed(line, recording)
        media: list[MediaObject] = []
        fetched_from: str | None = None
        for media_format in _formats(line.formats, recording.formats):
            with ExitStack() as spools:
                fetched = self._fetch(line, recording, media_format, spools)
                recording = replace(recording, encryption=fetched.encryption)
                media.append(self._put_medium(recording, media_format, fetched))
                fetched_from = fetched_from or fetched.fetched_from
        return self._commit(job, line, recording, tuple(media), fetched_from)

    # -- the way in ----------------------------------------------------------------------------------------------------

    def _fetch(self, line: Line, recording: Recording, media_format: str, spools: ExitStack) -> _Fetched:
        """Fetch and prove; what looks wrong is fetched again, and kept, flagged, if the same bytes come twice."""
        first = self._fetch_fresh(line, recording, media_format, spools)
        if first.facts.check.status != "suspect":
            return first
        second = self._fetch_fresh(line, recording, media_format, spools)
        if second.facts.check.status == "suspect" and second.spool.sha256 != first.spool.sha256:
            raise MediaRejected(
                f"{media_format} came twice, differently: {second.facts.check.reason}", reason="media.unstable"
            )
        return second

    def _fetch_fresh(self, line: Line, recording: Recording, media_format: str, spools: ExitStack) -> _Fetched:
        """Fetch; a refused signed URL is asked for anew once, and a 404 is explained by the recording's row."""
        try:
            return self._fetch_once(line, recording, media_format, spools)
        except MediaExpired:
            return self._fetch_once(line, _refreshed(line, recording), media_format, spools)
        except NotFound as error:
            current = _refreshed(line, recording)
            raise _Settled(
                current,
                Verdict.NOT_READY,
                "media.not_there",
                f"{error.message}, though its row says {current.status}: looked for again until give_up_after",
            ) from error

    def _fetch_once(self, line: Line, recording: Recording, media_format: str, spools: ExitStack) -> _Fetched:
        requests = line.provider.media_requests(recording, media_format)
        if not requests:
            raise MediaRejected(f"the provider names no {media_format}", reason="media.no_url")

        def receive(head: MediaHead, chunks: Iterator[bytes]) -> _Fetched:
            spool = spools.enter_context(Spool(self.place, head.length))
            return _received(line, recording, media_format, head, chunks, spool)

        signed = line.provider.media_url_expires
        for request in requests[:-1]:
            try:
                return line.session.download(request, receive, signed=signed)
            except Refused:
                continue  # e.g. two channels asked of a mono recording: the plain request follows
        return line.session.download(requests[-1], receive, signed=signed)

    # -- the way out ---------------------------------------------------------------------------------------------------

    def _put_medium(self, recording: Recording, media_format: str, fetched: _Fetched) -> MediaObject:
        key = self.keys(recording, media_format)
        medium = MediaObject(
            key=key,
            media_format=media_format,
            bytes=fetched.spool.bytes,
            sha256=fetched.spool.sha256,
            content_type=CONTENT_TYPES.get(media_format, "application/octet-stream"),
            codec=fetched.facts.codec or recording.codec,
            sample_rate=fetched.facts.sample_rate,
            channels=fetched.facts.channels,
            duration_seconds=fetched.facts.duration_seconds,
            check=fetched.facts.check,
        )
        put = Put(
            key=key,
            body=cast("BytesIO", fetched.spool.file),
            bytes=medium.bytes,
            sha256=medium.sha256,
            content_type=medium.content_type,
            metadata=archive.object_metadata(recording, medium.sha256),
        )
        try:
            self.store.put(put)
        except KeyConflict:
            return self._adopted(recording, medium)
        return medium

    def _adopted(self, recording: Recording, medium: MediaObject) -> MediaObject:
        """Other bytes stand under the key: an earlier attempt's, if they prove to be what its metadata say.

        Some providers encode on demand, so a second download may differ. Bytes that were proven and stored before a
        crash are as good as the new ones; anything else under our key is somebody else's, and stays untouched.
        """
        found = self.store.head(medium.key)
        ours = archive.object_metadata(recording, found.sha256 or "") if found else {}
        if found is None or any(found.metadata.get(name) != value for name, value in ours.items()):
            raise KeyConflict(f"{medium.key} holds other bytes, not written by recvault", "move them, then retry")
        prober, digest = Prober(medium.media_format, encrypted=recording.encryption is not None), hashlib.sha256()
        for chunk in self.store.stream(medium.key):
            prober.feed(chunk)
            digest.update(chunk)
        if digest.hexdigest() != found.sha256:
            raise KeyConflict(f"{medium.key} holds bytes that differ from their own SHA-256", "move them, then retry")
        facts = prober.finish(duration_seconds=recording.duration_seconds, size_bytes=recording.size_bytes)
        return replace(
            medium,
            bytes=found.bytes,
            sha256=digest.hexdigest(),
            codec=facts.codec or recording.codec,
            sample_rate=facts.sample_rate,
            channels=facts.channels,
            duration_seconds=facts.duration_seconds,
            check=facts.check,
        )

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
            if committed is None:
                raise
            return committed
        return receipt

    def _may_be_committed(self, job: Job) -> bool:
        """Worth a look: an earlier attempt may have come so far, or an earlier ledger's."""
        if not job.maybe_archived:
            return False
        return job.attempt > 1 or self.presence is None or self.presence.may_stand(self.keys(job.recording, "json"))

    def _committed(self, job: Job) -> Receipt | None:
        """The receipt of an earlier commit: its sidecar stands, and all its media, of the size and sum it names."""
        key = self.keys(job.recording, "json")
        body = self.store.get(key)
        if body is None:
            return None
        try:
            receipt = archive.read_sidecar(body, recording=job.recording, sidecar_key=key)
        except ValueError as error:
            raise KeyConflict(str(error), "the key holds something else: move it, then retry") from error
        for medium in receipt.media:
            found = self.store.head(medium.key)
            if found is None or found.bytes != medium.bytes or (found.sha256 or medium.sha256) != medium.sha256:
                return None
        return receipt


def _received(
    line: Line, recording: Recording, media_format: str, head: MediaHead, chunks: Iterator[bytes], spool: Spool
) -> _Fetched:
    """Spool, hash and prove a body as it arrives."""
    encryption = recording.encryption or line.provider.media_encryption(head.headers)
    prober = Prober(media_format, encrypted=encryption is not None)
    beginning = b""
    for chunk in chunks:
        if len(beginning) < _SNIFF:  # the first chunk alone may be a byte
            beginning += chunk[: _SNIFF - len(beginning)]
            refuse_document(head.headers.get("content-type"), beginning, media_format)
        prober.feed(chunk)
        spool.write(chunk)
    if spool.bytes == 0:
        refuse_document(head.headers.get("content-type"), b"", media_format)
    facts = prober.finish(duration_seconds=recording.duration_seconds, size_bytes=recording.size_bytes)
    return _Fetched(spool, facts, encryption, head.url)


def _refreshed(line: Line, recording: Recording) -> Recording:
    """Read the recording again by id. Raises _Settled where the row says that there are no media now."""
    try:
        reply = line.session.send(line.provider.refresh_request(recording))
    except NotFound as error:
        raise _Settled(
            recording, Verdict.GONE, "recording.gone", f"{error.message}: deleted at the provider"
        ) from error
    fresh = line.provider.parse_recording(reply)
    # What the key and the ledger know it by is settled at registration: an answer cannot move a recording.
    fresh = replace(
        fresh,
        provider=recording.provider,
        account_id=recording.account_id,
        recording_id=recording.recording_id,
        created_at=recording.created_at,
    )
    match fresh.phase:
        case Phase.UNFINISHED:
            raise _Settled(fresh, Verdict.NOT_READY, "recording.unfinished", f"its status is {fresh.status}")
        case Phase.GONE:
            raise _Settled(fresh, Verdict.GONE, "recording.gone", f"its status is {fresh.status}: there are no media")
        case Phase.EXTERNAL:
            where = fresh.external_location or "the customer's own storage"
            raise _Settled(fresh, Verdict.EXTERNAL, "recording.external", f"its media lie in {where}")
        case Phase.COMPLETE:
            return fresh


def _formats(wanted: tuple[str, ...], available: tuple[str, ...]) -> tuple[str, ...]:
    """What to fetch: the wanted formats that there are, else the best there is. Nothing is skipped for its format."""
    return tuple(name for name in wanted if name in available) or available[:1]


_VERDICTS: Mapping[type[RecvaultError], tuple[Verdict, str, bool]] = {
    # What was raised: the verdict, its reason, and whether it is the recording's own fault.
    Interrupted: (Verdict.RETRY, DRAINED, False),
    StoreRefused: (Verdict.RETRY, STORE_REFUSED, False),
    CredentialsRefused: (Verdict.RETRY, CREDENTIALS_REFUSED, False),
    StoreUnavailable: (Verdict.RETRY, STORE_UNAVAILABLE, False),
    SpoolFull: (Verdict.RETRY, SPOOL_FULL, False),
    ConfigError: (Verdict.RETRY, CONFIG_WRONG, False),
    KeyConflict: (Verdict.FATAL, "store.key_conflict", True),
    UnsafeAddress: (Verdict.RETRY, "media.unsafe_address", True),
    MediaExpired: (Verdict.RETRY, "media.expired", True),
    NotFound: (Verdict.RETRY, "media.not_found", True),
    Refused: (Verdict.RETRY, "provider.refused", True),
    Unavailable: (Verdict.RETRY, "provider.unavailable", True),
}


def _failure_of(job: Job, error: RecvaultError) -> Failure:
    if isinstance(error, MediaRejected):
        return _failure(job, Verdict.RETRY, error.reason, str(error))
    for kind, (verdict, reason, counted) in _VERDICTS.items():
        if isinstance(error, kind):
            retry_after = error.retry_after if isinstance(error, Unavailable) else None
            return _failure(job, verdict, reason, str(error), retry_after=retry_after, counted=counted)
    return _failure(job, Verdict.RETRY, "unexpected", str(error))


def _failure(
    job: Job,
    verdict: Verdict,
    reason: str,
    message: str,
    *,
    recording: Recording | None = None,
    retry_after: float | None = None,
    counted: bool = True,
) -> Failure:
    return Failure(
        source=job.source,
        recording=recording or job.recording,
        verdict=verdict,
        reason=reason,
        message=message,
        retry_after=retry_after,
        counted=counted,
    )
