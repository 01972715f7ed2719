"""The documents are tested: their configurations load, their links have targets, their tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recvault import config

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
CONFIGURATION = ROOT / "src/recvault/config/README.md"
DOCUMENTS = sorted([README, *(path for part in ("src", "systemd", "tests") for path in (ROOT / part).rglob("*.md"))])
TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)
BLOCKS = [block for path in (README, CONFIGURATION) for block in TOML.findall(path.read_text())]
ARCHIVE = '[archive]\nbucket = "acme-recordings"\n'
SOURCE = '[[sources]]\nname = "main"\nprovider = "telnyx"\napi_key = { env = "TELNYX_API_KEY" }\n'


def whole(block: str) -> config.Config:
    """Complete a shown configuration with whichever of its two required parts is missing."""
    text = block if "[archive]" in block else ARCHIVE + block
    return config.read(text if "[[sources]]" in text else text + SOURCE, "README.md")


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_configuration_in_it_loads(block: str) -> None:
    """Every shown configuration loads."""
    assert whole(block).sources


MORE = {"plivo", "bandwidth", "ringcentral"}


def test_it_shows_a_source_for_each_provider() -> None:
    """All providers are shown."""
    shown = {source.provider for block in BLOCKS for source in whole(block).sources}
    assert shown == {
        "twilio",
        "twilio-legacy",
        "twilio-video",
        "telnyx",
        "signalwire",
        "plivo",
        "bandwidth",
        "ringcentral",
    }


def anchors(path: Path) -> set[str]:
    """Return a document's link targets: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_it_points_to_is_there(path: Path) -> None:
    """Every link has its file and heading, and every test that a promise names exists."""
    broken = []
    for link, anchor in re.findall(r"\]\(((?!https?:)[^)#]*)(?:#([^)]*))?\)", path.read_text()):
        there = (path.parent / link).resolve() if link else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append((link, anchor))
    tests = re.findall(r"`(tests/[\w./]+)`", path.read_text())
    assert (broken, [name for name in tests if not (ROOT / name).exists()]) == ([], [])


def test_its_promises_name_their_tests() -> None:
    """Each promise names a test."""
    rows = [line for line in (ROOT / "src/recvault/promises.md").read_text().splitlines() if line.startswith("| ")]
    assert len(rows) > 20
    assert [row for row in rows[1:] if "`tests/" not in row] == []
