"""Download a recording's media from its provider into the spool, hashed and checked as they arrive.

Problems are verified before they are believed: a 404 and a refused URL are explained by the recording's row, read again
by id, and short, empty or damaged media must still be so hours later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from recvault.errors import MediaExpired, MediaRejected, NotFound, Refused
from recvault.http import MediaHead, Session
from recvault.media import ENOUGH_TEXT, MediaFacts, refuse_document
from recvault.media.assess import PLAIN, Proof
from recvault.models import JSON, Recording, Requested, Verdict
from recvault.providers.base import CHANNELS, Provider
from recvault.transfer.listed_row import not_there, refreshed
from recvault.transfer.second_look import SECOND_LOOK, Looking
from recvault.transfer.spool import Spool, SpoolPlace
from recvault.transfer.verdicts import Settled

_DOWNLOADS = 2  # per attempt: the second shows whether the fault was transient
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@dataclass(frozen=True, slots=True)
class Line:
    """Access to one account: its provider's facts, a session, the wanted formats, and how media are checked."""

    provider: Provider
    session: Session
    formats: tuple[str, ...]
    proof: Proof = PLAIN
    max_attempts: int = 12  # faults of its own after which a recording is given up
    give_up_after: timedelta = timedelta(days=3)  # also one that is not ready after so long
    call_facts: bool = True  # whether sidecars hold who called whom


@dataclass(slots=True)
class Fetched:
    """A medium in the spool, unmodified, hashed and checked. A context that frees the spool."""

    spool: Spool
    facts: MediaFacts
    encryption: JSON | None
    fetched_from: str
    requested: Requested

    @property
    def media_format(self) -> str:
        """Its real format, whatever was requested."""
        return self.facts.media_format or self.requested.media_format

    @property
    def is_doubtful(self) -> bool:
        """Whether better media may come later: they are short, damaged or empty."""
        check = self.facts.check
        return (
            (check.status == "suspect" and self.facts.worth_again) or self.spool.bytes == 0 or check.reason == "empty"
        )

    @property
    def reason(self) -> str:
        """Why it is doubtful."""
        return self.facts.check.reason or "empty"

    def __enter__(self) -> Fetched:
        return self

    def __exit__(self, *_: object) -> None:
        self.spool.close()


def formats(wanted: tuple[str, ...], available: tuple[str, ...]) -> tuple[str, ...]:
    """Return the available formats among the wanted, else the best one: no recording is skipped for its format."""
    chosen = tuple(name for name in wanted if name in available) or available[:1]
    if not chosen:
        raise MediaRejected("the provider names no media of this recording", reason="media.no_url")
    return chosen


def fetch(place: SpoolPlace, line: Line, recording: Recording, media_format: str, looking: Looking) -> Fetched:
    """Fetch and check. Incomplete media are fetched again; if they stay so for hours they are kept, flagged."""
    for _ in range(_DOWNLOADS):
        found = _whole(place, line, recording, media_format)
        if isinstance(found, Fetched) and not found.is_doubtful:
            return found
        if looking.confirms(media_format, *_sum_of(found)):
            return _kept(found)
        _close(found)
        if looking.was_so(media_format):
            break
    why = found.reason if isinstance(found, Fetched) else found.message
    raise Settled(
        recording,
        Verdict.NOT_READY,
        "media.not_whole",
        f"{media_format}: {why}; checked again, and archived as it is if unchanged after {SECOND_LOOK}",
        retry_after=looking.next_look(media_format, recording).total_seconds(),
    )


def _whole(place: SpoolPlace, line: Line, recording: Recording, media_format: str) -> Fetched | MediaRejected:
    """Fetch; an empty body is a valid answer, and a 404 is explained by the recording's row."""
    try:
        return _fetch_renewed(place, line, recording, media_format)
    except NotFound as error:
        raise not_there(refreshed(line, recording), error) from error
    except MediaRejected as error:
        if error.reason != "media.empty":
            raise
        return error


