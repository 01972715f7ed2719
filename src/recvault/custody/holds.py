"""Holds: which recordings may be neither erased nor pruned. The records decide, whatever locks the bucket has.

    holds/NAME/20261201T041500.000000Z-0.json         holds the recordings that it names
    holds/NAME/20261203T101500.000000Z-release.json   ends what was put under this name before

A hold names recordings, never a number. Adding to a name extends it; adding after a release begins a new hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from recvault.archive import HOLDS, escape, unescape
from recvault.custody.records import Record, Records, RecordSchema, record_key
from recvault.errors import ConfigError, KeyRefused, TooLarge
from recvault.models import JSON, stamp

MOST = 10_000  # recordings a record
_RELEASE = "-release.json"
_FORM = "%Y%m%dT%H%M%S.%fZ"  # of the time in a path
Identity = tuple[str, str, str]


@dataclass(slots=True, kw_only=True)
class StandingHold:
    """One that is not released."""

    name: str
    since: str
    reference: str
    recordings: set[Identity] = field(default_factory=set, repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """All holds that are not released."""

    holds: tuple[StandingHold, ...] = ()
    _by: dict[Identity, list[str]] = field(default_factory=dict, repr=False)

    def __contains__(self, identity: object) -> bool:
        """Whether the recording of a (provider, account, recording id) is held."""
        return identity in self._by

    def names(self, identity: Identity) -> list[str]:
        """Return the names of the holds of a recording."""
        return self._by.get(identity, [])


def held(records: Records) -> Held:
    """Read all holds: one listing, and a request for each record that is not released.

    Raises ConfigError for a record that cannot be read, as it may hold anything: then nothing may be deleted.
    """
    holds, by = list[StandingHold](), defaultdict[Identity, list[str]](list)
    for name, paths in _open(records.paths(HOLDS)):
        hold = StandingHold(name=name, since="", reference="")
        for path in paths:
            document = _read(records, path).document
            hold.name = str(document.get("name") or name)  # in the path a long one is shortened
            hold.since = hold.since or str(document.get("at") or "")
            hold.reference = hold.reference or str(document.get("reference") or "")
            hold.recordings |= set(_recordings(path, document.get("recordings")))
        holds.append(hold)
        for identity in hold.recordings:
            by[identity].append(hold.name)
    return Held(tuple(holds), dict(by))


def add_hold(
    records: Records, name: str, recordings: Iterable[Identity], *, reference: str, selection: JSON, now: datetime
) -> list[str]:
    """Put the records of a hold; return their paths. Some may be there after an error: the same command goes on."""
    each, paths, at = iter(sorted(set(recordings))), list[str](), _later(records, name, now)
    while some := list(islice(each, MOST)):
        names = ("provider", "account_id", "recording_id")
        document = {
            "name": name,
            "reference": reference,
            "at": stamp(now),
            "selection": selection,
            "recordings": [dict(zip(names, identity, strict=True)) for identity in some],
        }
        path = record_key(HOLDS, name, f"{_at(at)}-{len(paths)}")
        records.put(path, RecordSchema.HOLD, document)
        paths.append(path)
    return paths


def release_hold(records: Records, name: str, *, reference: str, now: datetime) -> str:
    """Put the record that ends a hold; return its path."""
    path = record_key(HOLDS, name, f"{_at(_later(records, name, now))}{_RELEASE.removesuffix('.json')}")
    records.put(path, RecordSchema.RELEASE, {"name": name, "reference": reference, "at": stamp(now)})
    return path


def named_by(records: Records, name: str) -> set[Identity]:
    """Return what a hold names, or named before it was released."""
    found = set[Identity]()
    for path in records.paths(f"{HOLDS}{escape(name)}/"):
        if not path.endswith(_RELEASE):
            found |= set(_recordings(path, _read(records, path).document.get("recordings")))
    return found


def _at(now: datetime) -> str:
    return f"{now.astimezone(UTC):{_FORM}}"


def _later(records: Records, name: str, now: datetime) -> datetime:
    """Return a time after all records of a hold: another host's clock may be ahead, and their order is what counts."""
    for path in records.paths(f"{HOLDS}{escape(name)}/"):
        try:
            last = datetime.strptime(path.rpartition("/")[2].partition("-")[0], _FORM).replace(tzinfo=UTC)
        except ValueError:
            continue
        now = max(now, last + timedelta(microseconds=1))
    return now


def _open(paths: Iterable[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each hold's name and the records that no release came after; paths are in key order, which is by time."""
    of = defaultdict[str, list[str]](list)
    for path in paths:
        folder = path.removeprefix(HOLDS).partition("/")[0]
        if path.endswith(_RELEASE):
            of[folder].clear()
        else:
            of[folder].append(path)
    yield from ((unescape(folder) or folder, each) for folder, each in of.items() if each)


def _read(records: Records, path: str) -> Record:
    try:
        record = records.read(path)
    except (KeyRefused, TooLarge, ValueError) as error:
        raise _unclear(path, str(error)) from error
    if record is None or record.schema != RecordSchema.HOLD:
        raise _unclear(path, "it is not a hold" if record else "it is not there any more")
    return record


def _recordings(path: str, found: object) -> Iterator[Identity]:
    try:
        for each in found if isinstance(found, list) else ():
            yield (str(each["provider"]), str(each["account_id"]), str(each["recording_id"]))
    except (KeyError, TypeError) as error:
        raise _unclear(path, "it does not say which recordings it holds") from error
    if not isinstance(found, list):
        raise _unclear(path, "it does not say which recordings it holds")


def _unclear(path: str, why: str) -> ConfigError:
    return ConfigError(
        f"{path}: {why}: what it holds is unknown, so nothing is deleted",
        "if recvault did not write it, move it away; else restore it from an earlier version",
    )
