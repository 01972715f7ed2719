"""`recvault demo`: the first thing that anybody runs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from cli.commands import bare
from recvault import config
from recvault.runtime import Runtime


def test_the_demo_shows_the_main_job_and_keeps_it_where_asked(tmp_path: Path) -> None:
    """In under a minute, without any account: a table, exit code 0, and with --keep a bucket as files to look at."""
    began = time.monotonic()
    ran = bare(tmp_path, "demo", "--keep", str(tmp_path / "kept"))
    assert ran.code == 0, ran.stderr
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
