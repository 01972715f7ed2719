"""Daemons, passes and backfills are killed at random instants while everything around them fails.

    RECVAULT_TEST_STRIKES=500 RECVAULT_TEST_RECORDINGS=50000 pytest -n 0 -s tests/faults/test_kills.py

With RECVAULT_TEST_LIFE=8 and fewer recordings most of them are archived during faults, not after them.

Recordings of all five providers appear all the while, some late, some unfinished. One request in ten to a provider
gets a fault, one in ten to the bucket an error, a throttle, a reset before or after its bytes were stored, or silence.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from faults.truth import assert_the_truth
from faults.victims import begun
from recvault.simulator import SimAccount, Simulator
from recvault.simulator.recording import Api
from rig import SOURCES, Rig, now
from strict_s3 import Bucket

pytestmark = pytest.mark.long

STRIKES = int(os.environ.get("RECVAULT_TEST_STRIKES", "6"))
RECORDINGS = int(os.environ.get("RECVAULT_TEST_RECORDINGS", "240"))
LIFE = float(os.environ.get("RECVAULT_TEST_LIFE", "1.5"))  # the longest life at work, in seconds
SHARE = 0.1
LOOKBACK = timedelta(seconds=60)
_LATEST = 20.0  # seconds after its date until a recording is listed
_PASSES = 60  # after which all must be archived, without further faults
_APIS: tuple[tuple[str, Api], ...] = (
    ("voice", "voice"),
    ("video", "video"),
    ("telnyx", "telnyx"),
    ("signalwire", "signalwire"),
)
_WORK = (
    ("run", "--json"),
    ("run", "--json"),
    ("sync", "--json"),
    ("sync", "--json"),
    ("backfill", "--source", "voice", "--json"),
    ("backfill", "--source", "telnyx", "--json"),
    ("backfill", "--source", "video", "--processes", "2", "--json"),
)


@dataclass(slots=True, kw_only=True)
class Siege:
    """A rig under attack."""

    rig: Rig
    simulator: Simulator
    bucket: Bucket
    accounts: dict[str, SimAccount]
    draw: random.Random = field(default_factory=lambda: random.Random(500))
    struck: Counter[str] = field(default_factory=Counter)  # kills by victim
    busy: int = 0  # kills during transfers
    _apis: Iterator[tuple[str, Api]] = field(default_factory=lambda: itertools.cycle(_APIS))

    @property
    def count(self) -> int:
        """The number of recordings so far."""
        return sum(len(self.simulator.recordings(each)) for each in self.accounts.values())

    @property
    def archived(self) -> int:
        """The number of sidecars so far."""
        return sum(key.endswith(".json") for key in self.bucket.objects)

    def begin(self) -> None:
        """Let everything around it begin to fail."""
        self.simulator.faults.all_on(SHARE)
        for name, seconds in (("error", 0.0), ("slow_down", 0.0), ("reset_before", 0.0), ("reset_after", 0.0)):
            self.bucket.faults.share(name, SHARE / 5, seconds=seconds)
        self.bucket.faults.share("hang", SHARE / 25, seconds=0.5)

    def appear(self, count: int) -> None:
        """Add that many recordings."""
        for _ in range(count):
            source, api = next(self._apis)
            created = now() - timedelta(seconds=self.draw.uniform(0, 5))
            late = self.draw.uniform(0, _LATEST) if self.draw.random() < 0.1 else 0.0
            unfinished = self.draw.uniform(0, 5) if self.draw.random() < 0.1 else 0.0
            self.simulator.add(
                self.accounts[SOURCES[source][1]],
                api,
                created_at=created,
                visible_at=created + timedelta(seconds=late),
                completed_at=created + timedelta(seconds=unfinished),
                duration_seconds=self.draw.uniform(0.1, 0.6),
            )

    def strike(self, work: tuple[str, ...]) -> None:
        """Start one, and kill it during its start or, more often, at work, unless it ends by itself."""
        asked, process = len(self.simulator.requests), begun(self.rig, *work)
        waits = self.draw.random() < 0.8
        while waits and process.poll() is None and len(self.simulator.requests) == asked:
            time.sleep(0.02)
        try:
            process.wait(self.draw.uniform(0, LIFE))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.struck[work[0]] += 1
            ledger = self.rig.root / "ledger.db"
            self.busy += ledger.exists() and _has_leases(ledger)
        finally:
            process.wait()

    def finish(self) -> int:
        """End all faults and run passes until nothing is left to do; return how many."""
        self.simulator.faults.off()
        self.bucket.faults.off()
        for number in range(1, _PASSES):
            process = begun(self.rig, "sync", "--json")
            if process.wait() == 0 and not _open(json.loads((self.rig.root / "out").read_text())):
                return number
            time.sleep(1)
        raise AssertionError(f"after {_PASSES} passes something is left: {(self.rig.root / 'out').read_text()[-3000:]}")


def _has_leases(ledger: Path) -> bool:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db, suppress(sqlite3.OperationalError):
        return db.execute("SELECT 1 FROM recordings WHERE lease IS NOT NULL LIMIT 1").fetchone() is not None
    return False  # killed before it was created


def _open(report: dict[str, list[dict[str, int]]]) -> int:
    return sum(row["not_ready"] + row["failed"] + row["dead"] + row["quarantined"] for row in report["sources"])


@pytest.fixture
def siege(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Siege:
    """Five sources over three accounts, one of them in two lists."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
    rig.daemon = {"metrics_listen": "", "drain_timeout": "20s"}
    rig.transfer = {"workers": 8, "max_attempts": 1000}
    accounts = {kind: simulator.add_account(kind) for kind in ("twilio", "telnyx", "signalwire")}
    for name, (provider, kind) in SOURCES.items():
        rig.add_source(
            name, provider, accounts[kind], poll_every="1s", recheck_every="1s", lookback=f"{LOOKBACK.seconds}s"
        )
    return Siege(rig=rig, simulator=simulator, bucket=strict_bucket, accounts=accounts)


