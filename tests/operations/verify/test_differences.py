"""Each way in which a bucket can differ from its ledger is produced, distinguished and reported once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ledger.rows import POLICIES, failure
from operations.verify.stage import Stage, a_recording, body_of, counted, sidecar_of, told
from recvault.errors import Cold
from recvault.models import Verdict
from recvault.operations.verify import Sample
from recvault.store import Body
from recvault.store.s3.reader import S3Reader

OTHER = "ab" * 32


def change_sidecar(stage: Stage, name: str, change: Callable[[dict[str, object]], None]) -> None:
    """Rewrite a sidecar, with a matching hash."""
    document = json.loads(stage.bucket.body(stage.key(name)))
    change(document)
    stage.put(stage.key(name), json.dumps(document).encode())


def foreign_media(document: dict[str, object]) -> None:
    document["media"][0]["sha256"] = OTHER  # type: ignore[index]


def test_a_whole_bucket_is_well(stage: Stage) -> None:
    """An unchanged bucket has no difference, with one GET per recording and one HEAD per medium."""
    stage.archive(*(a_recording(f"RE{number}", days=number % 3) for number in range(20)), formats=("wav", "mp3"))
    stage.bucket.clear_counts()
    result = stage.verify()
    assert (counted(result), result.total, result.outcome, result.exit_code) == ({"checked": 20, "ok": 20}, 0, "ok", 0)
    assert (result.media, result.objects, result.unproven) == (40, 60, 0)
    asked = {name: stage.bucket.counts[name] for name in ("GET", "HEAD", "PUT", "DELETE")}
    assert asked == {"GET": 20, "HEAD": 40, "PUT": 0, "DELETE": 0}


LOST: dict[str, tuple[Callable[[Stage], None], list[tuple[str, str, str]]]] = {
    "sidecar": (lambda stage: stage.lose(stage.key("RE1")), [("missing", "json", "sidecar.missing")]),
    "medium": (lambda stage: stage.lose(stage.key("RE1", "wav")), [("missing", "wav", "media.missing")]),
    "both": (
        lambda stage: stage.lose(stage.key("RE1"), stage.key("RE1", "wav")),
        [("missing", "json", "sidecar.missing"), ("missing", "wav", "media.missing")],
    ),
    "size": (
        lambda stage: stage.put(stage.key("RE1", "wav"), b"short"),
        [("different", "wav", "media.size")],
    ),
    "sum beside it": (
        lambda stage: stage.put(stage.key("RE1", "wav"), body_of(a_recording("RE1"), "wav"), noted=OTHER),
        [("different", "wav", "media.hash")],
    ),
    "no JSON": (lambda stage: stage.put(stage.key("RE1"), b"<html>"), [("different", "json", "sidecar.content")]),
    "too deep": (
        lambda stage: stage.put(stage.key("RE1"), b"[" * 200_000),
        [("different", "json", "sidecar.content")],
    ),
    "another document": (lambda stage: stage.put(stage.key("RE1"), b"[]"), [("different", "json", "sidecar.schema")]),
    "a field of another type": (
        lambda stage: change_sidecar(stage, "RE1", lambda document: document.update(channels="one")),
        [("different", "json", "sidecar.schema")],
    ),
    "of another recording": (
        lambda stage: change_sidecar(stage, "RE1", lambda document: document.update(recording_id="RE9")),
        [("different", "json", "sidecar.identity")],
    ),
    "changed in place": (
        lambda stage: stage.put(stage.key("RE1"), stage.bucket.body(stage.key("RE1")) + b" ", noted=OTHER),
        [("different", "json", "sidecar.hash")],
    ),
    "names other media": (
        lambda stage: change_sidecar(stage, "RE1", foreign_media),
        [("different", "json", "sidecar.not_the_ledgers")],
    ),
    "changed, its medium lost": (
        lambda stage: (stage.put(stage.key("RE1"), b"{}"), stage.lose(stage.key("RE1", "wav")))[0],
        [("missing", "wav", "media.missing"), ("different", "json", "sidecar.schema")],
    ),
}


@pytest.mark.parametrize("spoiled", LOST)
def test_what_is_missing_or_different(stage: Stage, spoiled: str) -> None:
    """A changed recording is reported with object and reason; the others are ok."""
    stage.archive(*(a_recording(f"RE{number}") for number in range(3)))
    spoil, expected = LOST[spoiled]
    spoil(stage)
    result = stage.verify()
    assert told(result) == [(kind, stage.key("RE1", ext), reason) for kind, ext, reason in expected]
    kind = "different" if any(each[0] == "different" for each in expected) else "missing"
    assert counted(result) == {"checked": 3, "ok": 2, kind: 1}
    assert (result.exit_code, result.outcome) == (3, "different")
    assert {(each.source, each.recording_id) for each in result.differences} == {("main", "RE1")}
    assert all(each.hint for each in result.differences)


REWRITTEN: dict[str, Callable[[dict[str, Any]], None]] = {
    "call": lambda document: document.update(call_id="CA-of-another"),
    "numbers": lambda document: document["raw"].update({"from": "+15005550006"}),
    "duration": lambda document: document.update(duration_seconds=1.0),
    "check": lambda document: document["media"][0]["checked"].update(status="ok", reason="looks fine"),
    "nothing but a space": lambda document: document.update(source=document["source"]),
}


@pytest.mark.parametrize("deep", [False, True], ids=["normal", "deep"])
@pytest.mark.parametrize("rewritten", REWRITTEN)
def test_a_rewritten_sidecar_is_seen(stage: Stage, rewritten: str, deep: bool) -> None:
    """A rewritten sidecar is detected, even with matching metadata and whatever it says."""
    stage.archive(a_recording("RE1"), a_recording("RE2"))
    change_sidecar(stage, "RE1", REWRITTEN[rewritten])
    result = stage.verify(sample=Sample(100.0 if deep else 0.0))
    assert told(result) == [("different", stage.key("RE1"), "sidecar.changed")]
    assert (counted(result), result.exit_code) == ({"checked": 2, "ok": 1, "different": 1}, 3)


@pytest.mark.parametrize("noted", ["its own", "none", "another"])
def test_a_rewritten_sidecar_in_an_archive_class_is_seen_by_its_sum(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, noted: str
) -> None:
    """A rewritten sidecar in an archive class is detected by the store's hash; a missing hash is reported."""
    stage.archive(a_recording("RE1"))
    body = stage.bucket.body(stage.key("RE1"))
    stage.put(stage.key("RE1"), body, noted={"its own": None, "none": "", "another": OTHER}[noted])

    def cold(self: S3Reader, key: str) -> Body | None:
        raise Cold(key)

    monkeypatch.setattr(S3Reader, "get", cold)
    result = stage.verify()
    different = [("different", stage.key("RE1"), "sidecar.changed")] if noted == "another" else []
    assert (told(result), result.cold, result.unproven_sidecars) == (different, 1, int(noted == "none"))


