"""Output on a terminal and elsewhere: tables, progress, and never a control code from outside."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rich.console import Console

import forked
from cli.commands import PATIENCE, arguments, each_on_terminal, environment, on_terminal, open_terminal, run
from cli.conftest import World
from real_s3.fixtures import LACKS
from recvault.cli.reports import _lines
from recvault.monitoring.report import Report
from recvault.simulator import Simulator
from rig import START, Rig

ESCAPE = "\x1b"
STYLE = re.compile(r"\x1b\[[0-9;]*m")
LIVE = re.compile(r"\x1b\[(?:\?25[lh]|[0-9]*[AK]|[0-9]*G|1A|2K)|\r")  # cursor up, erase line, hide and show it
HOSTILE = "\x1b]0;owned\x07\x1b[31;5mred\x9b32mgreen‮\x08\ud800"


@contextmanager
def hostile_twilio() -> Iterator[str]:
    """A service whose rows, ids and errors contain terminal control codes."""
    day = "Thu, 01 Oct 2026 09:00:00 +0000"
    rows = [
        {"sid": f"RE{HOSTILE[:-1]}", "date_created": day, "status": "completed", "call_sid": HOSTILE[:-1]},
        {"sid": f"REq{HOSTILE}", "date_created": HOSTILE, "status": HOSTILE},
    ]

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if "ACdown" in self.path:
                self._answer(404, {"code": HOSTILE, "message": HOSTILE})
            elif "Recordings.json" in self.path:
                self._answer(200, {"recordings": rows, "next_page_uri": None})
            else:
                self._answer(400, {"code": 20001, "message": f"no {HOSTILE}"})

        def _answer(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def assert_harmless(shown: str) -> None:
    """Check that the only control codes are our own styles and cursor moves."""
    ours = LIVE.sub("", STYLE.sub("", shown))
    found = re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f‪-‮\ud800-\udfff]", ours)
    assert not found, ours[max(0, found.start() - 60) : found.end() + 20]


def test_a_pipe_gets_no_terminal_codes(world: World) -> None:
    """Without a terminal, tables are tab-separated with plain numbers and no escapes."""
    ran = run(world.rig, "status")
    assert ESCAPE not in ran.stdout + ran.stderr
    head, *rows = [line.split("\t") for line in ran.stdout.splitlines()]
    assert head[:4] == ["source", "account", "watermark", "lag"]
    assert len(rows) == 2 and all(row[3].isdigit() for row in rows)


@pytest.fixture(scope="module")
def styled(world: World) -> dict[int, list[str]]:
    """`status` and `failures` on terminals of 100 and 200 columns."""
    return {columns: each_on_terminal(world.rig, ["status"], ["failures"], columns=columns) for columns in (100, 200)}


@pytest.mark.parametrize("columns", [100, 200])
def test_tables_fit_the_terminal(world: World, styled: dict[int, list[str]], columns: int) -> None:
    """No line is wider than the terminal, but a command to copy, which is never wrapped; nor is an id."""
    ids = (world.rig.sources[0]["account_sid"], world.failing.recording_id)
    for shown, id_ in zip(styled[columns], ids, strict=True):
        plain = STYLE.sub("", shown)
        lines = [line for line in plain.splitlines() if not line.lstrip().startswith("recvault --config ")]
        assert [line for line in lines if len(line) > columns] == []
        assert id_ in plain or (f" {id_[:8]}... " in plain and id_[8:] not in plain)


def test_no_color_is_honoured(world: World, styled: dict[int, list[str]]) -> None:
    """With NO_COLOR the text is the same, without styles."""
    (plain,) = each_on_terminal(world.rig, ["status"], columns=200, env={"NO_COLOR": "1"})
    assert STYLE.search(styled[200][0])
    assert ESCAPE not in plain
    ages = re.compile(r"(?:[0-9]+ (?:d|h|min|s)\b|[\s─])+")  # they grow, and the columns too
    assert ages.sub(" ", STYLE.sub("", styled[200][0])) == ages.sub(" ", plain)


def test_a_sync_shows_progress_and_then_a_table(rig: Rig, simulator: Simulator) -> None:
    """On a terminal a pass shows live counts with warnings above them, and ends with a table."""
    account = simulator.add_account("twilio")
    recordings = simulator.populate(account, "voice", count=30, conference_share=0)
    simulator.faults.plan("error_body_200", match=recordings[0].recording_id, kind="media")
    simulator.switches = replace(simulator.switches, latency_seconds=0.1)
    rig.add_source("voice", "twilio", account)
    code, shown = on_terminal(rig, "sync", env={"NO_COLOR": "1"})
    assert code == 3
    assert "30 listed" in shown and re.search(r"[0-9]+ archived", shown)
    assert not STYLE.search(shown)
    assert "transfer.failing" in shown and recordings[0].recording_id in shown.replace("\r\n", "")
    last = screen(shown)
    assert [line.split() for line in last if line.startswith("source ")] == [
        ["source", "account", "listed", "registered", "archived", "failed", "bytes"]
    ]
    assert any(line.startswith("voice") and " 29 " in line for line in last)
    assert not any("listed" in line and "archived" in line and not line.startswith("source ") for line in last)
    assert "transfer.failing" in " ".join(last)


def test_quiet_shows_no_progress(rig: Rig, simulator: Simulator) -> None:
    """With `-q` there is neither progress nor a table if all is well."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account)
    code, shown = on_terminal(rig, "-q", "sync", env={"NO_COLOR": "1"})
    assert (code, shown) == (0, "")


