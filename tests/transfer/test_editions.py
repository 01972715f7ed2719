"""Incomplete media, taken keys and later editions: nothing is adopted unproven or overwritten."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from lines import NOW, FakeProvider, FakeSession, a_line, a_recording, wav
from recvault import archive
from recvault.archive import KeyTemplate
from recvault.errors import NotFound, Unavailable
from recvault.models import (
    FORMATS_MISSING,
    KEY_TAKEN,
    SUSPECT,
    Doubt,
    Failure,
    Job,
    Outcome,
    Receipt,
    Recording,
    Verdict,
)
from recvault.store import Put
from recvault.store.protocol import Stored
from recvault.testing import MemoryStore
from recvault.transfer.archive_recording import Transfer
from recvault.transfer.fetch import Line
from recvault.transfer.spool import SpoolPlace

HEADER = wav(0.0)
KEYS = KeyTemplate()
HOUR = timedelta(hours=1)


def carried(directory: Path, line: Line, store: MemoryStore, now: datetime = NOW, **job: Any) -> Outcome:
    """Return a job's outcome."""
    transfer = Transfer(
        store=store,
        keys=KEYS,
        line=lambda source, account_id: line,
        place=SpoolPlace(directory=directory, memory=1 << 20, min_free_disk=0),
        clock=lambda: now,
    )
    standing = {"recording": a_recording(), "attempt": 1, "maybe_archived": False, **job}
    return transfer(Job(source="main", **standing))


def serving(*bodies: bytes) -> Line:
    return a_line(session=FakeSession(list(bodies)))


def lay(store: MemoryStore, key: str, body: bytes, recording: Recording | None = None) -> None:
    """Put an object like a stranger who knows recvault."""
    sha256 = hashlib.sha256(body).hexdigest()
    metadata = archive.object_metadata(recording or a_recording(), sha256)
    store.objects[key] = body
    store.stored[key] = Stored(key=key, bytes=len(body), sha256=sha256, metadata=metadata)


def archived(outcome: Outcome) -> Receipt:
    assert isinstance(outcome, Receipt), outcome
    return outcome


def document(store: MemoryStore, receipt: Receipt) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.objects[receipt.sidecar_key])
    assert archive.Sidecar(found, sha256="").fault is None
    return found


# -- not whole yet -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "body"),
    [(12.0, HEADER), (0.0, HEADER), (0.0, b""), (12.0, b""), (12.0, wav(1.0))],
    ids=["headers alone", "headers of nothing", "nothing of nothing", "nothing", "too short"],
)
@pytest.mark.parametrize("age", [timedelta(minutes=1), timedelta(days=90)], ids=["young", "old"])
def test_what_is_not_whole_is_not_ready(tmp_path: Path, told: float, body: bytes, age: timedelta) -> None:
    """Incomplete media are not put, whatever their age, and are looked at again hours later."""
    store, recording = MemoryStore(), a_recording(duration_seconds=told, created_at=NOW - age)
    outcome = carried(tmp_path, serving(body), store, recording=recording)
    assert isinstance(outcome, Failure)
    assert (outcome.verdict, outcome.reason, store.objects) == (Verdict.NOT_READY, "media.not_whole", {})
    assert (outcome.may_have_put, [look.bytes for look in outcome.looks]) == (False, [len(body)])
    assert outcome.retry_after == (0.0 if age < HOUR else 3 * 3600.0)


@pytest.mark.parametrize("told", [12.0, 0.0])
def test_what_comes_whole_at_a_later_look_is_archived_whole(tmp_path: Path, told: float) -> None:
    """If a later look is complete, only that is archived, without a flag."""
    store, recording = MemoryStore(), a_recording(duration_seconds=told)
    first = carried(tmp_path, serving(HEADER), store, recording=recording)
    assert isinstance(first, Failure)
    whole = wav(told or 1.0)
    later = carried(tmp_path, serving(whole), store, NOW + HOUR, recording=recording, attempt=2, looks=first.looks)
    [medium] = archived(later).media
    assert (medium.bytes, medium.check.status) == (len(whole), "ok")


def test_only_what_stays_so_for_hours_is_archived_as_suspect(tmp_path: Path) -> None:
    """Looks within the hours do not count, however many."""
    store, recording = MemoryStore(), a_recording(duration_seconds=12.0)
    looks: Any = ()
    for minutes in (0, 2, 60, 179):
        now = NOW + timedelta(minutes=minutes)
        outcome = carried(tmp_path, serving(HEADER), store, now, recording=recording, looks=looks)
        assert isinstance(outcome, Failure) and outcome.verdict is Verdict.NOT_READY
        looks = outcome.looks
    receipt = archived(carried(tmp_path, serving(HEADER), store, NOW + 3 * HOUR, recording=recording, looks=looks))
    assert receipt.media[0].check.status == "suspect"
    assert receipt.note is not None and receipt.note[0] == SUSPECT