def test_sidecars_of_an_older_ledger_are_told_as_unproven(stage: Stage) -> None:
    """Without hashes in the ledger, sidecars are counted as unproven, which is no difference."""
    stage.archive(a_recording("RE1"), a_recording("RE2"))
    assert stage.verify().unproven_sidecars == 0
    stage.forget_sums("RE1")
    change_sidecar(stage, "RE1", REWRITTEN["call"])
    result = stage.verify()
    assert (told(result), result.unproven_sidecars, result.exit_code) == ([], 1, 0)
    assert result.document()["unproven_sidecars"] == 1


def test_a_flipped_byte_is_seen_by_who_reads_it(stage: Stage) -> None:
    """A flipped byte at rest is detected by --deep, and by a sample that includes it."""
    stage.archive(*(a_recording(f"RE{number}") for number in range(8)))
    key = stage.key("RE5", "wav")
    kept = stage.bucket.objects[key]
    assert kept.body
    stage.bucket.objects[key] = dataclasses.replace(kept, body=bytes([kept.body[0] ^ 1]) + kept.body[1:])
    assert stage.verify().total == 0
    deep = stage.verify(sample=Sample(100.0))
    assert (told(deep), deep.read_recordings) == ([("different", key, "media.hash")], 8)
    seen = {seed: told(stage.verify(sample=Sample(30.0, seed))) != [] for seed in range(6)}
    assert set(seen.values()) == {True, False}
    chosen = {seed: ("twilio", "AC1", "RE5") in Sample(30.0, seed) for seed in range(6)}
    assert chosen == seen


