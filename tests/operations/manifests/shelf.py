"""A bucket in memory and a ledger, with recordings archived at given times; and copies of the bucket."""

from __future__ import annotations

import hashlib
import io
import itertools
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ledger.rows import POLICIES, RECHECK, recording
from recvault import archive
from recvault.archive import KeyTemplate
from recvault.ledger import Feed, Ledger
from recvault.models import Check, Job, MediaObject, Receipt, Recording
from recvault.operations.manifests import Manifests, Summary
from recvault.store import ObjectStore, Put
from recvault.testing.memory import MemoryStore

DAY = timedelta(days=1)
MORNING = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
ACCOUNT = "manifests/provider=twilio/account=AC1"


def manifest_key(number: int, account: str = ACCOUNT) -> str:
    return f"{account}/number={number:08}/manifest-sha256.txt"


@dataclass
class Shelf:
    """One machine: a ledger, over a bucket that others may share."""

    root: Path
    ledger: Ledger
    store: ObjectStore = field(default_factory=MemoryStore)
    keys: KeyTemplate = field(default_factory=KeyTemplate)
    now: datetime = MORNING

    @classmethod
    def opened(cls, root: Path, name: str = "ledger.db", now: datetime = MORNING, **values: Any) -> Shelf:
        return cls(root=root, ledger=Ledger.open(root / name, now), now=now, **values)

    @property
    def objects(self) -> dict[str, bytes]:
        assert isinstance(self.store, MemoryStore)
        return self.store.objects

    @property
    def manifests(self) -> list[str]:
        """Return the keys of all manifests."""
        return sorted(key for key in self.objects if "manifest-sha256" in key)

    def archive(self, *numbers: int, account: str = "AC1", at: datetime | None = None) -> None:
        """Archive recordings as a transfer does, and settle them."""
        jobs = self.claimed(numbers, account)
        self.settle([commit(self.store, self.keys, job.recording, at or self.now) for job in jobs])

    def claimed(self, numbers: Iterable[int], account: str = "AC1") -> list[Job]:
        listed = [recording(number, account_id=account) for number in numbers]
        self.ledger.register(Feed("main", "twilio", account), listed, (), self.now, RECHECK)
        return self.ledger.claim("main", self.now, 1_000_000)

    def settle(self, receipts: Iterable[Receipt]) -> None:
        self.ledger.settle(receipts, self.now, POLICIES)

    def write(self, *, survey: bool = False, **values: Any) -> Summary:
        """Write the due manifests."""
        parts = {"ledger": self.ledger, "store": self.store, "keys": self.keys, "clock": lambda: self.now, **values}
        return Manifests(**parts).write(survey=survey)

    def next_day(self, days: int = 1) -> None:
        self.now += days * DAY

    def copy(self, name: str = "copy") -> Path:
        """Copy the bucket as `aws s3 sync` does."""
        return copied(self.objects, self.root / name)


def copied(objects: dict[str, bytes], root: Path) -> Path:
    for key, body in objects.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return root


def commit(store: ObjectStore, keys: KeyTemplate, listed: Recording, at: datetime) -> Receipt:
    """Put a recording's medium and sidecar."""
    body = f"the sound of {listed.account_id} {listed.recording_id}".encode()
    medium = _put(store, listed, keys(listed, "wav"), body)
    media = MediaObject(
        key=medium.key,
        media_format="wav",
        bytes=medium.bytes,
        sha256=medium.sha256,
        content_type="audio/wav",
        codec=None,
        sample_rate=None,
        channels=None,
        duration_seconds=None,
        check=Check(status="ok", method="wav sizes"),
    )
    receipt = Receipt(source="main", recording=listed, sidecar_key=keys(listed, "json"), media=(media,), archived_at=at)
    sidecar = archive.sidecar_bytes(receipt, attempts=1, fetched_from=None, formats_wanted=("wav",))
    return replace(receipt, sidecar_sha256=_put(store, listed, receipt.sidecar_key, sidecar).sha256)


