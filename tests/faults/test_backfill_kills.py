"""Years of five providers' recordings, archived by backfills of two processes each, killed on the way.

RECVAULT_TEST_RECORDINGS=100000 pytest -n 0 -s tests/faults/test_backfill_kills.py
"""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from faults.truth import assert_the_truth
from faults.victims import begun
from recvault.app import wiring
from recvault.simulator import SimAccount, Simulator
from rig import SOURCES, Rig
from strict_s3 import Bucket

pytestmark = pytest.mark.long

RECORDINGS = int(os.environ.get("RECVAULT_TEST_RECORDINGS", "250"))
KILLS = {"voice": 0.5, "telnyx": 0.3, "signalwire": 0.8}  # each once, at this archived share
WORKERS = 6
_APIS: dict[str, Any] = {"legacy": "voice"}
_LISTS = ("/Recordings.json", "/Recordings", "/recordings")
_MEDIA = (".wav", ".mp3", "/Media")


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """A recvault without sources."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
    rig.transfer = {"workers": WORKERS, "processes": 2}
    return rig


@pytest.fixture
def accounts(rig: Rig, simulator: Simulator) -> list[SimAccount]:
    """Make one account of each provider, with a source and two years of recordings."""
    each, accounts = RECORDINGS // len(SOURCES), []
    for name, (provider, kind) in SOURCES.items():
        account = simulator.add_account(kind)
        every = timedelta(days=730) / each
        simulator.populate(account, _APIS.get(name, name), each, every=every, durations=(0.1, 0.6))
        rig.add_source(name, provider, account)
        accounts.append(account)
    return accounts


def test_all_history_comes_home_once(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, accounts: list[SimAccount]
) -> None:
    """The bucket is the truth, and the kills cost only what was running then."""
    each, began = RECORDINGS // len(SOURCES), time.monotonic()
    for name in SOURCES:
        if name in KILLS:
            _kill(rig, name, strict_bucket, int(each * KILLS[name]))
        assert begun(rig, "backfill", "--source", name, "--json").wait() == 0, (rig.root / "err").read_text()[-3000:]
    seconds = time.monotonic() - began

    assert assert_the_truth(simulator, strict_bucket, accounts) == RECORDINGS
    asked = Counter(_kind(request.path) for request in simulator.requests)
    again = len(KILLS) * 2 * (WORKERS + len(SOURCES))  # at most this many were running, in two processes
    puts, looks = (strict_bucket.counts.get(op, 0) for op in ("PUT", "HEAD"))
    assert RECORDINGS <= asked["media"] <= RECORDINGS + again, asked
    assert 2 * RECORDINGS <= puts <= 2 * (RECORDINGS + again) + 8, strict_bucket.counts
    claimed = len(KILLS) * 3 * wiring.places(WORKERS, 2)  # running, and twice as many ahead, each looked up later
    assert looks + strict_bucket.counts.get("GET", 0) <= 2 * claimed + 8, strict_bucket.counts
    told = {**asked, **{f"bucket {op}": count for op, count in strict_bucket.counts.items()}}
    print(
        f"\n{RECORDINGS} recordings in {seconds:.0f} s with {len(KILLS)} kills, {RECORDINGS / seconds:.0f} a second; "
        f"requests a recording: { {what: round(count / RECORDINGS, 4) for what, count in told.items()} }"
    )


def _kill(rig: Rig, name: str, bucket: Bucket, archived: int) -> None:
    """Begin a backfill, and kill it when it has archived that share."""
    before, process = len(bucket.writes), begun(rig, "backfill", "--source", name, "--json")
    while len(bucket.writes) - before < 2 * archived:
        assert process.poll() is None, (rig.root / "err").read_text()[-3000:]
        time.sleep(0.01)
    process.kill()
    process.wait()


def _kind(path: str) -> str:
    if path.endswith(_MEDIA):
        return "media"
    return "list" if path.endswith(_LISTS) else "row"
