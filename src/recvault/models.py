"""The plain values that cross floors: frozen, slotted, picklable, and free of secrets.

Sizes are bytes, durations are seconds, times are aware UTC.
"""

from __future__ import annotations

import enum
import functools
import json
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import repeat
from operator import attrgetter
from typing import Any, ClassVar, Self

JSON = dict[str, Any]

_COMPACT = json.JSONEncoder(separators=(",", ":"))  # json.dumps creates one each time

WORKER_LOST = "worker.lost"  # its process died while it ran other jobs, too: due again now, alone
WORKER_CRASHED = "worker.crashed"  # its process died while it ran nothing else
KEY_TAKEN = "store.key_taken"  # reasons that stay with an archived recording, for the operator to know
FORMATS_MISSING = "media.formats_missing"
SUSPECT = "media.suspect"
CREDENTIALS_REFUSED, UNSAFE_ADDRESS = "credentials.refused", "media.unsafe_address"
# Reasons that only the operator can change. A wrong configuration (config.wrong) is told of the bucket.
BY_CONFIGURATION = (CREDENTIALS_REFUSED, UNSAFE_ADDRESS)
DRAINED = "drained"  # a stop interrupted the transfer: due again now
MISSING = "recording.missing"  # 404 for a listed recording: gone only if still so hours later
ELSEWHERE = "media.elsewhere"  # 404 for media whose row names another host: external, unless the recording is young


class Phase(enum.StrEnum):
    """A recording's status at its provider, whatever the provider calls it."""

    UNFINISHED = "unfinished"  # being recorded or processed; unknown statuses too: read again until final
    COMPLETE = "complete"  # final, media can be fetched
    GONE = "gone"  # final, and it has no media: absent, failed or deleted
    EXTERNAL = "external"  # final; the media are in the customer's own storage


class Verdict(enum.StrEnum):
    """What to do next with a recording whose transfer did not end in a receipt."""

    RETRY = "retry"
    NOT_READY = "not_ready"
    GONE = "gone"
    EXTERNAL = "external"
    FATAL = "fatal"


class Doubt(enum.StrEnum):
    """Why a failure may be the service's, and not the recording's own."""

    ANSWERED = "answered"  # the service answered the request for this recording with the error
    AWAY = "away"  # no real answer: unreachable, too slow or overloaded


class State(enum.StrEnum):
    """A recording's state in the ledger. Failing: pending after a failure; not_ready: pending at the provider."""

    PENDING = "pending"
    FAILING = "failing"
    NOT_READY = "not_ready"
    ARCHIVED = "archived"
    GONE = "gone"
    EXTERNAL = "external"
    DEAD = "dead"
    ERASED = "erased"  # on request: nothing is kept of it, and nothing brings it back
    ACCEPTED = "accepted"  # the operator accepts that it can never be archived


def stamp(moment: datetime) -> str:
    """Write an aware time as fixed-width UTC text, so that text order is time order."""
    if moment.tzinfo is None:
        raise ValueError("a time needs a time zone")
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def unstamp(text: str) -> datetime:
    """Read what `stamp` wrote."""
    return datetime.fromisoformat(text)