def test_media_without_a_sum_are_counted(stage: Stage) -> None:
    """Media without a hash in the store are counted as unproven, unless they are read."""
    stage.archive(a_recording("RE1"))
    stage.put(stage.key("RE1", "wav"), body_of(a_recording("RE1"), "wav"), noted="")
    assert (stage.verify().unproven, stage.verify(sample=Sample(100.0)).unproven) == (1, 0)


def test_what_nothing_names(stage: Stage) -> None:
    """Foreign objects, unknown sidecars and orphans are distinguished; recvault's other keys are neither."""
    stage.archive(a_recording("RE1"))
    stage.put("recordings/notes.txt", b"x")
    stage.put(stage.key("RE8", "wav"), b"x")
    stage.put(stage.key("RE1", "mp3"), b"x")
    stage.place(stage.receipt(a_recording("RE7")))
    stage.put(stage.key("RE6"), b"no sidecar")
    stage.put("schemas/sidecar-v1.json", b"{}")
    stage.put("elsewhere/x", b"x")
    result = stage.verify()
    assert told(result) == [
        ("orphan_media", stage.key("RE1", "mp3"), "media.not_named"),
        ("orphan_media", stage.key("RE8", "wav"), "media.no_recording"),
        ("unknown", "recordings/notes.txt", "object.foreign"),
        ("unknown", stage.key("RE6"), "sidecar.unreadable"),
        ("unknown", stage.key("RE7"), "sidecar.not_in_ledger"),
    ]
    assert counted(result) == {"checked": 1, "ok": 1, "orphan_media": 2, "unknown": 3}
    assert "rebuild" in next(each.hint for each in result.differences if each.reason == "sidecar.not_in_ledger")


def test_what_may_be_under_way(stage: Stage) -> None:
    """Young media, and objects of unsettled recordings, are no strays."""
    stage.register(a_recording("RE1"), a_recording("RE2"))
    stage.put(stage.key("RE1", "wav"), b"x")
    stage.place(stage.receipt(a_recording("RE2")))
    stage.put(stage.key("RE3", "wav"), b"x")
    stage.age(stage.key("RE3", "wav"), stage.now - timedelta(minutes=59))
    result = stage.verify()
    assert (told(result), result.under_way, counted(result)) == ([], 2, {})
    stage.now += timedelta(minutes=2)
    assert told(stage.verify()) == [("orphan_media", stage.key("RE3", "wav"), "media.no_recording")]


def test_what_a_dead_recording_left(stage: Stage) -> None:
    """Objects of a dead recording are reported, as nothing works on it."""
    dead = [a_recording("RE1"), a_recording("RE2")]
    stage.register(*dead)
    stage.ledger.claim("main", stage.now, 10)
    stage.ledger.settle([failure(each, Verdict.FATAL) for each in dead], stage.now, POLICIES)
    stage.put(stage.key("RE1", "wav"), b"x")
    stage.place(stage.receipt(dead[1]))
    result = stage.verify()
    assert told(result) == [
        ("uncommitted", stage.key("RE1", "wav"), "media.not_committed"),
        ("unknown", stage.key("RE2"), "sidecar.not_settled"),
    ]
    assert [each.hint.split("`")[1] for each in result.differences] == [
        "recvault retry main:RE1",
        "recvault retry main:RE2",
    ]


