"""`recvault verify` for people and scripts: exit codes, the document, messages, and signals."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from cli.commands import Ran, finish, on_terminal, run_each, start, until
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket, StrictS3


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3, strict_bucket: Bucket) -> Rig:
    """A rig over the strict server, after its first pass."""
    made = Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_bucket.name)
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=12)
    made.add_source("voice", "twilio", account)
    assert made.sync().exit_code == 0
    return made


def lose(bucket: Bucket, ext: str) -> str:
    """Lose the first object with this ending."""
    key = min(key for key in bucket.objects if key.startswith("recordings/") and key.endswith(ext))
    del bucket.objects[key]
    return key


def ran(rig: Rig, *commands: str) -> list[Ran]:
    return run_each(rig, *(command.split() for command in commands))


def test_all_is_well(rig: Rig) -> None:
    """Without differences there is one sentence and exit code 0; the document has selection and counts."""
    plain, sample, deep, document = ran(
        rig, "verify", "verify --sample 50% --seed 3", "verify --deep", "verify --json --sample 50 --seed 3"
    )
    proof = "media files match the size and hash in their sidecars"
    assert (plain.code, plain.stdout) == (0, f"12 recordings checked, no differences: 12 {proof}\n")
    assert re.search(r"every byte of \d+ recordings was read, [\d.]+ \w+, a sample of 50 % by --seed 3", sample.stdout)
    assert "every byte of 12 recordings was read" in deep.stdout
    found = document.document
    assert found["schema"] == "recvault/verify/v1"
    counts = dict.fromkeys(("missing", "different", "orphan_media", "unknown", "uncommitted", "erased"), 0)
    assert found["counts"] == {"checked": 12, "ok": 12, **counts}
    assert (found["outcome"], found["differences"], found["read"]["seed"]) == ("ok", [], 3)
    assert [each.stderr for each in (plain, deep, document)] == ["", "", ""]


def test_differences_and_their_repair(rig: Rig, strict_bucket: Bucket) -> None:
    """Differences are a table on stdout and hints on stderr, exit 3; after --repair and a sync all is well."""
    lost = lose(strict_bucket, ".wav")
    table, document, repaired, _, after = ran(
        rig, "verify", "verify --json", "verify --repair --source voice", "sync", "verify"
    )
    assert [each.code for each in (table, document, repaired, after)] == [3, 3, 3, 0]
    header, row = [line.split("\t") for line in table.stdout.splitlines()]
    assert header == ["kind", "source", "recording id", "key", "what"]
    assert row[:2] + row[3:] == ["missing", "voice", lost, "it is not there"]
    assert "12 recordings checked: 11 ok, 1 missing" in table.stderr
    assert "`recvault verify --repair` makes it due again" in table.stderr
    [told] = document.document["differences"]
    assert (told["kind"], told["key"], told["reason"], told["made_due"]) == ("missing", lost, "media.missing", False)
    assert document.document["differences_total"] == 1
    assert "1 recording made due: the next `recvault sync` restores what is missing" in repaired.stderr


def test_wrong_usage(rig: Rig) -> None:
    """Contradictory options are refused before any request."""
    commands = [
        "verify --deep --sample 1",
        "verify --seed 4",
        "verify --sample 0",
        "verify --sample 101%",
        "verify --sample some",
        "verify --since 2026-10-02 --until 2026-10-01",
        "verify --source nobody",
    ]
    assert [each.code for each in ran(rig, *commands)] == [2] * len(commands)


def test_without_a_ledger(rig: Rig) -> None:
    """Without a ledger it names rebuild, and creates none."""
    rig.ledger = {"path": str(rig.root / "none.db")}
    [refused] = ran(rig, "verify --json")
    assert (refused.code, refused.stdout) == (78, "")
    assert "there is no ledger" in refused.stderr and "recvault rebuild" in refused.stderr
    assert not (rig.root / "none.db").exists()


def test_a_bucket_that_is_down(rig: Rig) -> None:
    """If the bucket is down, exit 75 without a document."""
    rig.s3_url = "http://127.0.0.1:9"
    [down] = ran(rig, "verify --json")
    assert (down.code, down.stdout) == (75, "")
    assert "cannot be reached" in down.stderr


def test_of_a_time(rig: Rig) -> None:
    """--since and --until select by the recording's date."""
    before, after = ran(rig, "verify --json --until 2020-01-01", "verify --json --since 2020-01-01")
    assert [each.document["counts"]["checked"] for each in (before, after)] == [0, 12]


def test_on_a_terminal(rig: Rig, strict_bucket: Bucket) -> None:
    """A terminal shows the same messages, with hints below the table."""
    lose(strict_bucket, ".json")
    code, shown = on_terminal(rig, "verify", columns=220)
    assert code == 3
    assert "its sidecar is missing" in shown and "`recvault verify --repair` makes it due again" in shown


def test_interrupted(rig: Rig, strict_bucket: Bucket) -> None:
    """On SIGINT the differences so far are reported, with the progress and exit code 130."""
    rig.transfer = {"workers": 1}
    strict_bucket.clear_counts()
    strict_bucket.faults.share("slow", 1.0, "HEAD", seconds=0.5)
    process = start(rig, "verify", "--json")
    until(lambda: strict_bucket.counts["GET"] > 1)
    process.send_signal(signal.SIGINT)
    stopped = finish(process)
    strict_bucket.faults.off()
    document = json.loads(stopped.stdout)
    assert (stopped.code, document["outcome"], document["expected"]) == (130, "interrupted", 12)
    assert 0 < document["counts"]["checked"] < 12