class Travels:
    """Data for worker processes: pickled as its fields, at half the size of a dataclass."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        kind: Any = type(self)
        return _made, (kind, _values(kind)(self))

    def altered(self, **changes: Any) -> Self:
        """Copy it with other values of some fields: as `dataclasses.replace`, at a tenth of its cost."""
        kind: Any = type(self)
        known = dict(zip(kind.__slots__, _values(kind)(self), strict=True))
        known.update(changes)
        made: Self = _made(kind, known.values())
        return made


@functools.cache
def _values(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*(each.name for each in fields(kind)))


def _made(kind: type[Any], values: Collection[Any]) -> Any:
    """Create an instance from the values of all fields, in order, without `__init__`."""
    if len(values) != len(kind.__slots__):
        raise ValueError(f"{len(values)} values for {len(kind.__slots__)} fields of {kind.__name__}")
    made = object.__new__(kind)
    deque(map(object.__setattr__, repeat(made), kind.__slots__, values), 0)  # a loop here costs three times as much
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording(Travels):
    """One recording as its provider lists it. Identity is (provider, account_id, recording_id)."""

    provider: str  # part of the identity: the three Twilio APIs share "twilio"
    api: str  # which wire format listed it: "2010-04-01", "2008-08-01", "video-v1", "v2", "laml"
    account_id: str
    recording_id: str
    created_at: datetime
    status: str | None  # the provider's status, unchanged; None if the API has none (2008)
    phase: Phase
    formats: tuple[str, ...]  # media formats that can be fetched, best first
    call_id: str | None = None
    conference_id: str | None = None
    room_id: str | None = None
    participant_id: str | None = None
    leg_id: str | None = None
    session_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: float | None = None  # as the provider says
    channels: int | None = None
    recorded_by: str | None = None  # the provider's `source`
    track: str | None = None
    price: float | None = None
    price_unit: str | None = None
    size_bytes: int | None = None  # of the media, where the provider says (Video)
    codec: str | None = None  # as the provider says (Video)
    external_location: str | None = None
    encryption: JSON | None = None  # what is needed for decryption besides the private key
    raw: JSON = field(default_factory=dict, compare=False)  # the provider's row; signatures are cut out of its URLs
    media_urls: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Signed URLs by format, where the provider mints them. A credential: in memory only, never stored or logged."""

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.provider, self.account_id, self.recording_id)

    TIMES: ClassVar[frozenset[str]] = frozenset({"created_at", "started_at", "ended_at"})
    UNSTORED: ClassVar[frozenset[str]] = frozenset({"media_urls"})

    def to_json(self) -> str:
        """Write everything known but the signed URLs as one JSON text; `from_json` reads it."""
        document = {
            name: value for name, value in zip(_FIELDS, _values(Recording)(self), strict=True) if value is not None
        }
        for name in self.UNSTORED:
            del document[name]
        for name in self.TIMES & document.keys():
            document[name] = stamp(document[name])
        return _COMPACT.encode(document)

    @classmethod
    def from_json(cls, text: str) -> Recording:
        """Read what `to_json` wrote; unknown keys of a newer version are ignored."""
        document = json.loads(text)
        for name in document.keys() - _FIELDS.keys():
            del document[name]
        for name in cls.TIMES:
            document[name] = unstamp(document[name]) if document.get(name) else None
        document["phase"], document["formats"] = Phase(document["phase"]), tuple(document["formats"])
        return cls(**{"status": None, **document})  # required, even if unknown


_FIELDS = dict.fromkeys(each.name for each in fields(Recording))


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open UTC interval `[since, until)` of `created_at`; None is unbounded."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        return (self.since is None or self.since <= moment) and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which list of an account: the whole account, or one call's, conference's or room's."""

    kind: str = "account"  # account | call | conference | room
    id: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" if self.id else self.kind


