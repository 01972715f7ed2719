"""Machines that write a catalog into one bucket, and what is in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import strict_s3
from catalog.conftest import read
from ledger.rows import POLICIES, RECHECK, recording
from operations.manifests.shelf import commit
from recvault.archive import KeyTemplate
from recvault.ledger import Feed, Ledger
from recvault.models import Receipt
from recvault.operations.catalog import Catalog, CatalogSummary
from recvault.operations.manifests import Manifests
from recvault.shutdown import Stop
from recvault.store import Bucket, Put
from store.places import Place, make_put

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
CREATED = {"10": datetime(2026, 10, 5, 9, tzinfo=UTC), "11": datetime(2026, 11, 5, 9, tzinfo=UTC)}
KEYS = KeyTemplate(prefix="p")


@dataclass
class Machine:
    """A ledger and its recvault, on a bucket that others may share."""

    ledger: Ledger
    store: Bucket
    folder: Path
    now: datetime = NOW
    receipts: list[Receipt] = field(default_factory=list)

    def archive(self, *numbers: int, month: str = "10", **values: Any) -> list[Receipt]:
        """Archive recordings of a month."""
        created = CREATED[month]
        listed = [recording(each, created_at=created + timedelta(minutes=each), **values) for each in numbers]
        self.ledger.register(Feed("main", "twilio", "AC1"), listed, (), self.now, RECHECK)
        jobs = self.ledger.claim("main", self.now, 1_000_000)
        receipts = [commit(self.store, KEYS, job.recording, self.now) for job in jobs]
        self.ledger.settle(receipts, self.now, POLICIES)
        return receipts

    def parts(self, **values: Any) -> Catalog:
        return Catalog(
            **{
                "ledger": self.ledger,
                "store": self.store,
                "catalog_store": self.store,
                "replacer": self.store.replacer(),
                "keys": KEYS,
                "clock": lambda: self.now,
                "folder": self.folder,
                **values,
            }
        )

    def write(self, *, rebuild: bool = False, **values: Any) -> CatalogSummary:
        return self.parts(**values).write(rebuild=rebuild)

    def manifests(self) -> None:
        """Write the manifests of a day later."""
        self.now += timedelta(days=1)
        Manifests(ledger=self.ledger, store=self.store, keys=KEYS, clock=lambda: self.now).write()

    def tell(self, name: str, recording_id: str, **call: Any) -> None:
        """Put an object with late call facts."""
        line = {"provider": "twilio", "account_id": "AC1", "recording_id": recording_id, "call": call}
        self.store.put(make_put(f"p/calls/provider=twilio/account=AC1/date=2026-12-01/{name}.jsonl", _json(line)))

    def rows(self, month: str) -> list[dict[str, Any]]:
        """Return what the catalog says of a month."""
        return self._read(f"recordings/month=2026-{month}/recordings.parquet")

    def ids(self, month: str) -> list[str]:
        return [row["recording_id"] for row in self.rows(month)]

    def days(self) -> dict[str, int]:
        """Return the number of recordings by month, of the days' file."""
        found: Counter[str] = Counter()
        for each in self._read("days.parquet"):
            found[each["day"][5:7]] += each["recordings"]
        return dict(found)

    def _read(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / "read.parquet"
        with path.open("wb") as file:
            assert self.store.replacer().fetch(f"p/catalog/{name}", file)
        return read(path)


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


MakeMachine = Callable[..., Machine]


@pytest.fixture
def place(strict_s3_bucket: strict_s3.Bucket) -> Place:
    return Place("aws", strict_s3_bucket.url, strict_s3_bucket.name, strict_s3_bucket)


@pytest.fixture
def strict_s3_bucket(strict_bucket: strict_s3.Bucket) -> strict_s3.Bucket:
    return strict_bucket


@pytest.fixture
def machine_of(tmp_path: Path) -> Iterator[MakeMachine]:
    """Make machines, each with a ledger of its own."""
    made: list[Machine] = []

    def make(store: Bucket) -> Machine:
        folder = tmp_path / f"machine-{len(made)}"
        folder.mkdir()
        made.append(Machine(Ledger.open(folder / "ledger.db", NOW), store, folder))
        return made[-1]

    yield make
    for each in made:
        each.ledger.close()


@pytest.fixture
def machine(machine_of: MakeMachine, place: Place) -> Machine:
    """A machine with a bucket in S3."""
    return machine_of(place.store())


@dataclass
class Requests:
    """Requests that a bucket has answered since it was made, by operation and kind of key."""

    bucket: strict_s3.Bucket

    def __post_init__(self) -> None:
        self.bucket.log.clear()

    def counts(self, begins: str = "p/") -> dict[str, int]:
        found = Counter(each.op for each in self.bucket.log if each.key.startswith(begins) and each.op != "LIST")
        return dict(found)


class Killed(BaseException):
    """The process ends here."""


class Between:
    """A Replacer that acts before a put, or after it."""

    def __init__(
        self, store: Bucket, *, before: Callable[[], object] | None = None, after: Callable[[], object] | None = None
    ) -> None:
        self._replacer, self._before, self._after = store.replacer(), before, after
        self.version, self.fetch = self._replacer.version, self._replacer.fetch

    def replace(self, put: Put, version: str | None) -> bool:
        if before := self._before:
            self._before = None
            before()
        done = self._replacer.replace(put, version)
        if self._after:
            self._after()
        return done


def stopped() -> Stop:
    stop = Stop()
    stop.asked.set()
    return stop
