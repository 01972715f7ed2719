"""The JSON documents, exactly as the interface defines them for scripts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from cli.commands import run
from cli.conftest import World
from recvault.archive import schema_bytes
from recvault.simulator import Simulator
from rig import Rig

Shape = dict[str, tuple[type, ...]]

COUNTED = (
    *("listed", "registered", "archived", "already_archived", "not_ready", "gone", "external"),
    *("failed", "dead", "quarantined", "bytes", "requests"),
)
REPORT_ROW: Shape = {
    "source": (str,),
    "provider": (str,),
    "account_id": (str,),
    "watermark": (str, NoneType),
    **dict.fromkeys(COUNTED, (int,)),
    "error": (str, NoneType),
}
REPORT_FAILURE: Shape = {
    "source": (str,),
    "recording_id": (str,),
    "verdict": (str,),
    "reason": (str,),
    "attempts": (int,),
    "next_attempt_at": (str, NoneType),
}
STATUS_ROW: Shape = {
    "source": (str,),
    "provider": (str,),
    "account_id": (str,),
    "watermark": (str, NoneType),
    "lag_seconds": (int, NoneType),
    "last_success_at": (str, NoneType),
    "counts": (dict,),
    "oldest_pending_at": (str, NoneType),
    "condition": (str,),
    "message": (str,),
    "words": (str,),
    "last_archived_at": (str, NoneType),
    "next_attempt_at": (str, NoneType),
    "error": (str, NoneType),
    "archived_per_day": (list,),
}
COUNTS = {"pending", "failing", "not_ready", "archived", "gone", "external", "dead", "accepted", "quarantined"} | {
    "erased"
}


def assert_shape(found: dict[str, Any], shape: Shape) -> None:
    for name, types in shape.items():
        assert type(found[name]) in types, (name, found[name])


def moment(text: str) -> datetime:
    assert text.endswith("Z"), text
    return datetime.fromisoformat(text)


def test_a_report_has_every_key_of_the_interface_with_its_type(world: World) -> None:
    """`sync --json` prints a recvault/report/v1 with one row per account and its counts."""
    document = world.synced.document
    assert document["schema"] == "recvault/report/v1"
    assert (document["command"], document["outcome"]) == ("sync", "partial")
    assert moment(document["started_at"]) <= moment(document["finished_at"]) <= datetime.now(UTC)
    rows = {row["source"]: row for row in document["sources"]}
    assert set(rows) == {"voice", "telnyx"}
    for row in rows.values():
        assert_shape(row, REPORT_ROW)
    voice = rows["voice"]
    names = ("listed", "registered", "archived", "not_ready", "gone", "external", "failed", "dead", "quarantined")
    assert [voice[name] for name in names] == [11, 10, 6, 1, 1, 1, 1, 0, 1]
    assert voice["bytes"] > 0 and voice["requests"] >= 8 and voice["error"] is None
    assert [rows["telnyx"][name] for name in names] == [5, 5, 5, 0, 0, 0, 0, 0, 0]


def test_a_report_names_what_failed(world: World) -> None:
    """`failures` has at most a hundred rows, `failures_total` counts all."""
    document = world.synced.document
    assert document["failures_total"] == len(document["failures"]) == 1
    failure = document["failures"][0]
    assert set(failure) >= set(REPORT_FAILURE)
    assert_shape(failure, REPORT_FAILURE)
    assert failure["recording_id"] == world.failing.recording_id
    assert (failure["verdict"], failure["reason"], failure["attempts"]) == ("retry", "media.document", 1)


def test_what_stands_open_is_exit_code_3(world: World) -> None:
    """A pass that leaves failed or quarantined recordings exits 3."""
    assert world.synced.code == 3


def test_the_log_is_json_lines_on_stderr(world: World) -> None:
    """Every log line of a sync is an object, and a recording's events can be found by its id."""
    events = [line["event"] for line in world.synced.log if line.get("recording_id") == world.archived.recording_id]
    assert events == ["transfer.archived"]
    assert [line["event"] for line in world.synced.log if line.get("recording_id") == world.failing.recording_id] == [
        "transfer.failing"
    ]


