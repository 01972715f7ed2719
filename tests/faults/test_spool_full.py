"""The spool's disk is full: by a limit of the kernel on files, and on a small disk of one process."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import forked
from cli.commands import arguments, environment, finish, run, until
from daemon.started import archived, assert_truth, free_port, ids
from real_s3.fixtures import LACKS
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import Bucket

_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
from recvault.cli import main
main(sys.argv[1:])
"""
_WITH_DISK = 'mount -t tmpfs -o size=$0 tmpfs "$1" && shift && exec "$@"'


@functools.cache
def _can_mount(folder: Path) -> bool:
    words = (*_unshared("64k", folder), "true")
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _unshared(size: str, folder: Path) -> tuple[str, ...]:
    """Return a command prefix that gives a process a small disk of its own, without privileges."""
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _WITH_DISK, size, str(folder))


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """A rig whose recordings go to the spool's disk, whose space is not checked, so that it fills in mid-body."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
    rig.transfer = {"spool_memory": "1KiB", "min_free_disk": "0"}
    rig.daemon = {"metrics_listen": f"127.0.0.1:{free_port()}", "drain_timeout": "20s"}
    (tmp_path / "spool").mkdir()
    return rig


@pytest.fixture
def account(rig: Rig, simulator: Simulator) -> SimAccount:
    """Eight recordings of 160 KB, fetched at once."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=8, durations=(10.0, 10.0), conference_share=0, channels=1)
    rig.add_source("voice", "twilio", account, poll_every="0.5s")
    return account


def test_a_pass_on_a_full_disk(rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket) -> None:
    """A disk that fills in mid-body exits 75; nothing wrong is stored, and nothing is forgotten."""
    simulator.populate(account, "voice", count=8, durations=(300.0, 300.0), conference_share=0, channels=1)
    command = [sys.executable, "-c", _LIMITED, "--config", str(rig.config_path), "sync", "--json"]
    pipe = subprocess.PIPE
    ran = finish(forked.popen(command, environment(rig.root), stdout=pipe, stderr=pipe, text=True, cwd=rig.root))
    assert ran.code == 75
    assert f"the spool {rig.root}/spool cannot be used: File too large" in ran.stderr
    assert {row["reason"] for row in ran.document["failures"]} == {"spool.full"}
    assert_right(simulator, account, strict_bucket)
    until(lambda: run(rig, "sync", "--json").code == 0)  # everything is due again some seconds later
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def assert_right(simulator: Simulator, account: SimAccount, bucket: Bucket) -> None:
    """Check that everything stored is what the provider has."""
    truth = {each.recording_id: simulator.media(each, "wav").sha256 for each in simulator.truth(account)}
    for key, kept in list(bucket.objects.items()):
        if key.endswith(".wav"):
            assert kept.sha256 == truth[Path(key).stem]


@pytest.fixture
def daemon(rig: Rig, account: SimAccount) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon with a spool of 2 MiB; its log is in `run.err`."""
    if not _can_mount(rig.root / "spool"):
        pytest.skip(LACKS + "a small disk for one process: unshare --user --mount is missing or not permitted")
    command = [*_unshared("2m", rig.root / "spool"), *arguments(rig, "run")]
    with (
        (rig.root / "run.err").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment(rig.root), cwd=rig.root) as process,
    ):
        yield process
        process.kill()


def test_a_daemon_waits_for_room(
    rig: Rig,
    simulator: Simulator,
    account: SimAccount,
    strict_bucket: Bucket,
    daemon: subprocess.Popen[bytes],
) -> None:
    """A daemon on a full disk says so and keeps listing; once there is space it archives all."""
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    filler = Path(f"/proc/{daemon.pid}/root{rig.root}/spool/filler")
    fill(filler)
    now = simulator.now
    for _ in range(3):
        simulator.add(account, "voice", created_at=now - timedelta(minutes=5), visible_at=now, channels=1)
    until(lambda: "spool.full" in (rig.root / "run.err").read_text())
    assert archived(strict_bucket) < ids(simulator, account)
    filler.unlink()
    until(lambda: archived(strict_bucket) == ids(simulator, account), seconds=60.0)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 143
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def fill(path: Path) -> None:
    """Use up all space."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
