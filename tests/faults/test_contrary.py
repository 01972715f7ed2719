"""A provider with moods, a bucket that lies, sources that are renamed, workers that are killed.

RECVAULT_TEST_CONTRARY=1000 pytest tests/faults/test_contrary.py
"""

from __future__ import annotations

import os

import pytest

from faults.contrary import SCENES, drawn, fault
from faults.steps import shortest

pytestmark = pytest.mark.long

HISTORIES = int(os.environ.get("RECVAULT_TEST_CONTRARY", "30"))
PARTS = 2  # of each scene's histories, for two processes


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("lists", SCENES, ids="+".join)
def test_a_contrary_world_ends_with_every_recording_archived_or_named(lists: tuple[str, ...], part: int) -> None:
    """Servable recordings are archived completely, once; every other one has a named end."""
    for seed in range(part, -(-HISTORIES // len(SCENES)), PARTS):
        history = drawn(lists, seed)
        if found := fault(history):
            least = shortest(history, lambda each: fault(each) is not None, most=300)
            pytest.fail(f"seed {seed}: {found}\n\nat its shortest: {fault(least)}\n{least}")


@pytest.mark.parametrize(
    ("lists", "seed"), [(("video",), 85)], ids=["two recordings are refused for good, and nothing else happens"]
)
def test_histories_that_once_broke_a_promise(lists: tuple[str, ...], seed: int) -> None:
    """Histories that once found a fault are played each time."""
    assert fault(drawn(lists, seed)) is None
