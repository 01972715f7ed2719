"""The command `recvault browse`, and an archive in an S3 bucket."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from browse.conftest import Small
from cli.commands import bare
from recvault.browse import finding
from recvault.browse.holdings import Holdings
from recvault.shutdown import Stop
from recvault.store.s3.clients import make_client
from recvault.store.s3.s3_store import S3Store
from strict_s3 import Bucket

NAME = f"RE{3:032x}"


@pytest.mark.process
def test_the_command_prints_a_link_logs_listens_and_ends(small: Small, tmp_path: Path) -> None:
    """One line on stdout: the link. Without configuration or ledger it finds and plays; SIGTERM ends it as others."""
    command = [
        sys.executable,
        "-m",
        "recvault",
        "browse",
        "--archive",
        small.root.as_uri(),
        "--port",
        "0",
        "--name",
        "ada",
    ]
    environment = {**os.environ, "HOME": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as running:
        assert running.stdout is not None
        link = running.stdout.readline().strip()
        with httpx.Client(follow_redirects=True, trust_env=False) as client:
            assert "October 2026" in client.get(link).text
            client.get(f"{link.partition('/?')[0]}/media/0/{NAME}?card=one")
        running.send_signal(signal.SIGTERM)
        rest, logged = running.communicate()
    assert (rest, running.returncode) == ("", 143)
    events = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    assert [(each["event"], each["who"], each["recording_id"]) for each in events] == [("browse.listened", "ada", NAME)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", events[0]["ts"])
    assert link.rpartition("=")[2] not in logged


def test_a_bucket_that_cannot_be_read_gets_no_link(tmp_path: Path) -> None:
    """A wrong address ends the command at once, before anybody opens a page."""
    ran = bare(tmp_path, "browse", "--archive", (tmp_path / "nowhere").as_uri(), "--port", "0")
    assert (ran.code, ran.stdout) == (75, "")
    assert "nowhere" in ran.stderr


@pytest.fixture
def in_s3(strict_bucket: Bucket, small: Small) -> Iterator[Holdings]:
    """The small archive in a bucket, under a prefix."""
    client = make_client(
        region="us-east-1", endpoint_url=strict_bucket.url, addressing_style="path", pool=4, transport="plain"
    )
    for path in small.root.rglob("*"):
        if path.is_file():
            key = f"kept/{path.relative_to(small.root)}"
            client.put_object(Bucket=strict_bucket.name, Key=key, Body=path.read_bytes())
    store = S3Store(client, strict_bucket.name, stop=Stop())
    now = [0.0]
    holdings = Holdings(store.reader(), where="s3://b/kept", prefix="kept/", clock=lambda: now[0])
    holdings.now = now  # type: ignore[attr-defined]
    yield holdings
    holdings.close()
    store.close()


def test_a_bucket_is_copied_once_a_month_and_left_nowhere(in_s3: Holdings) -> None:
    """The catalog of a bucket is read once while it stays the same, into a directory for nobody else, and removed."""
    assert in_s3._copies is not None
    copies = in_s3._copies.path
    assert copies.stat().st_mode & 0o77 == 0
    first = finding.find(in_s3, "0100003")
    gets = in_s3.reader.requests["GET"]
    assert [row["recording_id"] for row in first.rows] == [NAME]
    assert finding.find(in_s3, "0100005").rows[0]["recording_id"] == f"RE{5:032x}"
    assert in_s3.reader.requests["GET"] == gets == 2  # two months
    in_s3.close()
    assert not copies.exists()


def test_a_replaced_catalog_is_read_again(in_s3: Holdings, strict_bucket: Bucket) -> None:
    """A month that was replaced in the bucket is seen within a minute."""
    assert len(finding.find(in_s3, "2026-09").rows) == 4
    source, target = (f"kept/catalog/recordings/month=2026-{month}/recordings.parquet" for month in ("10", "09"))
    strict_bucket.objects[target] = strict_bucket.objects[source]
    assert len(finding.find(in_s3, "2026-09").rows) == 4
    in_s3.now[0] += 61  # type: ignore[attr-defined]
    names = [row["recording_id"] for row in finding.find(in_s3, "2026-09").rows]
    assert names == [f"RE{number:032x}" for number in (7, 6, 5, 4)]


def test_media_of_a_bucket_pass_in_parts(in_s3: Holdings, small: Small) -> None:
    """Media of a bucket are read by ranges, each byte once."""
    row = small.rows[3]
    pieces = list(in_s3.pieces(f"kept/{row['media_key']}", 100, 5000))
    assert b"".join(pieces) == (small.root / row["media_key"]).read_bytes()[100:5000]
