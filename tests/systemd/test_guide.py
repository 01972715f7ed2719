"""The operations guide agrees with the code: its events, exit codes and files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import recvault
from recvault import errors
from recvault.models import State
from systemd.lab import UNITS

SOURCE = Path(recvault.__file__).parent
GUIDE = (UNITS / "README.md").read_text()
LEVELS = ("debug", "info", "warning", "error", "critical")
_EVENT = re.compile(r"[a-z]+(\.[a-z_]+)?")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its header."""
    part = GUIDE.split(f"\n### {heading}\n")[1].split("\n#")[0]
    lines = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def told() -> dict[str, str]:
    """Return the events in the guide's table, with their levels."""
    return {event: row[1] for row in rows("By event") for event in re.findall(r"`([^`]+)`", row[0])}


def logged() -> Iterator[tuple[str, str]]:
    """Return every event that the code logs by a literal name, with its level."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str) and _EVENT.fullmatch(first.value):
                    yield first.value, node.func.attr


def test_every_event_of_the_table_is_logged() -> None:
    """Every event in the guide is logged by the code."""
    written = {event for event, _ in logged()}
    texts = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    states = {f"transfer.{state}" for state in State}
    assert [event for event in told() if event not in written | states and f'"{event}"' not in texts] == []


def test_every_warning_and_error_is_in_the_table_with_its_level() -> None:
    """Every warning and error is in the guide with its level."""
    wrong = {(event, level) for event, level in logged() if level in LEVELS[2:] and told().get(event) != level}
    assert wrong == set()


def test_every_outcome_of_a_transfer_is_in_the_table() -> None:
    """Every state of an attempt is in the guide, except the one that only an operator sets."""
    assert [state for state in State if f"transfer.{state}" not in told()] == [State.ACCEPTED]


def test_every_exit_code_is_in_the_table() -> None:
    """Every exit code is in the guide: our own, those of signals, of usage and of reports."""
    written = {int(code) for row in rows("By exit code") for code in re.findall(r"\b\d+\b", row[0])}
    ours = {each.exit_code for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "exit_code")}
    assert ours | {0, 2, 3, 130, 143} <= written


FOLDERS = sorted(path.parent for path in UNITS.glob("*/README.md"))  # each with a guide of its own


def test_every_file_is_named_and_every_name_is_there() -> None:
    """The guide names all shipped files and no others; so does each folder's own."""
    shipped = {path.name for path in UNITS.rglob("*") if path.is_file() and path.parent not in FOLDERS} - {"README.md"}
    assert [name for name in shipped if name not in GUIDE and name != "recvault.conf"] == []
    assert set(re.findall(r"[\w-]+\.conf\.example", GUIDE)) <= shipped
    for folder in FOLDERS:
        assert f"]({folder.name}/README.md)" in GUIDE
        guide = (folder / "README.md").read_text()
        assert [
            path.name for path in folder.iterdir() if f"`{path.name}`" not in guide and path.name != "README.md"
        ] == []


def test_every_link_leads_somewhere() -> None:
    """Every link within the guide has a target."""
    headings = {line.strip("# ").lower().replace(" ", "-") for line in GUIDE.splitlines() if line.startswith("#")}
    assert [link for link in re.findall(r"\]\(#([^)]+)\)", GUIDE) if link not in headings] == []


def test_every_command_is_one() -> None:
    """Each `recvault VERB` in the guide is a verb, except those of later versions."""
    from recvault.cli import VERBS

    later = {"backfill"}
    words = set(re.findall(r"(?:`|bin/)recvault (?:--config \S+ )?([a-z]+)", GUIDE))
    assert words <= set(VERBS) | later