def test_what_still_grows_starts_its_hours_anew(tmp_path: Path) -> None:
    """Other bytes at a look restart the hours."""
    store, recording = MemoryStore(), a_recording(duration_seconds=12.0)
    looks: Any = ()
    for hours in (0, 4, 8):
        body = wav(1.0 + hours)
        outcome = carried(tmp_path, serving(body), store, NOW + hours * HOUR, recording=recording, looks=looks)
        assert isinstance(outcome, Failure) and outcome.verdict is Verdict.NOT_READY
        looks = outcome.looks
    assert store.objects == {}


# -- fetched again -----------------------------------------------------------------------------------------------------


def a_suspect(tmp_path: Path, store: MemoryStore, body: bytes = HEADER) -> Receipt:
    recording = a_recording(duration_seconds=12.0)
    first = carried(tmp_path, serving(body), store, recording=recording)
    assert isinstance(first, Failure)
    return archived(carried(tmp_path, serving(body), store, NOW + 4 * HOUR, recording=recording, looks=first.looks))


def again(tmp_path: Path, store: MemoryStore, standing: Receipt, *bodies: bytes, **job: Any) -> Outcome:
    job = {"recording": standing.recording, "attempt": 3, "standing": standing, "again": True, **job}
    return carried(tmp_path, serving(*bodies), store, NOW + 9 * HOUR, **job)


def test_what_comes_later_stands_beside_the_first(tmp_path: Path) -> None:
    """A suspect that is later served completely becomes a second edition, whose sidecar names the first."""
    store = MemoryStore()
    first = a_suspect(tmp_path, store)
    before = dict(store.objects)
    second = archived(again(tmp_path, store, first, wav(12.0)))
    assert before.items() <= store.objects.items()
    assert second.sidecar_key == first.sidecar_key.replace(".json", "~2.json")
    assert second.media[0].key == first.media[0].key.replace(".wav", "~2.wav")
    assert document(store, second)["archive"]["earlier"] == {
        "sidecar_key": first.sidecar_key,
        "sidecar_sha256": first.sidecar_sha256,
        "media_lost": False,
    }
    assert (second.taken, second.media[0].check.status) == ((), "ok")


@pytest.mark.parametrize("body", [HEADER, wav(12.0)], ids=["the same", "a re-encoding"])
def test_what_is_no_more_is_not_archived_again(tmp_path: Path, body: bytes) -> None:
    """The same bytes, or no better ones, write nothing."""
    store = MemoryStore()
    first = (
        a_suspect(tmp_path, store)
        if body == HEADER
        else archived(carried(tmp_path, serving(body), store, recording=a_recording(duration_seconds=12.0)))
    )
    before = dict(store.objects)
    found = archived(again(tmp_path, store, first, wav(12.0, b"\x05\x06") if body != HEADER else body))
    assert (found.sidecar_key, found.already_archived, store.objects) == (first.sidecar_key, True, before)


def test_a_later_edition_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    """After a kill between a later medium and its sidecar, the next look commits that medium."""
    store = MemoryStore()
    first = a_suspect(tmp_path, store)
    second = archived(again(tmp_path, store, first, wav(12.0)))
    del store.objects[second.sidecar_key], store.stored[second.sidecar_key]
    found = archived(again(tmp_path, store, first, wav(12.0), maybe_archived=True))
    assert (found.sidecar_key, found.media) == (second.sidecar_key, second.media)
    assert len(store.objects) == 4


# -- keys that are taken -----------------------------------------------------------------------------------------------


def test_a_medium_that_a_stranger_laid_is_not_adopted(tmp_path: Path) -> None:
    """A foreign medium on a first attempt is not adopted, whatever its metadata: a further edition is stored."""
    store, key = MemoryStore(), KEYS(a_recording(), "wav")
    lay(store, key, wav(fill=b"\x09\x09"))
    receipt = archived(carried(tmp_path, serving(wav()), store))
    assert receipt.media[0].key == KEYS(a_recording(), "wav", 2)
    assert (store.objects[receipt.media[0].key], store.objects[key]) == (wav(), wav(fill=b"\x09\x09"))
    assert (receipt.taken, document(store, receipt)["archive"]["keys_taken"]) == ((key,), [key])
    assert receipt.note is not None and receipt.note[0] == KEY_TAKEN


