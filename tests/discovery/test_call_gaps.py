"""Which calls lack a recording: one family at a time, by a rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recvault.discovery.call_gaps import CallRecording, GapRule, call_ids, families, gaps, is_over
from recvault.providers.calls import CallRow

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
RULE = GapRule(min_seconds=10, tolerance=5, late_start=20)


def call(name: str, seconds: float | None = 100, parent: str | None = None, **values: Any) -> CallRow:
    given = {"status": "completed", "direction": "inbound", "ended_at": NOW, "started_at": NOW - timedelta(minutes=5)}
    return CallRow(call_id=name, parent_call_id=parent, seconds=seconds, **given | values)


def recording(call_id: str, seconds: float | None, name: str = "RE1") -> CallRecording:
    return CallRecording(call_id=call_id, recording_id=name, seconds=seconds)


def told(family: list[CallRow], *recordings: CallRecording, rule: GapRule = RULE) -> list[tuple[str, str]]:
    return [(gap.kind.value, gap.call.call_id) for gap in gaps(family, recordings, rule)]


def test_a_family_is_a_call_with_all_that_it_dialled() -> None:
    """Legs of legs, and legs of a call that is not listed, are one family; the call that dialled is first."""
    rows = [call("leg2", parent="leg1"), call("a"), call("leg1", parent="a"), call("x", parent="away"), call("b")]
    found = [[row.call_id for row in family] for family in families([*rows, rows[0]])]
    assert sorted(found) == [["a", "leg1", "leg2"], ["b"], ["x"]]


def test_a_recording_of_a_parent_that_is_not_listed_is_asked_for() -> None:
    """The ledger is asked for the calls of a family and for those that dialled them, listed or not."""
    assert call_ids([call("leg", parent="away"), call("leg2", parent="leg")]) == {"leg", "leg2", "away"}


def test_calls_that_name_each_other_end() -> None:
    """A circle of parents is a family, not an endless loop."""
    assert sum(len(family) for family in families([call("a", parent="b"), call("b", parent="a")])) == 2


@pytest.mark.parametrize(
    ("family", "recordings", "expected"),
    [
        pytest.param([call("a")], [], [("no_recording", "a")], id="none"),
        pytest.param([call("a"), call("b", parent="a")], [], [("no_recording", "a")], id="one of both is told"),
        pytest.param(
            [call("a", 5), call("b", 90, "a")], [], [("no_recording", "b")], id="the leg alone is long enough"
        ),
        pytest.param([call("a"), call("b", parent="a")], [recording("b", 100)], [], id="of the leg"),
        pytest.param([call("b", parent="a")], [recording("a", 100)], [], id="of the call that dialled"),
        pytest.param([call("a", 9)], [], [], id="too short a call"),
        pytest.param([call("a", None)], [], [], id="no length"),
        pytest.param([call("a", status="no-answer")], [], [], id="not answered"),
        pytest.param([call("a")], [recording("a", 75)], [], id="late by rule"),
        pytest.param([call("a")], [recording("a", 74)], [("short", "a")], id="too short"),
        pytest.param([call("a")], [recording("a", 40), recording("a", 40, "RE2")], [], id="in two parts"),
        pytest.param([call("a"), call("b", 50, "a")], [recording("a", 50)], [], id="only what it dialled"),
        pytest.param([call("a")], [recording("a", 105)], [], id="longer within tolerance"),
        pytest.param([call("a")], [recording("a", 106)], [("long", "a")], id="too long"),
        pytest.param([call("a")], [recording("a", None)], [], id="not measured"),
        pytest.param([call("a")], [recording("a", 1), recording("a", None, "RE2")], [], id="one not measured"),
    ],
)
def test_what_is_wrong_with_a_family(
    family: list[CallRow], recordings: list[CallRecording], expected: list[tuple[str, str]]
) -> None:
    """A gap is told once for a family; a recording of any of its calls is enough; lengths may be off by rule."""
    assert told(family, *recordings) == expected


def test_the_rule_chooses_by_direction_and_number() -> None:
    """Numbers are compared by their digits, in either place; directions by their beginning."""
    out = call("a", direction="outbound-dial", from_="+15550100", to="+15550199")
    assert told([out], rule=GapRule(direction="inbound")) == []
    assert told([out], rule=GapRule(direction="outbound", numbers=["+1 555-0199"])) == [("no_recording", "a")]
    assert told([out], rule=GapRule(numbers=["15550100"])) == [("no_recording", "a")]
    assert told([out], rule=GapRule(numbers=["15550101"])) == []


@pytest.mark.parametrize(
    ("row", "over"),
    [
        (call("a", ended_at=NOW - timedelta(seconds=1)), True),
        (call("a"), False),
        (call("a", status="in-progress", ended_at=None), False),
        (call("a", status="busy", ended_at=None), True),
    ],
)
def test_only_what_is_over_is_judged(row: CallRow, over: bool) -> None:
    """A call that goes on, or ended a moment ago, waits, and with it its family."""
    done = call("b", ended_at=NOW - timedelta(hours=2))
    assert is_over([done, row], NOW) is over


def test_numbers_are_shown_in_the_document_alone() -> None:
    """What is recorded of a gap, and how it prints itself, has no number."""
    [gap] = gaps([call("a", from_="+15550100", to="+15550199")], [], GapRule(numbers=["+15550100"]))
    assert "555" not in f"{gap.facts()}{gap!r}{GapRule(numbers=['+15550100'])!r}"
    assert (gap.document()["from"], gap.document()["to"]) == ("+15550100", "+15550199")
