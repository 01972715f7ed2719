"""A small archive to verify: a ledger with settled recordings, and a bucket with their objects."""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ledger.rows import POLICIES, RECHECK
from recvault import archive
from recvault.archive import KeyTemplate
from recvault.ledger import Expectations, Feed, Ledger
from recvault.models import Check, MediaObject, Phase, Receipt, Recording, Window
from recvault.operations.verify import BucketScope, Result, Sample, Verify
from recvault.shutdown import Stop
from recvault.store.s3.reader import S3Reader
from recvault.store.s3.s3_store import S3Store
from store.places import client_of
from strict_s3 import Bucket

CREATED = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
ALL = 10**9  # recordings per range: all in one


def a_recording(name: str, *, account: str = "AC1", days: int = 0, provider: str = "twilio") -> Recording:
    return Recording(
        provider=provider,
        api="2010-04-01",
        account_id=account,
        recording_id=name,
        created_at=CREATED + timedelta(days=days),
        status="completed",
        phase=Phase.COMPLETE,
        formats=("wav", "mp3"),
        raw={"sid": name},
    )


def body_of(recording: Recording, media_format: str) -> bytes:
    return f"{media_format} of {recording.recording_id} in {recording.account_id} ".encode() * 20


@dataclass
class Stage:
    """The stage of a verify test."""

    root: Path
    bucket: Bucket
    keys: KeyTemplate = field(default_factory=KeyTemplate)
    stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self.path = self.root / "ledger.db"
        self.ledger = Ledger.open(self.path, CREATED)
        self.now = datetime.now(UTC) + timedelta(hours=2)  # so that placed objects are not young

    def register(self, *recordings: Recording, source: str = "main") -> None:
        """Register pending rows."""
        for each in recordings:
            self.ledger.register(Feed(source, each.provider, each.account_id), [each], [], self.now, RECHECK)

    def archive(self, *recordings: Recording, source: str = "main", formats: Iterable[str] = ("wav",)) -> None:
        """Settle rows and put their objects."""
        self.register(*recordings, source=source)
        receipts = [self.receipt(each, source, formats) for each in recordings]
        for receipt in receipts:
            self.place(receipt)
        self.ledger.claim(source, self.now, 10_000)
        self.ledger.settle(receipts, self.now, POLICIES)

    def receipt(self, recording: Recording, source: str = "main", formats: Iterable[str] = ("wav",)) -> Receipt:
        receipt = Receipt(
            source=source,
            recording=recording,
            sidecar_key=self.keys(recording, "json"),
            media=tuple(self._medium(recording, each) for each in formats),
            archived_at=self.now,
        )
        return dataclasses.replace(receipt, sidecar_sha256=hashlib.sha256(sidecar_of(receipt)).hexdigest())

    def _medium(self, recording: Recording, media_format: str) -> MediaObject:
        body = body_of(recording, media_format)
        return MediaObject(
            key=self.keys(recording, media_format),
            media_format=media_format,
            bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            content_type="audio/wav",
            codec=None,
            sample_rate=8000,
            channels=1,
            duration_seconds=1.0,
            check=Check(status="ok", method="wav sizes"),
        )

    def place(self, receipt: Receipt) -> None:
        """Put the objects of a receipt."""
        for medium in receipt.media:
            self.put(medium.key, body_of(receipt.recording, medium.media_format))
        self.put(receipt.sidecar_key, sidecar_of(receipt))

    def put(self, key: str, body: bytes, *, noted: str | None = None) -> None:
        """Put an object with its hash; `noted`: with another one, or none if empty."""
        sha256 = hashlib.sha256(body).hexdigest() if noted is None else noted
        self.bucket.place(key, body, **({"sha256": sha256} if sha256 else {}))

    def lose(self, *keys: str) -> None:
        for key in keys:
            del self.bucket.objects[key]

    def age(self, key: str, moment: datetime) -> None:
        self.bucket.objects[key] = dataclasses.replace(self.bucket.objects[key], modified=moment)

    def key(self, name: str, ext: str = "json", **where: Any) -> str:
        return self.keys(a_recording(name, **where), ext)

    def prepared(
        self,
        *,
        sample: Sample | None = None,
        sources: Iterable[str] | None = None,
        window: Window | None = None,
        accounts: Iterable[tuple[str, str]] | None = None,
        **options: Any,
    ) -> Verify:
        """Return a verification that was not run; the caller must close its expectations."""
        store = S3Store(client_of(self.bucket.url), self.bucket.name, stop=self.stop)
        return Verify(
            **{
                "reader": S3Reader(store, self.stop),
                "ledger": self.ledger,
                "expectations": Expectations(self.path, None if sources is None else list(sources), window),
                "scope": BucketScope(
                    keys=self.keys,
                    window=window or Window(),
                    accounts=None if accounts is None else frozenset(accounts),
                ),
                "sample": sample or Sample(),
                "workers": 4,
                "stop": self.stop,
                "clock": lambda: self.now,
                **options,
            }
        )

    def verify(self, **options: Any) -> Result:
        """Run a verification."""
        verification = self.prepared(**options)
        with verification.expectations:
            return verification.run()

    def forget_sums(self, *names: str) -> None:
        """Remove the sidecars' hashes, as if an earlier version had archived them."""
        with closing(sqlite3.connect(self.path)) as plain, plain:
            plain.executemany("UPDATE recordings SET sidecar_sha256=NULL WHERE recording_id=?", [[n] for n in names])

    def row(self, name: str) -> dict[str, Any]:
        [found] = self.ledger.ask.find(name)
        return found


def sidecar_of(receipt: Receipt) -> bytes:
    return archive.sidecar_bytes(receipt, attempts=1, fetched_from=None, formats_wanted=("wav",))


def told(result: Result) -> list[tuple[str, str, str]]:
    """Return kind, key and reason of each difference."""
    return [(each.kind.value, each.key, each.reason) for each in result.differences]


def counted(result: Result) -> dict[str, int]:
    """Return the counts that are not zero."""
    return {name: count for name, count in result.counts.items() if count}