def test_metadata_that_claim_the_right_sum_prove_nothing(tmp_path: Path) -> None:
    """Bytes whose metadata claim the right hash are read before they count."""
    store, key = MemoryStore(), KEYS(a_recording(), "wav")

    class Trusting(MemoryStore):
        def put(self, put: Put) -> bool:
            found = self.stored.get(put.key)
            return super().put(put) if found is None or found.sha256 != put.sha256 else False

    store = Trusting()
    lay(store, key, wav(fill=b"\x09\x09"))
    store.stored[key] = replace(store.stored[key], sha256=hashlib.sha256(wav()).hexdigest())
    receipt = archived(carried(tmp_path, serving(wav()), store))
    assert receipt.media[0].key == KEYS(a_recording(), "wav", 2)


def foreign_sidecar(tmp_path: Path, **changes: Any) -> bytes:
    """Return a sidecar of this recording, in recvault's format, with a change."""
    store = MemoryStore()
    receipt = archived(carried(tmp_path, serving(wav()), store))
    found = json.loads(store.objects[receipt.sidecar_key])
    found.update(changes)
    return json.dumps(found).encode() + b"\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"call_id": "CAforged"},
        {"duration_seconds": 99.0},
        {"recording_id": "RE2"},
        {"media": []},
        {"created_at": "2020-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_a_sidecar_that_a_stranger_laid_is_not_adopted(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A foreign sidecar is not adopted, with or without the right medium: ours names its key as taken."""
    store, recording = MemoryStore(), a_recording(call_id="CA1")
    key = KEYS(recording, "json")
    forged = foreign_sidecar(tmp_path, **{"call_id": "CA1", **changes})
    lay(store, key, forged)
    lay(store, KEYS(recording, "wav"), wav())
    receipt = archived(carried(tmp_path, serving(wav()), store, recording=recording))
    assert (receipt.sidecar_key, receipt.taken) == (KEYS(recording, "json", 2), (key,))
    assert receipt.media[0].key == KEYS(recording, "wav")
    assert (store.objects[key], document(store, receipt)["call_id"]) == (forged, "CA1")


def test_a_sidecar_that_names_a_strangers_medium_is_not_adopted(tmp_path: Path) -> None:
    """A complete foreign commit under our keys is not adopted, and both keys are reported."""
    store = MemoryStore()
    other = archived(carried(tmp_path, serving(wav(fill=b"\x09\x09")), store))
    receipt = archived(carried(tmp_path, serving(wav()), store))
    assert receipt.sidecar_key == KEYS(a_recording(), "json", 2)
    assert set(receipt.taken) == {other.sidecar_key, other.media[0].key}
    assert store.objects[receipt.media[0].key] == wav()


def test_a_sidecar_that_was_rewritten_is_not_taken_for_the_one_that_was_archived(tmp_path: Path) -> None:
    """A sidecar rewritten with the right medium is detected by the ledger's hash, and ours is stored beside it."""
    store = MemoryStore()
    first = archived(carried(tmp_path, serving(wav()), store))
    rewritten = json.dumps({**json.loads(store.objects[first.sidecar_key]), "raw": {"from": "+15550000000"}}).encode()
    lay(store, first.sidecar_key, rewritten)
    again = archived(carried(tmp_path, serving(wav()), store, attempt=2, maybe_archived=True, standing=first))
    assert (again.sidecar_key, again.already_archived) == (KEYS(a_recording(), "json", 2), False)
    assert (store.objects[first.sidecar_key], document(store, again)["raw"]) == (rewritten, a_recording().raw)


def test_what_another_recvault_archived_is_adopted_by_its_bytes(tmp_path: Path) -> None:
    """With two hosts, or a lost ledger, equal bytes are written once, and their sidecar counts."""
    store = MemoryStore()
    first = archived(carried(tmp_path, serving(wav()), store))
    before = dict(store.objects)
    second = archived(carried(tmp_path, serving(wav()), store, NOW + HOUR))
    assert (second.sidecar_key, second.already_archived, second.taken) == (first.sidecar_key, True, ())
    assert (second.sidecar_sha256, store.objects) == (first.sidecar_sha256, before)


def test_what_its_provider_has_no_more_is_not_adopted_unproven(tmp_path: Path) -> None:
    """If the provider answers 404, media are committed only if our own attempt may have put them."""
    line = a_line()
    store = MemoryStore()
    lay(store, KEYS(a_recording(), "wav"), wav())
    gone = a_recording(phase="gone", formats=())
    outcome = carried(tmp_path, line, store, recording=gone)
    assert isinstance(outcome, Failure) and outcome.verdict is Verdict.GONE
    assert isinstance(carried(tmp_path, line, store, recording=gone, attempt=2, maybe_archived=True), Receipt)


# -- a format that is given up -----------------------------------------------------------------------------------------


class OneFormatFails(FakeSession):
    """Serves only WAV."""

    def download(self, request: httpx.Request, receive: Any, *, signed: bool = False) -> Any:
        if request.url.path.endswith(".mp3"):
            raise self.error
        return super().download(request, receive, signed=signed)

    error: Exception = Unavailable("https://provider.example answered 500", status=500)


class TwoFormats(FakeProvider):
    def media_requests(self, recording: Recording, media_format: str) -> tuple[httpx.Request, ...]:
        return (httpx.Request("GET", f"https://provider.example/RE1.{media_format}"),)


def two_formats(error: Exception) -> Line:
    session = OneFormatFails()
    session.error = error
    return replace(a_line(TwoFormats(), session), formats=("wav", "mp3"), max_attempts=3)


@pytest.mark.parametrize(
    ("error", "given_up"),
    [
        (Unavailable("https://provider.example answered 500", status=500), {"faults": 2}),
        (NotFound("https://provider.example answered 404"), {"watched_since": NOW - timedelta(days=3)}),
    ],
    ids=["500 for ever", "404 for ever"],
)
def test_a_format_that_is_given_up_keeps_no_other_from_its_sidecar(
    tmp_path: Path, error: Exception, given_up: dict[str, Any]
) -> None:
    """A medium waits for the other format; if that is given up, the sidecar names it as missing."""
    store, recording = MemoryStore(), a_recording(formats=("wav", "mp3"))
    waits = carried(tmp_path, two_formats(error), store, recording=recording, watched_since=NOW)
    assert isinstance(waits, Failure)
    assert (waits.may_have_put, list(store.objects)) == (True, [KEYS(recording, "wav")])
    end = archived(
        carried(tmp_path, two_formats(error), store, recording=recording, attempt=3, maybe_archived=True, **given_up)
    )
    assert [each.media_format for each in end.media] == ["wav"]
    missing = document(store, end)["archive"]["formats_missing"]
    assert missing == [{"media_format": "mp3", "reason": end.missing[0].reason}]
    assert end.note is not None and end.note[0] == FORMATS_MISSING


@pytest.mark.parametrize("wanted", [("wav", "mp3"), ("mp3", "wav")])
def test_which_format_is_wanted_first_keeps_none_from_coming(tmp_path: Path, wanted: tuple[str, ...]) -> None:
    """If one format always fails, the other shows that the service works, and is committed alone."""
    line = replace(two_formats(Unavailable("https://provider.example answered 500", status=500)), formats=wanted)
    store, recording = MemoryStore(), a_recording(formats=("wav", "mp3"))
    first = carried(tmp_path, line, store, recording=recording)
    assert isinstance(first, Failure) and (first.counted, first.doubt) == (True, None)
    end = archived(carried(tmp_path, line, store, recording=recording, attempt=3, maybe_archived=True, faults=2))
    assert ([each.media_format for each in end.media], [each.media_format for each in end.missing]) == (
        ["wav"],
        ["mp3"],
    )


@pytest.mark.parametrize("wanted", [("wav", "mp3"), ("mp3", "wav")])
@pytest.mark.parametrize("status", [503, None])
def test_a_format_that_is_out_of_reach_alone_is_given_up_in_the_end(
    tmp_path: Path, status: int | None, wanted: tuple[str, ...]
) -> None:
    """An unreachable format costs no attempt; after max_attempts and give_up_after the other is committed."""
    line = replace(two_formats(Unavailable("no answer", status=status)), formats=wanted)
    store, recording = MemoryStore(), a_recording(formats=("wav", "mp3"))
    looks: Any = ()
    for days in (0, 1, 2):
        now = NOW + timedelta(days=days)
        waits = carried(tmp_path, line, store, now, recording=recording, maybe_archived=True, faults=2, looks=looks)
        assert isinstance(waits, Failure) and waits.doubt is Doubt.AWAY
        looks = waits.looks
    now = NOW + timedelta(days=3)
    rarely = carried(tmp_path, line, store, now, recording=recording, maybe_archived=True, looks=waits.looks[:0])
    assert isinstance(rarely, Failure)  # time alone is not enough: it may be the first attempt since an outage
    end = archived(carried(tmp_path, line, store, now, recording=recording, maybe_archived=True, looks=looks))
    assert [(each.media_format, each.reason) for each in end.missing] == [("mp3", "provider.unavailable")]


def test_where_no_format_comes_nothing_is_committed(tmp_path: Path) -> None:
    """If every format is given up, so is the recording."""
    line = replace(two_formats(Unavailable("x", status=500)), formats=("mp3",))
    store, recording = MemoryStore(), a_recording(formats=("mp3",))
    outcome = carried(tmp_path, line, store, recording=recording, faults=9)
    assert isinstance(outcome, Failure) and store.objects == {}
