"""Foreign objects of any size and class under a sidecar's key are reported by each command, which continues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from cli.commands import run_each
from recvault.ledger import Ledger
from recvault.simulator import Simulator
from recvault.store import SMALL_MOST
from rig import Rig, now
from strict_s3 import Bucket

HUGE = 12 * SMALL_MOST


@pytest.fixture
def archived(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """Twelve recordings, archived a month ago by the clock of a new ledger."""
    rig.s3_url, rig.bucket = strict_bucket.url, strict_bucket.name
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=12)
    rig.add_source("voice", "twilio", account)
    assert rig.sync().exit_code == 0
    return rig


def sidecars(bucket: Bucket) -> list[str]:
    return sorted(key for key in bucket.objects if key.startswith("recordings/") and key.endswith(".json"))


def lose_ledger(rig: Rig) -> None:
    for each in rig.root.glob("ledger.db*"):
        if each.is_file():
            each.unlink()


def run(rig: Rig, *commands: str) -> Iterator[Any]:
    return iter(run_each(rig, *(command.split() for command in commands)))


@pytest.fixture
def swollen(archived: Rig, strict_bucket: Bucket) -> str:
    """The key of a sidecar replaced by 48 MiB with a matching hash."""
    key = sidecars(strict_bucket)[0]
    kept = strict_bucket.objects[key]
    strict_bucket.objects[key] = replace(kept, bytes=HUGE, body=b" " * HUGE)
    return key


def test_a_huge_sidecar_is_told_and_not_read(archived: Rig, strict_bucket: Bucket, swollen: str) -> None:
    """verify and show report it as too large, and rebuild refuses beside a sound ledger."""
    name = swollen.rpartition("/")[2].removesuffix(".json")
    verified, shown, rebuilt = run(archived, "verify --json", f"show {name} --json", "rebuild --json")
    [difference] = verified.document["differences"]
    assert (difference["key"], difference["reason"]) == (swollen, "sidecar.too_large")
    assert "too large to be a sidecar" in difference["message"]
    assert shown.document["recordings"][0]["sidecar"] is None
    assert "too large to be a sidecar" in shown.stderr
    assert rebuilt.code == 2


def test_a_huge_sidecar_is_not_rebuilt_from_nor_taken_for_a_commit(
    archived: Rig, strict_bucket: Bucket, swollen: str
) -> None:
    """A rebuild reports it; a pass with a new ledger archives the recording as a further edition."""
    lose_ledger(archived)
    (rebuilt,) = run(archived, "rebuild --json")
    assert (rebuilt.code, rebuilt.document["archived"], rebuilt.document["unreadable"]) == (3, 11, 1)
    assert "too large to be a sidecar" in rebuilt.document["problems"][0]["reason"]
    lose_ledger(archived)
    with closing(Ledger.open(archived.root / "ledger.db", now())):
        pass
    report = archived.sync()
    assert report.exit_code == 3
    assert sum(row.already_archived for row in report.accounts.values()) == 11
    assert strict_bucket.objects[swollen].bytes == HUGE
    assert swollen.replace(".json", "~2.json") in strict_bucket.objects


def test_cold_sidecars_and_a_lost_ledger(archived: Rig, strict_bucket: Bucket) -> None:
    """Sidecars in an archive class are recognised by HEAD; nothing is written, and nothing pauses."""
    lose_ledger(archived)
    strict_bucket.cold |= set(strict_bucket.objects) - {"schemas/sidecar-v1.json"}
    strict_bucket.clear_counts()
    report = archived.sync()
    assert (report.exit_code, sum(row.already_archived for row in report.accounts.values())) == (0, 12)
    assert set(strict_bucket.writes) == {"schemas/sidecar-v1.json"}
    (verified,) = run(archived, "verify --json")
    assert (verified.code, verified.document["cold"], verified.document["counts"]["ok"]) == (0, 12, 12)
    assert verified.document["unproven_sidecars"] == 12


def test_a_cold_sidecar_that_is_not_ours_is_not_taken(archived: Rig, strict_bucket: Bucket) -> None:
    """With foreign metadata the recording is archived as a further edition. A lost medium is restored."""
    lose_ledger(archived)
    first, second, *_ = sidecars(strict_bucket)
    strict_bucket.cold |= {first, second}
    kept = strict_bucket.objects[first]
    strict_bucket.objects[first] = replace(kept, headers={**kept.headers, "x-amz-meta-recording-id": "other"})
    del strict_bucket.objects[second.replace(".json", ".wav")]
    strict_bucket.clear_counts()
    report = archived.sync()
    assert sum(row.already_archived for row in report.accounts.values()) == 11
    assert report.exit_code == 3
    beside = {first.replace(".json", "~2.json"), second.replace(".json", ".wav")}
    assert {key for key in strict_bucket.writes if key.startswith("recordings/")} == beside


def test_one_key_that_is_refused_pauses_nothing(archived: Rig, strict_bucket: Bucket) -> None:
    """After a 403 for one sidecar the pass continues, verify counts it as unanswered, rebuild reports it."""
    key = sidecars(strict_bucket)[0]
    strict_bucket.denied_keys.add(("GET", key.rpartition("/")[2]))
    (verified,) = run(archived, "verify --json")
    assert (verified.code, verified.document["unanswered_total"]) == (3, 1)
    assert verified.document["counts"]["ok"] == 11
    lose_ledger(archived)
    report = archived.sync()
    assert sum(row.already_archived for row in report.accounts.values()) == 11
    assert report.exit_code == 3
    with archived.runtime() as runtime:
        [failed] = runtime.ledger.ask.failures()
    assert failed["reason"] == "store.key_refused"
    lose_ledger(archived)
    (rebuilt,) = run(archived, "rebuild --json")
    assert (rebuilt.code, rebuilt.document["archived"]) == (3, 11)
    assert rebuilt.document["problems"][0]["key"] == key


def test_a_sidecar_that_is_no_json_is_shown_as_such(archived: Rig, strict_bucket: Bucket) -> None:
    """`show` prints the ledger's facts, and says that the bucket's object is not a sidecar."""
    key = sidecars(strict_bucket)[0]
    strict_bucket.place(key, b"<html>")
    (shown,) = run(archived, f"show {key.rpartition('/')[2].removesuffix('.json')} --json")
    assert (shown.code, json.loads(shown.stdout)["recordings"][0]["sidecar"]) == (0, None)
    assert "is not JSON" in shown.stderr
