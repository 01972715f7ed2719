"""The way in: a recording's media from its provider into the spool, hashed and proven as they arrive.

What looks wrong is looked at again before it is believed: a 404 and a refused address are explained by the recording's
own row, read anew by id, and a medium that disagrees with its row must come twice alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from recvault.errors import MediaExpired, MediaRejected, NotFound, Refused
from recvault.http import MediaHead, Session
from recvault.media import ENOUGH_TEXT, MediaFacts, refuse_document
from recvault.models import ELSEWHERE, JSON, MISSING, Phase, Recording, Requested, Verdict
from recvault.proof import PLAIN, Proof
from recvault.providers.base import CHANNELS, Provider
from recvault.spool import Spool, SpoolPlace
from recvault.verdicts import Settled


@dataclass(frozen=True, slots=True)
class Line:
    """The way to one account: its provider's facts, a session, what is wanted from it, and how that is proven."""

    provider: Provider
    session: Session
    formats: tuple[str, ...]
    proof: Proof = PLAIN


@dataclass(frozen=True, slots=True)
class Fetched:
    """A medium in the spool, hashed and proven. A context that frees the spool."""

    spool: Spool
    facts: MediaFacts
    encryption: JSON | None
    fetched_from: str
    requested: Requested

    def __enter__(self) -> Fetched:
        return self

    def __exit__(self, *_: object) -> None:
        self.spool.close()


def formats(wanted: tuple[str, ...], available: tuple[str, ...]) -> tuple[str, ...]:
    """What to fetch: the wanted formats that there are, else the best there is. Nothing is skipped for its format."""
    chosen = tuple(name for name in wanted if name in available) or available[:1]
    if not chosen:
        raise MediaRejected("the provider names no media of this recording", reason="media.no_url")
    return chosen


def fetch(place: SpoolPlace, line: Line, recording: Recording, media_format: str) -> Fetched:
    """Fetch and prove; what looks wrong is fetched again, and kept, flagged, if the same bytes come twice."""
    first = _fetch_fresh(place, line, recording, media_format)
    if first.facts.check.status != "suspect" or not first.facts.worth_again:
        return first
    first.spool.close()  # its sum is kept
    second = _fetch_fresh(place, line, recording, media_format)
    if second.facts.check.status == "suspect" and second.spool.sha256 != first.spool.sha256:
        second.spool.close()
        raise MediaRejected(
            f"{media_format} came twice, differently: {second.facts.check.reason}", reason="media.unstable"
        )
    return second


def _fetch_fresh(place: SpoolPlace, line: Line, recording: Recording, media_format: str) -> Fetched:
    """Fetch; a refused signed URL is asked for anew once, and a 404 is explained by the recording's row."""
    try:
        return _fetch_once(place, line, recording, media_format)
    except MediaExpired:
        return _fetch_once(place, line, refreshed(line, recording), media_format)
    except NotFound as error:
        current = refreshed(line, recording)
        if current.external_location:
            message = f"{error.message}, and its row names {current.external_location}"
            raise Settled(current, Verdict.EXTERNAL, ELSEWHERE, message) from error
        raise Settled(
            current,
            Verdict.NOT_READY,
            "media.not_there",
            f"{error.message}, though its row says {current.status}: looked for again until give_up_after",
        ) from error


def _fetch_once(place: SpoolPlace, line: Line, recording: Recording, media_format: str) -> Fetched:
    requests = line.provider.media_requests(recording, media_format)
    if not requests and not recording.media_urls:  # they may stand in the row, which the ledger keeps without them
        recording = refreshed(line, recording)
        requests = line.provider.media_requests(recording, media_format)
    if not requests:
        raise MediaRejected(f"the provider names no {media_format}", reason="media.no_url")

    signed, refused = line.provider.media_url_expires, None
    for request in requests:
        asked = Requested(media_format=media_format, channels=request.extensions.get(CHANNELS), refused=refused)
        try:
            return line.session.download(request, _receiver(place, line, recording, asked), signed=signed)
        except Refused as error:
            if request is requests[-1]:
                raise
            # Two channels asked of a mono recording, or a request that is refused but once: the plain one follows.
            refused = f"{asked.channels or 'more'} channels: answered {error.status or 'no'}"
    raise AssertionError("the last request was answered, or raised")


def _receiver(
    place: SpoolPlace, line: Line, recording: Recording, asked: Requested
) -> Callable[[MediaHead, Iterator[bytes]], Fetched]:
    def receive(head: MediaHead, chunks: Iterator[bytes]) -> Fetched:
        spool = Spool(place, head.length)
        try:
            return _received(line, recording, asked, head, chunks, spool)
        except BaseException:
            spool.close()
            raise

    return receive


def _received(
    line: Line, recording: Recording, asked: Requested, head: MediaHead, chunks: Iterator[bytes], spool: Spool
) -> Fetched:
    """Spool, hash and prove a body as it arrives."""
    media_format = asked.media_format
    encryption = recording.encryption or line.provider.media_encryption(head.headers)
    prober = line.proof.probe(media_format, encryption)
    beginning = b""
    for chunk in chunks:
        if len(beginning) < ENOUGH_TEXT:  # the first chunk alone may be a byte
            beginning += chunk[: ENOUGH_TEXT - len(beginning)]
            if len(beginning) == ENOUGH_TEXT:
                refuse_document(head.headers.get("content-type"), beginning, media_format)
        prober.feed(chunk)
        spool.write(chunk)
    if len(beginning) < ENOUGH_TEXT:
        refuse_document(head.headers.get("content-type"), beginning, media_format)
    facts = prober.finish(
        duration_seconds=recording.duration_seconds, size_bytes=recording.size_bytes, channels=recording.channels
    )
    if line.proof.packets:
        told = recording.duration_seconds
        facts = line.proof.deepened(
            facts, media_format, spool.file, spool.bytes, encryption=encryption, duration_seconds=told
        )
    return Fetched(spool, _with_refusal(facts, recording, asked), encryption, head.url, asked)


def _with_refusal(facts: MediaFacts, recording: Recording, asked: Requested) -> MediaFacts:
    """Suspect where channels were refused and none can be counted: of ciphertext the refusal is all that tells."""
    if asked.refused is None or facts.channels is not None or (recording.channels or 0) < 2:
        return facts
    known = [facts.check.reason] if facts.check.reason else []
    reason = "; ".join([*known, f"the provider tells {recording.channels} channels and refused them"])
    return replace(facts, check=replace(facts.check, status="suspect", reason=reason))


def refreshed(line: Line, recording: Recording) -> Recording:
    """Read the recording again by id. Raises Settled where the row says that there are no media now."""
    try:
        reply = line.session.send(line.provider.refresh_request(recording))
    except NotFound as error:
        raise Settled(recording, Verdict.NOT_READY, MISSING, f"{error.message} for what it had listed") from error
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
            raise Settled(fresh, Verdict.NOT_READY, "recording.unfinished", f"its status is {fresh.status}")
        case Phase.GONE:
            raise Settled(fresh, Verdict.GONE, "recording.gone", f"its status is {fresh.status}: there are no media")
        case Phase.EXTERNAL:
            where = fresh.external_location or "the customer's own storage"
            raise Settled(fresh, Verdict.EXTERNAL, "recording.external", f"its media lie in {where}")
        case Phase.COMPLETE:
            return fresh