def test_killed_again_and_again_it_ends_in_the_truth(siege: Siege) -> None:
    """Lost 0, corrupt 0, duplicated 0, orphans 0, however often it is killed and whatever fails."""
    began = time.monotonic()
    siege.begin()
    while siege.struck.total() < STRIKES:
        siege.appear(min(RECORDINGS // STRIKES, RECORDINGS - siege.count))  # none if one ended by itself
        siege.strike(siege.draw.choice(_WORK))
    archived = siege.archived
    siege.appear(RECORDINGS - siege.count)
    time.sleep(_LATEST / 4)
    passes = siege.finish()
    _wait_for_the_late(siege)
    siege.finish()

    assert assert_the_truth(siege.simulator, siege.bucket, siege.accounts.values()) == RECORDINGS
    before = dict(siege.bucket.writes), len(_media_asked(siege.simulator))
    siege.finish()
    assert (dict(siege.bucket.writes), len(_media_asked(siege.simulator))) == before
    providers, bucket = siege.simulator.faults.fired.total(), siege.bucket.faults.fired.total()
    print(
        f"\n{siege.struck.total()} kills ({dict(siege.struck)}), {siege.busy} of them amid transfers; {archived} of "
        f"{RECORDINGS} recordings archived by then, {providers} faults of the providers, {bucket} of the bucket; "
        f"the rest in {passes} more; {time.monotonic() - began:.0f} s"
    )


def _wait_for_the_late(siege: Siege) -> None:
    latest = max(r.visible_at for account in siege.accounts.values() for r in siege.simulator.recordings(account))
    time.sleep(max(0.0, (latest - now()).total_seconds()) + 1)


def _media_asked(simulator: Simulator) -> list[str]:
    return [each.path for each in simulator.requests if each.path.endswith((".wav", ".mp3", ".mka", ".mkv"))]
