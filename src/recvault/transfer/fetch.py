"""The way in: a recording's media from its provider into the spool, hashed and proven as they arrive.

What looks wrong is looked at again before it is believed: a 404 and a refused address are explained by the recording's
own row, read anew by id, and a medium that is short, empty or damaged must still be so hours later.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from recvault.errors import MediaExpired, MediaRejected, NotFound, Refused
from recvault.http import MediaHead, Session
from recvault.media import ENOUGH_TEXT, MediaFacts, refuse_document
from recvault.media.assess import PLAIN, Proof
from recvault.models import ELSEWHERE, JSON, MISSING, Look, Phase, Recording, Requested, Verdict
from recvault.providers.base import CHANNELS, Provider
from recvault.transfer.spool import Spool, SpoolPlace
from recvault.transfer.verdicts import Settled

SECOND_LOOK = timedelta(hours=3)  # after which what is still not whole is taken for all that there is
YOUNG = timedelta(hours=6)  # a recording that may become whole at any minute: it is looked at often
_AWAY = ""  # the sum of a look that found nothing, because nothing was answered: its size counts such looks, below zero
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@dataclass(frozen=True, slots=True)
class Line:
    """The way to one account: its provider's facts, a session, what is wanted from it, and how that is proven."""

    provider: Provider
    session: Session
    formats: tuple[str, ...]
    proof: Proof = PLAIN
    max_attempts: int = 12  # after so many faults of its own a recording is given up
    give_up_after: timedelta = timedelta(days=3)  # and one that is not ready after so long


@dataclass(slots=True)
class Fetched:
    """A medium in the spool, hashed and proven. A context that frees the spool. Nothing of it is changed."""

    spool: Spool
    facts: MediaFacts
    encryption: JSON | None
    fetched_from: str
    requested: Requested

    @property
    def media_format(self) -> str:
        """What it is, whatever it was asked for as."""
        return self.facts.media_format or self.requested.media_format

    @property
    def is_doubtful(self) -> bool:
        """Whether more may come later: it is short or damaged, or nothing is in it, whatever length is told."""
        check = self.facts.check
        return (
            (check.status == "suspect" and self.facts.worth_again) or self.spool.bytes == 0 or check.reason == "empty"
        )

    @property
    def reason(self) -> str:
        """Why."""
        return self.facts.check.reason or "empty"

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


@dataclass(slots=True)
class Looking:
    """What earlier attempts saw of a recording's media that were not whole, and what this one does."""

    earlier: tuple[Look, ...]
    now: datetime
    seen: tuple[Look, ...] = field(default=())

    def confirms(self, media_format: str, size: int, sha256: str) -> bool:
        """Whether it has been just so for hours; notes what was seen."""
        look = Look(media_format=media_format, bytes=size, sha256=sha256, seen_at=self.now)
        for each in self.earlier:
            # Some providers encode on demand: another sum of the same size is no sign that more comes.
            if each.media_format == media_format and (each.sha256 == sha256 or each.bytes == size):
                look = replace(look, seen_at=min(each.seen_at, self.now))
        others = (each for each in (*self.earlier, *self.seen) if each.media_format != media_format)
        self.seen = (*{each.media_format: each for each in others}.values(), look)
        return self.now - look.seen_at >= SECOND_LOOK

    def away(self, media_format: str) -> tuple[int, timedelta]:
        """How often a format did not come while others did, this time among them, and since when; notes it."""
        looks = [each for each in self.earlier if (each.media_format, each.sha256) == (media_format, _AWAY)]
        first = min((each.seen_at for each in looks), default=self.now)
        times = 1 - min((each.bytes for each in looks), default=0)
        look = Look(media_format=media_format, bytes=-times, sha256=_AWAY, seen_at=min(first, self.now))
        others = (each for each in (*self.earlier, *self.seen) if each.media_format != media_format)
        self.seen = (*{each.media_format: each for each in others}.values(), look)
        return times, self.now - look.seen_at

    def was_so(self, media_format: str) -> bool:
        """Whether an earlier attempt saw the same: no passing trouble, that a download more would heal."""
        return any(each.media_format == media_format and each.seen_at < self.now for each in self.seen)

    def next_look(self, media_format: str, recording: Recording) -> timedelta:
        """How long to wait at least: a young recording is looked at often at first, an old one once more."""
        [look] = [each for each in self.seen if each.media_format == media_format]
        since = self.now - look.seen_at
        left = SECOND_LOOK - since
        is_young = self.now - (recording.ended_at or recording.created_at) < YOUNG
        return min(since, left) if is_young else left