def test_what_another_ledger_left_of_recordings_that_are_gone(stage: Stage) -> None:
    """Objects of a gone recording that this ledger did not put are unproven: a retry is not suggested."""
    gone = [a_recording("RE1"), a_recording("RE2"), a_recording("RE3")]
    stage.register(*gone)
    stage.ledger.claim("main", stage.now, 10)
    ended = [dataclasses.replace(failure(each, Verdict.GONE), may_have_put=each is gone[2]) for each in gone]
    stage.ledger.settle(ended, stage.now, POLICIES)
    stage.put(stage.key("RE1", "wav"), b"x")
    stage.place(stage.receipt(gone[1]))
    stage.put(stage.key("RE3", "wav"), b"x")
    result = stage.verify()
    assert told(result) == [
        ("uncommitted", stage.key("RE1", "wav"), "media.unproven"),
        ("uncommitted", stage.key("RE3", "wav"), "media.not_committed"),
        ("unknown", stage.key("RE2"), "sidecar.unproven"),
    ]
    hints = [each.hint for each in result.differences]
    assert ["retry" in hint for hint in hints] == [False, True, False]
    assert "rebuild" in hints[2]


def test_a_second_sidecar_of_a_recording(stage: Stage) -> None:
    """Of two commits of a recording the ledger's is ok, and the other is reported."""
    stage.archive(a_recording("RE1"))
    stage.place(stage.receipt(a_recording("RE1", days=1)))
    assert told(stage.verify()) == [("unknown", stage.key("RE1", days=1), "sidecar.second")]


@pytest.mark.parametrize("least", [1, 10**9], ids=["a range each", "one range"])
def test_ids_that_begin_alike(stage: Stage, least: int) -> None:
    """RE1, RE1.wav and RE1.json are three recordings with nested keys."""
    names = ["RE1", "RE1.wav", "RE1.json", "RE1-2", "RE10", "../x", "é"]
    stage.archive(*map(a_recording, names), formats=("wav", "mp3"))
    result = stage.verify(range_least=least)
    assert counted(result) == {"checked": 7, "ok": 7}
    if least > 7:  # no medium was assigned to another, or requested twice
        assert (result.requests["GET"], result.requests["HEAD"]) == (7, 14)
    stage.lose(stage.key("RE1.wav"))
    result = stage.verify(range_least=least)
    assert told(result) == [("missing", stage.key("RE1.wav"), "sidecar.missing")]


def test_an_id_too_long_for_its_key(stage: Stage) -> None:
    """Media with a shortened id are under way if pending, and orphans if unknown."""
    pending, unknown = a_recording("RE/" + "x" * 300), a_recording("RE/" + "y" * 300)
    stage.register(pending)
    stage.put(stage.keys(pending, "wav"), b"x")
    stage.put(stage.keys(unknown, "wav"), b"x")
    result = stage.verify()
    assert (told(result), result.under_way) == (
        [("orphan_media", stage.keys(unknown, "wav"), "media.no_recording")],
        1,
    )


def test_more_differences_than_are_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All differences are counted, and the first ones kept."""
    monkeypatch.setattr("recvault.operations.verify.result.MOST", 5)
    for number in range(9):
        stage.put(f"recordings/{number}", b"x")
    result = stage.verify()
    assert (result.unknown, result.total, len(result.differences)) == (9, 9, 5)
    assert result.document()["differences_total"] == 9


def test_a_sidecar_is_read_as_it_was_written(stage: Stage) -> None:
    """A written sidecar passes verify with every optional field empty."""
    bare = dataclasses.replace(a_recording("RE1"), status=None, raw={}, encryption={"type": "rsa-aes"})
    stage.archive(bare)
    assert json.loads(sidecar_of(stage.receipt(bare)))["status"] is None
    assert stage.verify().total == 0
