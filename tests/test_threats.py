"""The threat model is tested: each line names existing tests, and true limits."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import recvault

ROOT = Path(__file__).parent.parent
TEXT = (Path(recvault.__file__).parent / "threats.md").read_text()
ACTORS = (
    "A hostile provider",
    "A hostile media host",
    "Someone who stole",
    "A reader of the bucket",
    "Another user",
    "Whoever can reach a cluster",
    "A sender of webhooks",
    "A reader of the logs",
    "Whoever may erase",
)
LINES = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| attack | defence")]
SHOWN = re.compile(r"`((?:tests|src)/[\w/]+\.py)::(\w+)`")


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_every_line_names_tests_that_exist(line: str) -> None:
    """Each line has a threat, a protection, and at least one existing test."""
    tried, held, shown = (cell.strip() for cell in line.strip("|").split(" | "))
    named = SHOWN.findall(shown)
    assert tried and held and named
    assert ", ".join(f"`{path}::{name}`" for path, name in named) == shown
    missing = [
        (path, name) for path, name in named if not (ROOT / path).is_file() or name not in functions(ROOT / path)
    ]
    assert missing == []


def test_every_actor_has_lines() -> None:
    """Every actor has at least one line."""
    sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    for actor in ACTORS:
        [section] = [each for each in sections if each.startswith(actor)]
        assert SHOWN.search(section), actor


def test_bounds_are_those_of_the_code() -> None:
    """The stated sizes are those of the code."""
    from recvault.http import bodies, session
    from recvault.log import lines as speech
    from recvault.transport import backend, base, callbacks

    assert (bodies.MOST_PAGE, bodies.MOST_ROW, bodies._UNFOLDED) == (8 << 20, 1 << 20, 64 << 10)
    assert (backend._LONGEST_HEAD, callbacks.MOST_LINES, base._MOST_HEADERS) == (256 << 10, 10_000, 100)
    assert (session._MOST_PAGES, speech._LONGEST) == (100_000, 8 << 10)