ACCOUNT = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A row that could not be read: quarantined, while its page is processed."""

    body: str
    reason: str
    recording_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look(Travels):
    """How incomplete media were when checked: they are accepted only if unchanged hours later."""

    media_format: str
    bytes: int
    sha256: str  # hex
    seen_at: datetime  # when it was first seen in this state


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Travels):
    """The result of the media check. `suspect` is archived and flagged, never dropped."""

    status: str  # ok | suspect | unchecked
    method: str  # e.g. "wav sizes", "mp3 frames", "ebml", "ciphertext"
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested(Travels):
    """What was requested: the provider may serve another format, or fewer channels."""

    media_format: str
    channels: int | None = None  # None: the provider's default
    refused: str | None = None  # message about a better request that was refused


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaObject(Travels):
    """One media file in the bucket."""

    key: str
    media_format: str
    bytes: int
    sha256: str  # hex
    content_type: str
    codec: str | None
    sample_rate: int | None
    channels: int | None
    duration_seconds: float | None  # measured
    check: Check
    requested: Requested | None = field(default=None, compare=False)  # None: it was found in the bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFormat(Travels):
    """A wanted format that was given up, and why: a dotted constant."""

    media_format: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier(Travels):
    """The sidecar of the edition before this one."""

    sidecar_key: str
    sidecar_sha256: str | None
    replaced: bool = False  # its media were lost, and this edition replaces them


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Travels):
    """Proof that a recording is committed: its sidecar and all its media are in the bucket."""

    source: str
    recording: Recording
    sidecar_key: str
    media: tuple[MediaObject, ...]
    archived_at: datetime
    already_archived: bool = False  # nothing was transferred: the commit was found in the bucket
    sidecar_sha256: str | None = None  # hex; of the sidecar's bytes as they were put or read
    missing: tuple[MissingFormat, ...] = ()
    taken: tuple[str, ...] = ()  # keys of this recording that are occupied by foreign objects
    earlier: Earlier | None = None  # the earlier edition that this one is stored beside
    has_call: bool = False  # its sidecar holds the facts of the call, which this receipt does not

    @property
    def bytes(self) -> int:
        return sum(medium.bytes for medium in self.media)

    @property
    def note(self) -> tuple[str, str] | None:
        """What an operator should know: a dotted constant and a message."""
        known: list[tuple[str, str]] = []
        suspect = [each for each in self.media if each.check.status == "suspect"]
        if suspect:
            reasons = "; ".join(f"{each.media_format}: {each.check.reason}" for each in suspect)
            known.append((SUSPECT, f"archived as the provider served it, and flagged: {reasons}"))
        if self.missing:
            lacking = ", ".join(f"{each.media_format} ({each.reason})" for each in self.missing)
            known.append((FORMATS_MISSING, f"the provider did not serve every wanted format: {lacking}"))
        if self.taken:
            known.append(
                (KEY_TAKEN, f"its keys are occupied by other objects, which were kept: {', '.join(self.taken)}")
            )
        return (known[0][0], "; ".join(words for _, words in known)) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Travels):
    """One recording to transfer. Names its source and account, and carries no secret."""

    source: str
    recording: Recording
    attempt: int  # this one included: counted before the work
    maybe_archived: bool  # an earlier attempt of this ledger may have put objects of it
    confirms: bool = False  # it was missing hours ago: if it still is, it is gone
    alone: bool = False  # to run alone in its process, because it ran when a process died
    faults: int = 0  # number of earlier attempts that failed by its own fault
    watched_since: datetime | None = None  # since when recvault waits for it to be finished
    looks: tuple[Look, ...] = ()
    standing: Receipt | None = None  # the earlier commit, if it is archived
    again: bool = False  # it is archived: look for a better version
    call: JSON | None = field(default=None, repr=False, compare=False)  # the facts of its call, if already known


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Travels):
    """Why a transfer did not end in a receipt, and what to do next."""

    source: str
    recording: Recording  # as last read: a refreshed row replaces the listed one
    verdict: Verdict
    reason: str  # a dotted constant, e.g. "media.truncated"
    message: str  # for the operator: what happened, and what to do
    retry_after: float | None = None  # seconds, where the provider said
    counted: bool = True  # False: not the recording's fault (store down, credentials refused, drained)
    doubt: Doubt | None = None  # set: it counts only if the other recordings show that it is its own fault
    may_have_put: bool = True  # False: no put was started
    looks: tuple[Look, ...] = ()  # incomplete media; empty: unchanged


class Scheme(enum.StrEnum):
    """How a medium's own key is wrapped by RSA, and how its bytes are encrypted by AES-256."""

    OAEP_GCM = "RSA-OAEP with SHA-256, AES-GCM with its tag at the end"
    PKCS1_CBC = "RSA with PKCS#1 v1.5, AES-CBC padded"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A medium's own key as its provider states it, both texts in base64: of any type, as nothing is verified yet."""

    scheme: Scheme
    key: object
    vector: object
    public_key_id: str | None = None  # None: not stated
    plain_bytes: int | None = None  # of the plaintext, if the provider states it


Outcome = Receipt | Failure