def _fetch_renewed(place: SpoolPlace, line: Line, recording: Recording, media_format: str) -> Fetched:
    """Fetch; a refused signed URL is renewed once."""
    try:
        return _fetch_once(place, line, recording, media_format)
    except MediaExpired:
        return _fetch_once(place, line, refreshed(line, recording), media_format)


def _close(found: Fetched | MediaRejected) -> None:
    """Free the spool; its hash remains available."""
    if isinstance(found, Fetched):
        found.spool.close()


def _sum_of(found: Fetched | MediaRejected) -> tuple[int, str]:
    return (found.spool.bytes, found.spool.sha256) if isinstance(found, Fetched) else (0, _EMPTY)


def _kept(found: Fetched | MediaRejected) -> Fetched:
    if isinstance(found, MediaRejected):
        raise found
    return found


def _fetch_once(place: SpoolPlace, line: Line, recording: Recording, media_format: str) -> Fetched:
    requests = line.provider.media_requests(recording, media_format)
    if not requests and not recording.media_urls:  # the row may have them; the ledger stores it without
        recording = refreshed(line, recording)
        requests = line.provider.media_requests(recording, media_format)
    if not requests:
        raise MediaRejected(f"the provider names no {media_format}", reason="media.no_url")

    signed, refused = line.provider.media_url_lifetime is not None, None
    for request in requests:
        asked = Requested(media_format=media_format, channels=request.extensions.get(CHANNELS), refused=refused)
        try:
            receive = partial(Receiving, place, line, recording, asked)
            return line.session.download(request, receive, signed=signed)
        except Refused as error:
            if request is requests[-1]:
                raise
            # E.g. two channels of a mono recording; the plain request follows.
            refused = f"{asked.channels or 'more'} channels: answered {error.status or 'no'}"
    raise AssertionError("the last request was answered, or raised")


class Receiving:
    """Spools, hashes and checks a body as it arrives: the sink of one download."""

    def __init__(self, place: SpoolPlace, line: Line, recording: Recording, asked: Requested, head: MediaHead) -> None:
        self._line, self._recording, self._asked, self._head = line, recording, asked, head
        self._encryption = recording.encryption or line.provider.media_encryption(head.headers)
        self._prober = line.proof.probe(asked.media_format, self._encryption)
        self._beginning = b""
        self._spool = Spool(place, head.length, self._walk)
        self.write = self._spool.write
        self.close = self._spool.close

    @property
    def size(self) -> int:
        """See Sink."""
        return self._spool.bytes

    def finish(self) -> Fetched:
        """See Sink. From here on the spool belongs to the caller."""
        spool, recording = self._spool, self._recording
        spool.settle()
        if len(self._beginning) < ENOUGH_TEXT:
            self._refuse_document()
        facts = self._prober.finish(
            duration_seconds=recording.duration_seconds, size_bytes=recording.size_bytes, channels=recording.channels
        )
        if self._line.proof.packets:
            facts = self._line.proof.deepened(
                facts,
                self._asked.media_format,
                spool.file,
                spool.bytes,
                encryption=self._encryption,
                duration_seconds=recording.duration_seconds,
            )
        facts = _with_refusal(facts, recording, self._asked)
        return Fetched(spool, facts, self._encryption, self._head.url, self._asked)

    def _walk(self, block: memoryview) -> None:
        if len(self._beginning) < ENOUGH_TEXT:
            self._beginning += bytes(block[: ENOUGH_TEXT - len(self._beginning)])
            if len(self._beginning) == ENOUGH_TEXT:
                self._refuse_document()
        self._prober.feed(block)

    def _refuse_document(self) -> None:
        refuse_document(self._head.headers.get("content-type"), self._beginning, self._asked.media_format)


def _with_refusal(facts: MediaFacts, recording: Recording, asked: Requested) -> MediaFacts:
    """Mark media as suspect if channels were refused and cannot be counted: in ciphertext only the refusal shows it."""
    if asked.refused is None or facts.channels is not None or (recording.channels or 0) < 2:
        return facts
    known = [facts.check.reason] if facts.check.reason else []
    reason = "; ".join([*known, f"the provider states {recording.channels} channels but refused them"])
    return replace(facts, check=replace(facts.check, status="suspect", reason=reason))
