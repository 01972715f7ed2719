"""The README is tested, not pasted: its configurations load, its files are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recvault import config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
ARCHIVE = '[archive]\nbucket = "acme-recordings"\n'


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_configuration_in_it_loads(block: str) -> None:
    """What is shown can be copied and used."""
    assert config.read(block if "[archive]" in block else ARCHIVE + block, "README.md").sources


def test_it_shows_a_source_for_each_provider() -> None:
    """All five are there."""
    shown = {source.provider for block in BLOCKS[1:] for source in config.read(ARCHIVE + block, "README.md").sources}
    assert shown == {"twilio", "twilio-legacy", "twilio-video", "telnyx", "signalwire"}


def test_what_it_points_to_is_there() -> None:
    """Every link and every test that keeps a promise exists."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    tests = re.findall(r"`(tests/[\w./]+)`", README)
    assert links and tests
    assert [path for path in [*links, *tests] if not (ROOT / path).exists()] == []