def test_status_has_every_key_of_the_interface(world: World) -> None:
    """`status --json` prints a recvault/status/v1 with watermark, lag and counts of each source."""
    ran = world.asked["status --json"]
    assert (ran.code, ran.stderr) == (0, "")
    document = ran.document
    assert document["schema"] == "recvault/status/v1"
    rows = {row["source"]: row for row in document["sources"]}
    assert set(rows) == {"voice", "telnyx"}
    assert document["verdict"]["safe"] is False
    assert ["in quarantine" in reason for reason in document["verdict"]["reasons"]] == [True]
    for row in rows.values():
        assert_shape(row, STATUS_ROW)
        assert set(row["counts"]) == COUNTS
    assert rows["voice"]["counts"] == {
        "pending": 1,
        "failing": 1,
        "not_ready": 1,
        "archived": 6,
        "gone": 1,
        "external": 1,
        "dead": 0,
        "accepted": 0,
        "erased": 0,
        "quarantined": 1,
    }
    assert rows["telnyx"]["oldest_pending_at"] is None
    assert rows["voice"]["lag_seconds"] > 0
    assert moment(rows["voice"]["watermark"]) < moment(rows["voice"]["last_success_at"])


def test_failures_say_why_since_when_and_how_often(world: World) -> None:
    """`failures --json` lists dead and failing recordings, and quarantined rows with their bodies."""
    ran = world.asked["failures --json"]
    assert (ran.code, ran.stderr) == (0, "")
    document = ran.document
    assert document["schema"] == "recvault/failures/v1"
    (failure,) = document["failures"]
    assert failure["recording_id"] == world.failing.recording_id
    assert (failure["state"], failure["reason"], failure["attempts"]) == ("failing", "media.document", 1)
    assert moment(failure["failing_since"]) < moment(failure["next_attempt_at"])
    (quarantined,) = document["quarantined"]
    assert quarantined["source"] == "voice" and quarantined["reason"] and json.loads(quarantined["body"])["sid"]


def test_show_tells_all_of_one_recording(world: World) -> None:
    """`show SOURCE:ID --json` has the ledger's row, the media's keys and the sidecar in the bucket."""
    ran = world.asked["show voice:ARCHIVED --json"]
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.document["schema"] == "recvault/show/v1"
    (recording,) = ran.document["recordings"]
    assert (recording["state"], recording["attempts"], recording["source"]) == ("archived", 1, "voice")
    assert recording["sidecar"]["recording_id"] == world.archived.recording_id
    assert [medium["key"] for medium in recording["media"]] == [m["key"] for m in recording["sidecar"]["media"]]


def test_show_reads_as_lines(world: World) -> None:
    """`show ID` prints the same facts as text."""
    ran = world.asked["show ARCHIVED"]
    assert ran.code == 0
    assert "state             archived" in ran.stdout and world.archived.recording_id in ran.stdout


def test_show_of_an_unknown_id_says_what_to_do(world: World) -> None:
    """An id that is unknown, or unknown at that source, is an error with a hint, and stdout is empty."""
    ran = world.asked["show telnyx:ARCHIVED --json"]
    assert (ran.code, ran.stdout) == (2, "")
    assert "is in the ledger" in ran.stderr and "recvault sync" in ran.stderr


def test_the_printed_schema_is_the_one_in_the_bucket(world: World) -> None:
    """`schema` prints exactly the bucket's schemas/sidecar-v1.json."""
    assert world.asked["schema"].stdout.encode() == schema_bytes()
    assert world.rig.objects()["schemas/sidecar-v1.json"] == schema_bytes()


def test_check_prints_one_document(world: World) -> None:
    """`check --json` prints a recvault/check/v1 with name, verdict, detail and hint of each check."""
    ran = world.asked["check --json"]
    document = ran.document
    assert document["schema"] == "recvault/check/v1"
    assert (ran.code, document["ok"]) == (0, True)
    for check in document["checks"]:
        assert_shape(check, {"name": (str,), "ok": (bool,), "detail": (str,), "hint": (str,), "exit_code": (int,)})
    asked = {check["name"].split(":")[0] for check in document["checks"]}
    parts = {"configuration", "ledger", "spool", "media proof", "transport", "bucket", "daemon"}
    assert asked == {*parts, "source voice", "source telnyx"}


def test_retry_makes_rows_due_now(rig: Rig, simulator: Simulator) -> None:
    """`retry ID` and `retry --all` reset failures; the next sync archives them."""
    account = simulator.add_account("twilio")
    first, second, _ = simulator.populate(account, "voice", count=3, conference_share=0)
    for recording in (first, second):
        simulator.faults.plan("error_body_200", match=recording.recording_id, kind="media")
    rig.add_source("voice", "twilio", account)
    rig.transfer = {"retry_base": "1h", "retry_max": "2h"}
    assert rig.sync().failures_total == 2

    one = run(rig, "retry", f"voice:{first.recording_id}", "--json")
    assert (one.code, one.document) == (0, {"schema": "recvault/retry/v1", "made_due": 1})
    rest = run(rig, "retry", "--all", "--json")
    assert rest.code == 0 and rest.document["made_due"] >= 1

    last = rig.sync()
    assert (last.exit_code, last.failures, [row.archived for row in last.accounts.values()]) == (0, [], [2])
