"""A provider, or a proxy in between, that answers anything but a list of calls."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatch.test_call_facts import _wanted
from recvault.discovery.scan import by_id
from recvault.dispatch import call_desk
from recvault.monitoring.report import Report
from recvault.simulator import SimAccount, Switches
from recvault.simulator.exchange import Request, SimulatedReply, error, json_reply
from rig import Rig

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
COUNT = 6
NUMBERS = ("5551234567", "5557654321")
ROW = {
    "sid": "CA" + "0" * 32,
    "from": "+15551234567",
    "to": "+15557654321",
    "start_time": "Mon, 05 Oct 2026 10:00:00 +0000",
}
Answer = Callable[[Request], SimulatedReply]


def status(code: int, retry_after: str = "") -> Answer:
    """Answer a status whose message names a number."""

    def answer(request: Request) -> SimulatedReply:
        reply = error("json", code, 20000 + code, "no call from +15551234567")
        reply.headers += [("Retry-After", retry_after)] if retry_after else []
        return reply

    return answer


def page(*rows: Any, following: str | None = None) -> SimulatedReply:
    return json_reply({"calls": rows, "page_size": 1000, "next_page_uri": following})


def next_page(request: Request) -> str:
    return f"{request.path}?Page={int(request.param('Page') or 0) + 1}"


def body(text: bytes, content_type: str = "application/json") -> Answer:
    return lambda request: SimulatedReply(body=text, content_type=content_type)


ODD_ROWS = ({}, {"sid": None}, None, 7, "x", {"sid": "CA1", "from": 7, "to": [], "start_time": {}})
# What is answered, and the most requests that a pass may spend on it.
ANSWERS: dict[str, tuple[Answer, int]] = {
    "401": (status(401), 1),
    "404": (status(404), 1),
    "429, rest of an hour": (status(429, "3600"), 1),
    "500": (status(500), 3),
    "501": (status(501), 3),
    "no content": (lambda request: SimulatedReply(status=204), 3),
    "html": (body(b"<!DOCTYPE html><html>+15551234567</html>", "text/html"), 3),
    "nested": (body(b"[" * 200_000), 3),
    "huge": (body(b'{"page_size":1,"calls":["' + b"x" * (9 << 20) + b'"]}'), 3),
    "another list": (lambda request: json_reply({"recordings": [], "uri": "/"}), 3),
    "another host": (lambda request: page(ROW, following="http://evil.example/x"), 1),
    "its own page": (lambda request: page(ROW, following=request.target), 1),
    "empty pages without end": (lambda request: page(following=next_page(request)), 20),
    "the same page without end": (lambda request: page(ROW, following=next_page(request)), 21),
}
QUIET: dict[str, Answer] = {
    "rows without fields": lambda request: page(*ODD_ROWS),
    "another call": lambda request: page(ROW),
}


@pytest.fixture
def account(rig: Rig) -> SimAccount:
    """A Twilio account with recordings that are hours old, and its source."""
    rig.transfer = {"stall_timeout": "60s"}  # no second request because of load
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account("twilio")
    rig.simulator.populate(account, "voice", COUNT, NOW - timedelta(hours=5), conference_share=0.0)
    rig.add_source("acme", "twilio", account, call_facts=True)
    return account


def asked(rig: Rig) -> int:
    return rig.simulator.count(lambda request: request.path.endswith("Calls.json"))


def synced(rig: Rig, account: SimAccount) -> tuple[Report, Any]:
    """Run a pass; return its report, and the budget of the account."""
    with rig.runtime(lambda: NOW) as runtime:
        report = runtime.sync("sync", ["acme"])
        lines = runtime.lines("acme")
        lines(account.account_id).session._circuit.check()  # raises if it is open
        [facts] = runtime.line_facts()
        assert facts.answers.total() == sum(row.requests for row in report.accounts.values())
        return report, lines.limits.standing


def events(caplog: pytest.LogCaptureFixture, name: str) -> int:
    return sum(f"event='{name}'" in record.getMessage() for record in caplog.records)


def assert_archived_as_without_calls(rig: Rig, account: SimAccount) -> None:
    """Check a pass: all is archived as without call facts, by as many requests, and the report has all of them."""
    report, standing = synced(rig, account)
    assert (report.exit_code, len(rig.sidecars())) == (0, COUNT)
    assert [row["error"] for row in report.document()["sources"]] == [None]
    requests = rig.simulator.count(lambda request: True)
    assert requests - asked(rig) == COUNT + 1
    assert [row["requests"] for row in report.document()["sources"]] == [requests]
    assert standing.held_by is None
    assert not any("call" in each for each in rig.sidecars().values())


@pytest.mark.parametrize("name", ANSWERS)
def test_any_answer_leaves_recordings_as_they_are(
    rig: Rig,
    account: SimAccount,
    name: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All is archived, exit code 0, one line says why no call is told, few requests are spent, no number is logged."""
    answer, most = ANSWERS[name]
    rig.simulator.switches = Switches(calls_reply=answer)
    assert_archived_as_without_calls(rig, account)
    assert (events(caplog, "calls.failed"), events(caplog, "calls.cut")) == (1, 0)
    assert 1 <= asked(rig) <= most
    said = capsys.readouterr()
    assert [number for number in NUMBERS if number in said.out + said.err + caplog.text] == []