def fetch(place: SpoolPlace, line: Line, recording: Recording, media_format: str, looking: Looking) -> Fetched:
    """Fetch and prove. What is not whole is fetched once more; if it stays so for hours it is kept, flagged."""
    first = _whole(place, line, recording, media_format)
    if isinstance(first, Fetched) and not first.is_doubtful:
        return first
    if looking.confirms(media_format, *_sum_of(first)):
        return _kept(first)
    _close(first)
    found = first
    if not looking.was_so(media_format):
        found = _whole(place, line, recording, media_format)
        if isinstance(found, Fetched) and not found.is_doubtful:
            return found
        if looking.confirms(media_format, *_sum_of(found)):
            return _kept(found)
        _close(found)
    why = found.reason if isinstance(found, Fetched) else found.message
    raise Settled(
        recording,
        Verdict.NOT_READY,
        "media.not_whole",
        f"{media_format}: {why}; looked at again, and archived as it is if it is still so after {SECOND_LOOK}",
        retry_after=looking.next_look(media_format, recording).total_seconds(),
    )


def _whole(place: SpoolPlace, line: Line, recording: Recording, media_format: str) -> Fetched | MediaRejected:
    """A fetch; that there was nothing in it is an answer, too."""
    try:
        return _fetch_fresh(place, line, recording, media_format)
    except MediaRejected as error:
        if error.reason != "media.empty":
            raise
        return error


def _close(found: Fetched | MediaRejected) -> None:
    """Free the spool; its sum is kept."""
    if isinstance(found, Fetched):
        found.spool.close()


def _sum_of(found: Fetched | MediaRejected) -> tuple[int, str]:
    return (found.spool.bytes, found.spool.sha256) if isinstance(found, Fetched) else (0, _EMPTY)


def _kept(found: Fetched | MediaRejected) -> Fetched:
    if isinstance(found, MediaRejected):
        raise found
    return found


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

    signed, refused = line.provider.media_url_lifetime is not None, None
    for request in requests:
        asked = Requested(media_format=media_format, channels=request.extensions.get(CHANNELS), refused=refused)
        try:
            receive = partial(_Receiving, place, line, recording, asked)
            return line.session.download(request, receive, signed=signed)
        except Refused as error:
            if request is requests[-1]:
                raise
            # Two channels asked of a mono recording, or a request that is refused but once: the plain one follows.
            refused = f"{asked.channels or 'more'} channels: answered {error.status or 'no'}"
    raise AssertionError("the last request was answered, or raised")


class _Receiving:
    """Spools, hashes and proves a body as it arrives: the sink of one download."""

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
        """See Sink. The spool is the caller's from here on."""
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
            raise Settled(fresh, Verdict.NOT_READY, *_unfinished(fresh))
        case Phase.GONE:
            raise Settled(fresh, Verdict.GONE, "recording.gone", f"its status is {fresh.status}: there are no media")
        case Phase.EXTERNAL:
            where = fresh.external_location or "the customer's own storage"
            raise Settled(fresh, Verdict.EXTERNAL, "recording.external", f"its media lie in {where}")
        case Phase.COMPLETE:
            return fresh


def _unfinished(fresh: Recording) -> tuple[str, str]:
    """Why there are no media of it yet: reason and words."""
    if str(fresh.status).lower() != "completed":
        return "recording.unfinished", f"its status is {fresh.status}"
    return "recording.no_addresses", "it is completed, but its row names no media yet: looked at until give_up_after"