def test_the_daemon_on_a_terminal_says_what_it_does(rig: Rig, simulator: Simulator) -> None:
    """On a terminal the daemon says that it is ready, what it archives, and how it ended."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.daemon = {"metrics_listen": ""}
    ours, theirs = open_terminal(50, 200)
    surroundings = environment(rig.root, NO_COLOR="1")
    daemon = forked.popen(arguments(rig, "run"), surroundings, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = _read(ours, lambda so_far: so_far.count("transfer.archived") == 3)
    daemon.send_signal(signal.SIGINT)
    shown += _read(ours, lambda so_far: False)
    assert daemon.wait(PATIENCE) == 130
    assert "daemon.ready" in shown
    assert "interrupted: unfinished recordings are due again at the next start" in shown
    assert "recvault sync" not in shown


def _read(terminal: int, enough: Callable[[str], bool]) -> str:
    """Read the output until it suffices or the command has closed the terminal."""
    shown = b""
    while not enough(shown.decode(errors="replace")):
        try:
            part = os.read(terminal, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not part:
            break
        shown += part
    return shown.decode(errors="replace")


def test_hostile_text_never_reaches_a_terminal_raw(rig: Rig, simulator: Simulator) -> None:
    """Escapes, C1 controls and bidi marks in ids, rows and errors are shown escaped by every verb."""
    with hostile_twilio() as url:
        for name, account in (("good", "AC" + "a" * 32), ("down", "ACdown")):
            account_of = simulator.add_account("twilio", account, "secret-of-" + name)
            rig.add_source(name, "twilio", account_of, base_url=url)
        code, shown = on_terminal(rig, "sync")
        assert code == 78  # the list of one account does not exist
        assert_harmless(shown)
        id_ = f"RE{HOSTILE[:-1]}"
        asked = (["status"], ["failures"], ["failures", "--json"], ["show", id_], ["show", id_, "--json"])
        each = each_on_terminal(rig, *asked)
    assert len(each) == len(asked)
    for shown in each:
        assert_harmless(shown)
    for shown in each[1:]:
        assert "owned" in shown
    document = json.loads(each[2])
    assert [row["recording_id"] for row in document["failures"]] == [id_]
    assert [row["source"] for row in document["quarantined"]] == ["good"]


def screen(shown: str) -> list[str]:
    """Return the final lines of an endless screen, after cursor moves and erasures."""
    lines, at = [""], 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", shown):
        if part == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif part.endswith("A") and part.startswith(ESCAPE):
            at = max(0, at - int(part[2:-1] or 1))
        elif part == f"{ESCAPE}[2K":
            lines[at] = ""
        elif not part.startswith((ESCAPE, "\r")):
            lines[at] += part
    return lines


def test_a_machine_that_gives_no_terminal_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /dev/pts, tests that need a terminal are skipped, and the run's last lines say so."""

    def none_left() -> tuple[int, int]:
        raise OSError("out of pty devices")

    monkeypatch.setattr("cli.commands.pty.openpty", none_left)
    with pytest.raises(pytest.skip.Exception, match=f"{LACKS}a terminal: out of pty devices; mount"):
        open_terminal(24, 80)


def test_a_pass_is_one_line_an_account_while_it_runs() -> None:
    """A long error is cut to a line of its own at 80 columns; the counts are whole."""
    report = Report(command="sync", started_at=START)
    for source in ("voice", "video"):
        report.account(source, "twilio", "AC3f5ca8e73d33ac5d90eb320936ad3313").listed = 12_345
    report.account("voice", "twilio", "AC3f5ca8e73d33ac5d90eb320936ad3313").error = "voice: refused: " + "why " * 60
    screen = Console(width=80, file=io.StringIO())
    screen.print(_lines(report))
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    assert [line.rstrip() for line in lines] == [
        "voice  AC3f5ca8...  12,345 listed  0 archived  0 B",
        "video  AC3f5ca8...  12,345 listed  0 archived  0 B",
        f"voice: refused: {'why ' * 15}why…",
    ]
