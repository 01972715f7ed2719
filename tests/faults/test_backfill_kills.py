"""Years of five providers' recordings, brought home by backfills in two processes each and killed on the way.

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
KILLS = {"voice": 0.5, "telnyx": 0.3, "signalwire": 0.8}  # each of these once, when so much of it is archived
WORKERS = 6
_APIS: dict[str, Any] = {"legacy": "voice"}
_LISTS = ("/Recordings.json", "/Recordings", "/recordings")
_MEDIA = (".wav", ".mp3", "/Media")


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """A whole recvault without sources yet."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
    rig.transfer = {"workers": WORKERS, "processes": 2}
    return rig


@pytest.fixture
def accounts(rig: Rig, simulator: Simulator) -> list[SimAccount]:
    """One of each provider, and its source: two years."""
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
    """The bucket is the truth, and all that the kills cost is what was at work then."""
    each, began = RECORDINGS // len(SOURCES), time.monotonic()
    for name in SOURCES:
        if name in KILLS:
            _kill(rig, name, strict_bucket, int(each * KILLS[name]))
        assert begun(rig, "backfill", "--source", name, "--json").wait() == 0, (rig.root / "err").read_text()[-3000:]
    seconds = time.monotonic() - began

    assert assert_the_truth(simulator, strict_bucket, accounts) == RECORDINGS
    asked = Counter(_kind(request.path) for request in simulator.requests)
    again = len(KILLS) * 2 * (WORKERS + len(SOURCES))  # at most so many were at work, in two processes
    puts, looks = (strict_bucket.counts.get(op, 0) for op in ("PUT", "HEAD"))
    assert RECORDINGS <= asked["media"] <= RECORDINGS + again, asked
    assert 2 * RECORDINGS <= puts <= 2 * (RECORDINGS + again) + 8, strict_bucket.counts
    claimed = len(KILLS) * 3 * wiring.places(WORKERS, 2)  # begun, and twice as many ahead: each is looked for then
    assert looks + strict_bucket.counts.get("GET", 0) <= 2 * claimed + 8, strict_bucket.counts
    told = {**asked, **{f"bucket {op}": count for op, count in strict_bucket.counts.items()}}
    print(
        f"\n{RECORDINGS} recordings in {seconds:.0f} s with {len(KILLS)} kills, {RECORDINGS / seconds:.0f} a second; "
        f"requests a recording: { {what: round(count / RECORDINGS, 4) for what, count in told.items()} }"
    )


def _kill(rig: Rig, name: str, bucket: Bucket, archived: int) -> None:
    """Begin it, and kill it when it has written so much of its own."""
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
