"""Shared by the daemon's tests: a rig over the strict S3 server, and daemons that end with their test."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.started import Started, free_port
from recvault.log.lines import configure
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket

Start = Callable[..., Started]
Told = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """A recvault without sources, whose daemon has its own port."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
    rig.daemon = {"metrics_listen": f"127.0.0.1:{free_port()}", "drain_timeout": "20s"}
    return rig


@pytest.fixture
def start(rig: Rig) -> Iterator[Start]:
    """Start the rig's daemon as a process; it is killed when the test ends."""
    started: list[Started] = []
    numbers = itertools.count(1)

    def begin(*words: str, prelude: str = "", **more: str) -> Started:
        started.append(Started(rig, next(numbers), prelude, words or ("run", "--json"), more))
        return started[-1]

    yield begin
    for each in started:
        each.killed()


@pytest.fixture
def told() -> Told:
    """Return the events of a name that this process logged so far."""
    stream = io.StringIO()
    configure(format="json", verbosity=1, stream=stream)

    def events(name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [each for each in lines if each["event"] == name]

    return events
