"""What is to be erased: recordings by number, call or id, wherever they stand: bucket, ledger, call facts, quarantine.

The sidecars decide, not the catalog, which may be a day old: an erasure must miss nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from recvault.app.runtime import Runtime
from recvault.archive import CALLS, Sidecar, escape
from recvault.catalog.flatten import digits, facts_rows
from recvault.custody import Tombstone
from recvault.errors import KeyRefused, TooLarge
from recvault.ledger.questions import Row
from recvault.models import JSON, Window, unstamp
from recvault.reading import Archive
from recvault.reading.recordings import ArchivedRecording

LARGEST_CALLS = 64 << 20
Identity = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What was asked for: any of these, created within the window."""

    numbers: tuple[str, ...] = ()  # digits
    calls: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    window: Window = field(default_factory=Window)


@dataclass(slots=True, kw_only=True)
class Target:
    """A recording to erase, with the objects that are known of it."""

    identity: Identity
    created_at: datetime | None = None
    sidecar_key: str | None = None
    objects: dict[str, tuple[str | None, int | None]] = field(default_factory=dict)  # SHA-256 and bytes by key

    def document(self) -> JSON:
        """Return its tombstone's facts."""
        erased = [{"key": key, "sha256": sum_, "bytes": size} for key, (sum_, size) in sorted(self.objects.items())]
        created_at = self.created_at and self.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {**self.names, "created_at": created_at, "sidecar_key": self.sidecar_key, "erased": erased}

    @property
    def names(self) -> JSON:
        return dict(zip(("provider", "account_id", "recording_id"), self.identity, strict=True))


class Targets:
    """Finds them, once."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._found: dict[Identity, Target] = {}
        self.quarantined: list[int] = []  # rows that no recording is known of
        self.unreadable: list[str] = []

    def selected(self, criteria: Criteria) -> list[Target]:
        """Return all that is asked for."""
        archive = Archive.over(self._runtime.store, self._runtime.keys, catalog=False, stop=self._runtime.stop)
        since, until = criteria.window.since, criteria.window.until
        asked = [{"number": each} for each in criteria.numbers] + [{"call_id": each} for each in criteria.calls]
        asked += [{"recording_id": each} for each in criteria.recordings]
        for each in asked:
            for recording in archive.recordings(since, until, **each):
                self._archived(recording)
        self.unreadable = [each.key for each in archive.unreadable]
        self._by_calls(criteria)
        if self._runtime.has_ledger:
            self._by_ledger(criteria)
        return sorted(self._found.values(), key=lambda target: target.identity)

    def again(self, stone: Tombstone) -> Target:
        """Return what a tombstone names."""
        target = self._target(stone.identity)
        said = stone.document
        if isinstance(created := said.get("created_at"), str):
            target.created_at = target.created_at or unstamp(created)
        target.sidecar_key = target.sidecar_key or said.get("sidecar_key")
        for each in said.get("erased") or ():
            self._note(target, str(each["key"]), each.get("sha256"), each.get("bytes"))
        if target.created_at is None and self._runtime.has_ledger:
            for row in self._runtime.ledger.ask.find(stone.identity[2]):
                self._row(row)
        return target

    def _target(self, identity: Identity) -> Target:
        return self._found.setdefault(identity, Target(identity=identity))

    def _archived(self, recording: ArchivedRecording) -> None:
        target = self._target(recording.identity)
        target.created_at, target.sidecar_key = recording.created_at, recording.sidecar_key
        size = recording.row.get("sidecar_bytes")
        self._note(target, recording.sidecar_key, recording.sidecar_sha256, size)
        for each in recording.media:
            self._note(target, each.key, each.sha256, each.bytes)

    def _note(self, target: Target, key: str, sha256: str | None, size: int | None) -> None:
        """Note an object of a recording. What a document names but another recording owns, or recvault itself, is not
        one: whoever can write a document must not choose what is deleted.
        """
        keys, parts = self._runtime.keys, self._runtime.keys.read(key)
        names = tuple(map(escape, target.identity))
        is_of_another = parts is not None and (parts.provider, parts.account, parts.recording_id) != names
        if not (is_of_another or keys.is_reserved(key)):
            known = target.objects.get(key, (None, None))
            target.objects[key] = (sha256 or known[0], known[1] if size is None else size)

    def _by_calls(self, criteria: Criteria) -> None:
        """Find recordings whose call facts under `calls/` have a number, whatever their sidecar says."""
        if not criteria.numbers:
            return
        runtime = self._runtime
        wanted = set(criteria.numbers)
        for key, body in call_objects(runtime, runtime.keys.prefix + CALLS):
            for facts in facts_rows(body) if body is not None else self._unread(key):
                identity = (facts["provider"], facts["account_id"], facts["recording_id"])
                if wanted & set(facts["numbers"] or ()) and identity not in self._found:
                    self._from_elsewhere(identity, criteria.window)

    def _unread(self, key: str) -> tuple[JSON, ...]:
        self.unreadable.append(key)
        return ()

    def _from_elsewhere(self, identity: Identity, window: Window) -> None:
        """Take a recording that something other than its sidecar names, if it was created within the window."""
        archive = Archive.over(self._runtime.store, self._runtime.keys, catalog=False, stop=self._runtime.stop)
        for recording in archive.recordings(recording_id=identity[2]):
            if recording.identity == identity and recording.created_at in window:
                self._archived(recording)

    def _by_ledger(self, criteria: Criteria) -> None:
        ask, custody = self._runtime.ledger.ask, self._runtime.ledger.custody
        rows = [row for each in criteria.recordings for row in ask.find(each)]
        for call in criteria.calls:
            for found in ask.recordings(call=call, limit=1_000_000):
                rows += ask.find(found["recording_id"], found["source"])
        for number in criteria.numbers:
            identities, quarantined = custody.naming(digits(number))
            self.quarantined += quarantined
            rows += [row for each in identities for row in ask.find(each[2]) if identity_in(row) == each]
        for row in rows:
            if unstamp(row["created_at"]) in criteria.window and row["state"] != "erased":
                self._row(row)

    def _row(self, row: Row) -> None:
        target = self._target(identity_in(row))
        target.created_at = target.created_at or unstamp(row["created_at"])
        if row["sidecar_key"]:
            target.sidecar_key = target.sidecar_key or row["sidecar_key"]
            self._note(target, row["sidecar_key"], row["sidecar_sha256"], None)
            self._read_sidecar(target, row["sidecar_key"])

    def _read_sidecar(self, target: Target, key: str) -> None:
        """Add the media that a sidecar names; one that cannot be read names none, and its versions are found by key."""
        try:
            body = self._runtime.store.get(key)
            sidecar = Sidecar.read(body or b"")
            self._note(target, key, sidecar.sha256, len(body or b""))
            for each in sidecar.media:
                self._note(target, each.key, each.sha256, each.bytes)
        except (KeyRefused, TooLarge, ValueError):
            return


def identity_in(row: Row) -> Identity:
    """Return whose row of the ledger it is."""
    return (row["provider"], row["account_id"], row["recording_id"])


def call_objects(runtime: Runtime, prefix: str) -> Iterator[tuple[str, bytes | None]]:
    """Yield key and bytes of each object of call facts; None for one that cannot be read."""
    for stored in list(runtime.store.list(prefix)):
        runtime.stop.check()
        try:
            body = runtime.store.get(stored.key, LARGEST_CALLS)
        except (KeyRefused, TooLarge):
            yield stored.key, None
        else:
            yield stored.key, body if body is not None else b""
