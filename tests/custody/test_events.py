"""The audit trail: who ran what, on whose reference, before it acts."""

from __future__ import annotations

import json
import os
import pwd
import socket
from datetime import UTC, date, datetime

import pytest

from recvault import __version__
from recvault.custody import Records
from recvault.custody.events import events, tell
from recvault.testing.memory import MemoryStore

NOW = datetime(2026, 12, 1, 4, 45, tzinfo=UTC)


def records() -> Records:
    return Records(store=MemoryStore(), prefix="in/")


def test_a_run_is_told_with_who_when_and_why() -> None:
    """A line for each fact, with account, host, version, time, reference and command."""
    trail = records()
    path = tell(
        trail, "failures accept", now=NOW, reference="case 7", facts=[{"recording_id": "RE1"}], command=["failures"]
    )
    assert path.startswith("events/date=2026-12-01/20261201T044500.000000Z-failures-accept-")
    assert list(events(trail)) == [
        {
            "schema": "recvault/events/v1",
            "act": "failures accept",
            "at": "2026-12-01T04:45:00.000000Z",
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "sudo_user": os.environ.get("SUDO_USER") if os.getuid() == 0 else None,
            "host": socket.gethostname(),
            "version": __version__,
            "reference": "case 7",
            "command": ["failures"],
            "recording_id": "RE1",
        }
    ]


def test_each_run_has_a_record_of_its_own() -> None:
    """Two runs at the same moment are two records, found by their day."""
    trail = records()
    assert tell(trail, "prune", now=NOW, command=[]) != tell(trail, "prune", now=NOW, command=[])
    assert len(list(events(trail, [date(2026, 12, 1)]))) == 2
    assert list(events(trail, [date(2026, 12, 2)])) == []


@pytest.mark.parametrize(
    ("uid", "told"),
    [pytest.param(0, "jane", id="root by sudo"), pytest.param(4711000, None, id="anybody could set it")],
)
def test_who_is_behind_sudo(monkeypatch: pytest.MonkeyPatch, uid: int, told: str | None) -> None:
    """SUDO_USER counts for root only; an account without a name is told by its number."""
    monkeypatch.setenv("SUDO_USER", "jane")
    monkeypatch.setattr(os, "getuid", lambda: uid)
    trail = records()
    tell(trail, "prune", now=NOW, command=[])
    [line] = events(trail)
    assert (line["sudo_user"], line["user"]) == (told, "root" if uid == 0 else "4711000")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["erase", "--number", "15550100123", "--dry-run"], ["erase", "--number", "[number]", "--dry-run"]),
        (["erase", "--number=+1 555 0100 123"], ["erase", "--number=[number]"]),
        (["erase", "--reference", "wish of 5550100123"], ["erase", "--reference", "[above]"]),
        (["find", "+15550100123", "(555) 010-0123", "15550100123"], ["find", "+[number]", "[number]", "[number]"]),
        (["gaps", "--since", "2026-11-02", "--source", "main"],) * 2,
        (["gaps", "--since", "20261102"], ["gaps", "--since", "[number]"]),
        (["prune", "--older-than", "30d", "--limit", "1000"],) * 2,
        (["failures", "accept", "RE0123456789abcdef0123456789abcdef"],) * 2,
        (["get", "7c1f0b1e-1111-4222-8333-123456789012"],) * 2,
        (["x", "https://user:pass@host/?token=abc"], ["x", "https://[hidden]@host/?[cut]"]),
    ],
)
def test_a_command_line_is_told_without_numbers_and_secrets(command: list[str], shown: list[str]) -> None:
    """Numbers and secrets of the command line are left out; ids and dates stay."""
    trail = records()
    tell(trail, "act", now=NOW, reference="of +15550100123", command=command)
    [line] = events(trail)
    assert line["command"] == shown
    assert "5550100123" not in json.dumps(line)