@pytest.mark.parametrize("name", QUIET)
def test_rows_that_tell_nothing_are_no_error(
    rig: Rig, account: SimAccount, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A list without the calls in question is read once, all is archived, and no warning is logged."""
    rig.simulator.switches = Switches(calls_reply=QUIET[name])
    assert_archived_as_without_calls(rig, account)
    assert (asked(rig), events(caplog, "calls.failed")) == (1, 0)


def test_a_list_that_resets_connections(rig: Rig, account: SimAccount, caplog: pytest.LogCaptureFixture) -> None:
    """Three tries, one line, and all is archived."""
    rig.simulator.faults.plan("reset", "Calls.json", times=1000)
    assert_archived_as_without_calls(rig, account)
    assert (asked(rig), events(caplog, "calls.failed")) == (3, 1)


def test_a_failed_try_is_no_answer(rig: Rig, account: SimAccount) -> None:
    """Tries without an answer are counted as requests, and are no sign of life for which a pass would wait longer."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        rig.sources[0]["base_url"] = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with rig.runtime(lambda: NOW) as runtime:
            desk = runtime.call_desk([runtime.listed("acme")])
            assert desk is not None
            assert desk._ask(("acme", account.account_id), _wanted(account)) is None
            assert desk._answers == 0
            [facts] = runtime.line_facts()
            assert facts.answers == {"error": 3}


def test_a_list_that_never_answers_is_told_once(
    rig: Rig, account: SimAccount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pass that cut its question says so in one line, and asked once."""
    monkeypatch.setattr(call_desk, "_SILENCE_SECONDS", 0.4)
    gate = threading.Event()
    rig.simulator.switches = Switches(calls_gate=gate)
    assert_archived_as_without_calls(rig, account)
    assert (events(caplog, "calls.cut"), events(caplog, "calls.failed")) == (1, 0)
    gate.set()
    assert asked(rig) <= 1


def test_within_a_run_a_failed_list_rests(rig: Rig, account: SimAccount, caplog: pytest.LogCaptureFixture) -> None:
    """What fails is not asked again at the next poll of the same run until its rest is over, and is one warning."""
    rig.simulator.switches = Switches(calls_reply=status(404))
    moment = NOW
    with rig.runtime(lambda: moment) as runtime:
        source = runtime.listed("acme")
        desk = runtime.call_desk([source])
        assert desk is not None
        line = source.line(account.account_id)
        recordings = [by_id(line.provider, line.session, each.recording_id) for each in account.shelves["voice"]]
        for minutes in (0, 5, 30, 59):
            moment = NOW + timedelta(minutes=minutes)
            desk.listed(source, account.account_id, recordings)
            desk._ask_new(("acme", account.account_id))
        assert (asked(rig), events(caplog, "calls.failed")) == (1, 1)
        moment = NOW + timedelta(hours=1)
        desk.listed(source, account.account_id, recordings)
        desk._ask_new(("acme", account.account_id))
        assert (asked(rig), events(caplog, "calls.failed")) == (2, 1)
        desk.finish(0.0)
