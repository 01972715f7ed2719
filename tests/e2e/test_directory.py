"""An archive in a directory, by the commands: from the first `check` to a rebuilt ledger."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from cli.commands import PATIENCE, Ran, finish, kill, run, start, until
from daemon.started import Started
from operations.decrypt.conftest import SealedRig
from recvault.simulator import Simulator
from rig import Rig


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator) -> Rig:
    """One source with 30 recordings, and an empty directory."""
    (tmp_path / "nas").mkdir()
    rig = Rig(root=tmp_path, simulator=simulator, s3_url="", bucket=f"file://{tmp_path / 'nas'}")
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=30)
    rig.add_source("voice", "twilio", account)
    return rig


def done(rig: Rig, *words: str) -> Ran:
    """Run a command that must succeed."""
    ran = run(rig, *words)
    assert ran.code == 0, (words, ran)
    return ran


def is_whole(rig: Rig) -> int:
    """Return how many recordings are committed, after checking that each is complete and no file is partial."""
    objects = rig.objects()
    for sidecar in rig.sidecars().values():
        for medium in sidecar["media"]:
            assert hashlib.sha256(objects[medium["key"]]).hexdigest() == medium["sha256"]
    return len(rig.sidecars())


def test_the_main_job(rig: Rig) -> None:
    """`check` begins the archive, `sync` fills it, every verb reads it, and a lost ledger is rebuilt."""
    refused = run(rig, "sync")
    assert (refused.code, rig.objects()) == (78, {})
    assert "run `recvault check`" in refused.stderr
    checked = json.loads(done(rig, "check", "--json").stdout)
    assert all(each["ok"] for each in checked["checks"]), checked

    done(rig, "sync")
    assert is_whole(rig) == 30
    objects = rig.objects()
    first = next(iter(rig.sidecars()))
    assert done(rig, "verify", "--deep", "--json").document["counts"]["ok"] == 30
    assert done(rig, "show", first, "--json").document["recordings"][0]["sidecar"]["recording_id"] == first
    assert done(rig, "status", "--json").document["sources"][0]["counts"]["archived"] == 30
    done(rig, "get", first, "--output", str(rig.root / "fetched"))
    assert (rig.root / "fetched").read_bytes() == objects[rig.sidecars()[first]["media"][0]["key"]]
    done(rig, "manifest")

    for path in rig.root.glob("ledger.db*"):
        if path.is_file():
            path.unlink()
    assert done(rig, "rebuild", "--json").document["archived"] == 30
    assert rig.directory is not None
    away = rig.directory.rename(rig.root / "away")  # the ledger remembers its archive
    rig.directory.mkdir()
    assert run(rig, "check").code == 75
    rig.directory.rmdir()
    away.rename(rig.directory)
    rig.simulator.clear_requests()
    done(rig, "sync")
    assert not [each for each in rig.simulator.requests if each.path.endswith((".wav", ".mp3"))]
    assert {key: body for key, body in rig.objects().items() if key in objects} == objects
    assert done(rig, "verify", "--json").document["counts"]["ok"] == 30


def test_a_volume_that_is_not_mounted(rig: Rig) -> None:
    """With an empty directory in its place every verb exits 75, it stays empty, and nothing counts as missing."""
    done(rig, "check")
    done(rig, "sync")
    assert rig.directory is not None
    away = rig.directory.rename(rig.root / "away")
    rig.directory.mkdir()
    for words in (["sync"], ["verify", "--repair"], ["rebuild", "--set-aside"], ["manifest"]):
        ran = run(rig, *words)
        if words[0] != "rebuild":  # which first refuses to replace a sound ledger
            assert (ran.code, ".recvault is missing" in ran.stderr) == (75, True), (words, ran)
    checked = run(rig, "check", "--json")
    assert checked.code == 75, checked
    assert list(rig.directory.iterdir()) == []
    rig.directory.rmdir()
    assert run(rig, "sync").code == 75
    away.rename(rig.directory)
    done(rig, "sync")
    assert done(rig, "verify", "--json").document["counts"]["ok"] == 30


def test_a_pass_that_is_killed(rig: Rig) -> None:
    """A kill during writes leaves no partial file, and the same command completes."""
    done(rig, "check")
    assert rig.directory is not None
    process = start(rig, "sync")
    until(lambda: len(rig.sidecars()) >= 5 or process.poll() is not None, PATIENCE)
    kill(process)
    assert is_whole(rig) >= 5
    done(rig, "sync")
    assert is_whole(rig) == 30
    assert done(rig, "verify", "--deep", "--json").document["counts"]["ok"] == 30


def test_two_machines_at_one_directory(rig: Rig) -> None:
    """Two ledgers that archive one account at once store each recording once, and both know it."""
    done(rig, "check")
    other = Rig(root=rig.root / "other", simulator=rig.simulator, s3_url="", bucket=rig.bucket, sources=rig.sources)
    other.root.mkdir()
    assert run(other, "check").code == 0
    both = [finish(each) for each in [start(rig, "sync"), start(other, "sync")]]
    assert [ran.code for ran in both] == [0, 0]
    assert is_whole(rig) == 30
    assert len([key for key in rig.objects() if key.startswith("recordings/")]) == 60
    for each in (rig, other):
        assert done(each, "verify", "--deep", "--json").document["counts"]["ok"] == 30


def test_worker_processes(rig: Rig) -> None:
    """Several worker processes fill a directory as they fill a bucket, and read it back."""
    rig.transfer = {"processes": 2, "workers": 2}
    done(rig, "check")
    backfilled = done(rig, "backfill", "--source", "voice", "--json").document
    assert (backfilled["outcome"], backfilled["sources"][0]["archived"]) == ("ok", 30)
    assert is_whole(rig) == 30
    assert done(rig, "verify", "--deep", "--json").document["counts"]["ok"] == 30


def test_the_daemon(rig: Rig) -> None:
    """`run` fills a directory, and archives a new call on a later poll; a signal ends it after a clean drain."""
    rig.sources[0]["poll_every"] = "0.4s"
    rig.daemon = {"metrics_listen": ""}
    done(rig, "check")
    daemon = Started(rig, 1, "", ["run", "--json"], {})
    try:
        until(lambda: len(rig.sidecars()) == 30, PATIENCE)
        [account, *_] = rig.simulator.accounts
        ended = rig.simulator.now - timedelta(hours=1)
        rig.simulator.add(account, "voice", duration_seconds=2.0, created_at=ended, visible_at=ended)
        until(lambda: len(rig.sidecars()) == 31, PATIENCE)
        ran = daemon.stopped()
    finally:
        daemon.killed()
    assert (ran.code, ran.document["sources"][0]["archived"]) == (143, 31), ran
    assert is_whole(rig) == 31


def test_an_encrypted_call(tmp_path: Path, simulator: Simulator) -> None:
    """Ciphertext is archived in a directory as it was served, and decrypted from it."""
    (tmp_path / "nas").mkdir()
    rig = SealedRig(root=tmp_path, simulator=simulator, s3_url="", bucket=f"file://{tmp_path / 'nas'}")
    rig.opened("voice", 0)
    call = rig.encrypted()
    done(rig, "check")
    done(rig, "sync")
    sidecar = rig.sidecars()[call.recording_id]
    assert (sidecar["media"][0]["checked"]["status"], is_whole(rig)) == ("ok", 1)
    done(rig, "decrypt", call.recording_id, "--output", str(tmp_path / "plain.wav"))
    assert (tmp_path / "plain.wav").read_bytes() == rig.plain(call)
