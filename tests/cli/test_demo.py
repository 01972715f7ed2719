"""`recvault demo`, the first command that people run."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import forked
from cli.commands import PATIENCE, bare, environment
from recvault import config
from recvault.app.runtime import Runtime


def test_the_demo_shows_the_main_job_and_keeps_it_where_asked(tmp_path: Path) -> None:
    """In under a minute and without an account: a table, exit code 0, and with --keep the bucket as files."""
    began = time.monotonic()
    ran = bare(tmp_path, "demo", "--keep", str(tmp_path / "kept"))
    assert (ran.code, ran.stderr) == (0, "")
    assert time.monotonic() - began < 60
    assert "recvault sync, pass 1" in ran.stdout
    rows = [line.split("\t") for line in ran.stdout.splitlines() if line.startswith("acme-")]
    assert {row[0] for row in rows} == {"acme-voice", "acme-voice-old", "acme-video", "acme-telnyx", "acme-signalwire"}
    assert "0 downloads" in ran.stdout

    sidecars = list((tmp_path / "kept/bucket/recordings").rglob("*.json"))
    assert len(sidecars) == 64
    for sidecar in sidecars:
        for medium in json.loads(sidecar.read_text())["media"]:
            assert (tmp_path / "kept/bucket" / medium["key"]).stat().st_size == medium["bytes"]

    with Runtime(config.load(tmp_path / "kept/config.toml"), clock=lambda: datetime.now(UTC)) as runtime:
        assert sum(feed.standing.archived for feed in runtime.feeds()) == 64


def test_the_demo_in_a_pipe_is_for_people(tmp_path: Path) -> None:
    """Its output contains no log lines; a directory in use is refused and left unchanged."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine").write_text("mine")
    ran = bare(tmp_path, "demo", "--keep", str(kept))
    assert (ran.code, [path.name for path in kept.iterdir()]) == (2, ["mine"])
    assert "is not empty: use a new directory" in ran.stderr


def test_what_the_demo_serves_can_be_tried(tmp_path: Path) -> None:
    """While it serves, the printed sync and verify commands work; a signal ends it."""
    pipe, command = subprocess.PIPE, [sys.executable, "-m", "recvault", "demo", "--serve"]
    demo = forked.popen(command, environment(tmp_path), stdout=pipe, stderr=pipe, text=True)
    assert demo.stdout is not None
    try:
        exported = next(line for line in demo.stdout if line.startswith("  export "))
        values = dict(each.split("=", 1) for each in shlex.split(exported)[1:])
        codes = [bare(tmp_path, *words, **values).code for words in (["sync"], ["verify", "--deep"])]
        assert codes == [0, 0]
    finally:
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=PATIENCE)
    assert (demo.returncode, errors) == (0, "")
