"""The query plans of a ledger: with ten million recordings they use indexes, without sorting."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from ledger.rows import FEED, NOW, POLICIES, RECHECK, failure, many, receipt, recording, register, rejected
from recvault.ledger import Feed, Ledger
from recvault.ledger.unlisted import EVER
from recvault.models import Verdict

FEED_OTHER = Feed("main", "twilio", "AC2")
_VERBS = frozenset({"SELECT", "UPDATE", "INSERT", "DELETE"})


def plans_of(ledger: Ledger, ask: Callable[[Ledger], object]) -> list[str]:
    """Return SQLite's plans of every statement of a query or verb."""
    plain: sqlite3.Connection = ledger._connection._db.conn
    seen: list[str] = []
    plain.set_trace_callback(seen.append)
    ask(ledger)
    plain.set_trace_callback(None)
    asked = [text for text in seen if text.lstrip().split()[0] in _VERBS]
    return [step[3] for text in asked for step in plain.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()]


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """A ledger with recordings in every state."""
    register(ledger, *many(20), rejected=[rejected()])
    jobs = ledger.claim("main", NOW, 6)
    verdicts = [Verdict.RETRY, Verdict.FATAL, Verdict.NOT_READY, Verdict.GONE]
    outcomes = [failure(job, verdict) for job, verdict in zip(jobs, verdicts, strict=False)]
    ledger.settle([*outcomes, receipt(jobs[4])], NOW, POLICIES)
    for feed in (FEED, FEED_OTHER):
        ledger.advance(feed, NOW, NOW)
    return ledger


def settle_some(ledger: Ledger) -> None:
    jobs = ledger.claim("main", NOW, 3)
    ledger.settle([failure(jobs[0]), failure(jobs[1], Verdict.NOT_READY), receipt(jobs[2])], NOW, POLICIES)


ASKED: dict[str, Callable[[Ledger], object]] = {
    "claim": lambda ledger: ledger.claim("main", NOW, 16),
    "settle": settle_some,
    "register new": lambda ledger: register(ledger, *many(5, 100)),
    "register known": lambda ledger: register(ledger, *many(20), rejected=[rejected()]),
    "register known of another list": lambda ledger: register(
        ledger, *(recording(number, api="2008-08-01", status=None) for number in range(20))
    ),
    "retry one": lambda ledger: ledger.retry([3], NOW),
    "retry all": lambda ledger: ledger.retry(None, NOW),
    "free dead leases": lambda ledger: ledger.free_dead_leases(NOW),
    "bring forward": lambda ledger: ledger.bring_forward("main", NOW, RECHECK),
    "watermark": lambda ledger: (ledger.watermark(FEED), ledger.advance(FEED, NOW, NOW)),
    "scan error": lambda ledger: ledger.note_scan_error(FEED_OTHER, "down", NOW),
    "accounts closed": lambda ledger: ledger.note_accounts("main", ["AC1"], NOW),
    "find": lambda ledger: ledger.ask.find("RE7"),
    "list a call": lambda ledger: list(ledger.ask.recordings(call="CA7")),
    "find in a source": lambda ledger: ledger.ask.find("RE7", "main"),
    "find by a beginning": lambda ledger: ledger.ask.beginning("RE1"),
    "failures": lambda ledger: ledger.ask.failures(),
    "some failures of a source": lambda ledger: ledger.ask.failures(5, ["main"]),
    "number of failures": lambda ledger: ledger.ask.failures_total(["main"]),
    "feeds": lambda ledger: ledger.ask.feeds(),
    "accounts": lambda ledger: ledger.ask.accounts("main"),
    "next due": lambda ledger: ledger.ask.next_due(["main", "other"]),
    "days": lambda ledger: ledger.ask.days(NOW.date()),
    "last success": lambda ledger: ledger.ask.last_success(FEED),
    "standing": lambda ledger: ledger.ask.standing("main", "AC1"),
    "unlisted": lambda ledger: ledger.unlisted.page(0, EVER, 100),
}


@pytest.mark.parametrize("asked", ASKED)
def test_recordings_are_found_by_an_index(filled: Ledger, asked: str) -> None:
    """No query scans the recordings or their listed facts, or builds a temporary index."""
    plans = plans_of(filled, ASKED[asked])
    assert plans
    walks = [step for step in plans if step.startswith(("SCAN recordings", "SCAN listed", "SCAN told"))]
    assert walks == []
    assert [step for step in plans if "AUTOMATIC" in step] == []


@pytest.mark.parametrize("asked", ASKED)
def test_recordings_come_sorted(filled: Ledger, asked: str) -> None:
    """A backlog of millions is not sorted to find its first fifty."""
    sorts = [step for step in plans_of(filled, ASKED[asked]) if "TEMP B-TREE" in step]
    assert sorts == (["UNION USING TEMP B-TREE"] if asked == "accounts" else [])  # a few accounts


def test_register_asks_once_for_a_page_that_is_known(filled: Ledger) -> None:
    """A page of archived recordings needs one query, by identity."""
    filled.settle([receipt(job) for job in filled.claim("main", NOW, 30)], NOW, POLICIES)
    known = [recording(number) for number in range(6, 20)]
    plans = plans_of(filled, lambda ledger: ledger.register(FEED, known, [], NOW, RECHECK))
    assert [step for step in plans if "recordings" in step] == [
        "SEARCH recordings USING INDEX recordings_identity (recording_id=?)"
    ]


@pytest.mark.parametrize("body", ["{}", "another"], ids=["unchanged", "changed"])
def test_rows_in_quarantine_are_found_by_their_key(filled: Ledger, body: str) -> None:
    """Each of thousands of unreadable rows is found by its own key."""
    page = [rejected(body), rejected("new", "RE2"), rejected("no id", None)]
    plans = plans_of(filled, lambda ledger: register(ledger, *many(20), rejected=page))
    steps = {step for step in plans if "quarantine" in step}
    assert steps and all(step.startswith("SEARCH quarantine USING") for step in steps)
    by_account = {step for step in steps if step.endswith("(source=? AND account_id=?)")}
    assert by_account == {"SEARCH quarantine USING COVERING INDEX quarantine_recording (source=? AND account_id=?)"}


def test_a_feed_s_oldest_and_its_latest_day_are_found_by_key(filled: Ledger) -> None:
    """A feed's oldest recording and its latest day are found without scanning or sorting."""
    plans = plans_of(filled, lambda ledger: ledger.ask.feeds())
    assert {step for step in plans if "recordings" in step or "days" in step} == {
        "SEARCH recordings USING INDEX recordings_waiting (source=? AND account_id=? AND state=?)",
        "SEARCH recordings USING INDEX recordings_next (source=? AND account_id=? AND next_attempt_at>?)",
        "SEARCH recordings USING INDEX recordings_leased (lease>?)",
        "SEARCH days USING PRIMARY KEY (source=? AND account_id=?)",
    }


def test_days_are_found_by_their_key(filled: Ledger) -> None:
    """Of ten years and a hundred accounts only the last days are read."""
    plans = plans_of(filled, lambda ledger: ledger.ask.days(NOW.date()))
    assert [step for step in plans if "days" in step] == [
        "SEARCH days USING PRIMARY KEY (source=? AND account_id=? AND day>?)"
    ]
