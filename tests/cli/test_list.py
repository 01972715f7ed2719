"""`recvault list`: what the ledger knows, filtered by call, source, time and state."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cli.commands import each_on_terminal, run, run_each
from cli.conftest import World
from recvault.ledger import Ledger
from recvault.simulator import Simulator
from rig import Rig, now

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def listed(world: World, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run_each(world.rig, ["list", *words, "--json"])[0].document["recordings"]
    return rows


def test_everything_the_newest_first(world: World) -> None:
    """All recordings of every state are listed, newest first: as a document, or in a pipe a line each with a header."""
    document, plain = run_each(world.rig, ["list", "--json"], ["list"])
    rows = document.document["recordings"]
    assert document.document["schema"] == "recvault/list/v1"
    assert len(rows) == 15 and {row["source"] for row in rows} == {"voice", "telnyx"}
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    head, *lines = [line.split("\t") for line in plain.stdout.splitlines()]
    assert head == ["created", "source", "recording", "state", "bytes", "call", "account", "sidecar key"]
    assert [line[2] for line in lines] == [row["recording_id"] for row in rows]
    assert {len(line) for line in lines} == {len(head)}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--source", "telnyx"], lambda row: row["source"] == "telnyx"),
        (["--source", "telnyx", "--source", "voice"], lambda row: True),
        (["--state", "archived"], lambda row: row["state"] == "archived"),
        (["--state", "gone", "--source", "voice"], lambda row: row["state"] == "gone"),
        (["--state", "dead"], lambda row: False),
    ],
    ids=["source", "both", "state", "both kinds", "none"],
)
def test_chosen(world: World, words: list[str], wanted: Any) -> None:
    """Filter by source, by state, and by both."""
    assert listed(world, *words) == [row for row in listed(world) if wanted(row)]


def test_chosen_by_time(world: World) -> None:
    """A window includes `since` and excludes `until`; one that cannot contain anything is a usage error."""
    rows = listed(world)
    since, until = rows[9]["created_at"], rows[3]["created_at"]
    assert listed(world, "--since", since, "--until", until) == [
        row for row in rows if since <= row["created_at"] < until
    ]
    assert listed(world, "--limit", "3") == rows[:3]
    limited, wrong = run_each(world.rig, ["list", "--limit", "3"], ["list", "--since", until, "--until", since])
    assert "the 3 newest are listed: --limit N lists more" in limited.stderr
    assert wrong.code == 2


def test_the_recordings_of_a_call(world: World) -> None:
    """A call's recordings are found even when archived."""
    call = world.archived.call_id
    assert call is not None
    (row,) = listed(world, "--call", call)
    assert (row["recording_id"], row["state"], row["call_id"]) == (world.archived.recording_id, "archived", call)
    (none,) = run_each(world.rig, ["list", "--call", "CA0"])
    assert (none.code, none.stderr) == (0, "no recordings\n")


def test_a_rebuilt_ledger_knows_the_calls(rig: Rig, simulator: Simulator) -> None:
    """A rebuilt ledger knows calls from the sidecars; one of an earlier version says that some are missing."""
    account = simulator.add_account("twilio")
    [made] = simulator.populate(account, "voice", count=1, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.sync()
    path = rig.root / "ledger.db"
    ledger = Ledger.open(path, now())
    ledger.remember("calls.incomplete", "yes")
    ledger.close()
    assert "make it anew: `recvault rebuild`" in run(rig, "list", "--call", "CA0").stderr
    for each in rig.root.glob("ledger.db*"):
        each.rename(rig.root / f"away.{each.name}")
    assert run(rig, "rebuild").code == 0
    ran = run(rig, "list", "--call", str(made.call_id), "--json")
    assert [row["recording_id"] for row in ran.document["recordings"]] == [made.recording_id]
    assert ran.stderr == ""


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_a_terminal_shows_a_table_within_its_width(world: World, columns: int) -> None:
    """A table has complete ids, one line per recording; if it is too wide, the least important columns are omitted."""
    (shown,) = each_on_terminal(world.rig, ["list", "--source", "voice"], columns=columns)
    plain = STYLE.sub("", shown).replace("\r", "")
    assert max(map(len, plain.splitlines())) <= columns
    (line,) = [line for line in plain.splitlines() if world.archived.recording_id in line]
    assert "archived" in line


def test_no_ledger_yet(rig: Rig, simulator: Simulator) -> None:
    """Without a ledger nothing is listed and none is created."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    document, plain = run_each(rig, ["list", "--json"], ["list"])
    assert (document.document["recordings"], plain.stderr) == ([], "no recordings\n")
    assert not (rig.root / "ledger.db").exists()