def found(receipt: Receipt) -> Receipt:
    """Return the same commit, as found in the bucket."""
    return replace(receipt, already_archived=True)


def _put(store: ObjectStore, listed: Recording, key: str, body: bytes) -> Put:
    sha256 = hashlib.sha256(body).hexdigest()
    put = Put(
        key=key,
        body=io.BytesIO(body),
        bytes=len(body),
        sha256=sha256,
        content_type="application/octet-stream",
        metadata=archive.object_metadata(listed, sha256),
    )
    store.put(put)
    return put


def sha256sum(root: Path) -> subprocess.CompletedProcess[str]:
    """Run `sha256sum -c` on every manifest of a copy."""
    manifests = sorted(str(path.relative_to(root)) for path in root.rglob("manifest-sha256.txt"))
    return subprocess.run(
        ["sha256sum", "--check", "--strict", *manifests], cwd=root, capture_output=True, text=True, check=False
    )


def listed_in(body: bytes) -> list[str]:
    """Return the paths in a manifest, including its link."""
    return [line.split("  ", 1)[1] for line in body.decode().splitlines() if not line.startswith("#")]


def files(shelf: Shelf) -> list[str]:
    """Return every object of a recording."""
    return sorted(key for key in shelf.objects if key.startswith("recordings/"))


def covered(shelf: Shelf) -> Counter[str]:
    """Count how often each object is listed in manifests."""
    paths = [path for key in shelf.manifests for path in listed_in(shelf.objects[key])]
    return Counter(path for path in paths if not path.startswith("manifests/"))


def place(shelf: Shelf, key: str, body: bytes) -> None:
    """Put any object under any key."""
    sha256 = hashlib.sha256(body).hexdigest()
    values = {"content_type": "text/plain", "metadata": {"sha256": sha256}}
    shelf.store.put(Put(key=key, body=io.BytesIO(body), bytes=len(body), sha256=sha256, **values))  # type: ignore[arg-type]


def remove(shelf: Shelf, key: str) -> bytes:
    """Remove an object, as somebody with the permission; return its bytes."""
    assert isinstance(shelf.store, MemoryStore)
    del shelf.store.stored[key]
    return shelf.store.objects.pop(key)


def undo_migration(path: Path) -> None:
    """Turn a ledger into one of the version before manifests."""
    with sqlite3.connect(path) as plain:
        for kind, name in (("TRIGGER", "unlisted_update"), ("TRIGGER", "unlisted_insert")):
            plain.execute(f"DROP {kind} {name}")
        plain.executescript("DROP TABLE unlisted; DROP TABLE chains;")
        plain.execute("DELETE FROM _sqlite_migrations WHERE name = 'fifth'")
    plain.close()


# -- stores that wrap another ------------------------------------------------------------------------------------------


class Counted:
    """Counts the requests to a store."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> Any:
            self.asked[name] += 1
            return getattr(self.store, name)(*arguments)

        return ask


class Killed(BaseException):
    """The process ends here."""


def struck(shelf: Shelf, effect: int, when: str) -> Shelf:
    """Return the same shelf, which ends at its nth effect (a put or a note), done (`after`) or not."""
    effects = itertools.count(1)

    def strike(act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*arguments: Any) -> Any:
            number = next(effects)
            if number == effect and when == "before":
                raise Killed
            done = act(*arguments)
            if number == effect:
                raise Killed
            return done

        return acted

    ledger, store = shelf.ledger, Counted(shelf.store)
    store.put = strike(shelf.store.put)  # type: ignore[attr-defined]
    ledger.unlisted.note = strike(ledger.unlisted.note)  # type: ignore[method-assign]
    return replace(shelf, store=store)  # type: ignore[arg-type]


class Overtaken(Counted):
    """Lets another act before its first put."""

    def __init__(self, store: ObjectStore, other: Callable[[], object]) -> None:
        super().__init__(store)
        self._others = [other]

    def put(self, put: Put) -> bool:
        while self._others:
            self._others.pop()()
        return self.store.put(put)
