"""Transfer and fetch against providers and buckets that behave in ways no simulator shows."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lines import NOW, FakeProvider, FakeSession, a_line, a_recording, wav
from recvault.archive import KeyTemplate
from recvault.errors import MediaExpired, NotFound
from recvault.models import Failure, Job, Look, Phase, Receipt, Recording, Verdict, stamp
from recvault.simulator.media import Noise, mp3
from recvault.store.protocol import Stored
from recvault.testing import MemoryStore
from recvault.transfer.archive_recording import Transfer
from recvault.transfer.fetch import Line
from recvault.transfer.spool import SpoolPlace
from rig import sha256


def a_transfer(directory: Path, line: Line, store: MemoryStore | None = None, now: datetime = NOW) -> Transfer:
    return Transfer(
        store=store or MemoryStore(),
        keys=KeyTemplate(),
        line=lambda source, account_id: line,
        place=SpoolPlace(directory=directory, memory=1 << 20, min_free_disk=0),
        clock=lambda: now,
    )


class CountingSession(FakeSession):
    """Also counts the downloads."""

    downloads = 0

    def download(self, *arguments: Any, **more: Any) -> Any:
        self.downloads += 1
        return super().download(*arguments, **more)


class RefusingSession(FakeSession):
    """Answers each download with the next error."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = [*errors]

    def download(self, *arguments: Any, **more: Any) -> Any:
        raise self.errors.pop(0)


def a_job(recording: Recording | None = None, attempt: int = 1, **values: Any) -> Job:
    standing = {"maybe_archived": attempt > 1, **values}
    return Job(source="main", recording=recording or a_recording(), attempt=attempt, **standing)


def test_an_answer_cannot_move_a_recording(tmp_path: Path) -> None:
    """Whatever a refresh says of id, account and date, key and identity stay the registered ones."""
    strange = replace(a_recording(9), provider="other", account_id="AC9", created_at=NOW - timedelta(days=400))
    line = a_line(FakeProvider(refreshed=lambda recording: strange))
    job = a_job(a_recording(phase=Phase.UNFINISHED))
    outcome = a_transfer(tmp_path, line)(job)
    assert isinstance(outcome, Receipt)
    assert outcome.recording.identity == job.recording.identity
    assert outcome.sidecar_key == KeyTemplate()(job.recording, "json")


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        ("completed", "recording.no_addresses", "names no media yet"),
        ("processing", "recording.unfinished", "its status is processing"),
    ],
)
def test_one_without_media_is_not_ready_in_words_of_its_own(
    tmp_path: Path, status: str, reason: str, words: str
) -> None:
    """A completed recording without a media URL is not ready, with its own message."""
    row = a_recording(phase=Phase.UNFINISHED, status=status, formats=())
    outcome = a_transfer(tmp_path, a_line(FakeProvider(refreshed=lambda recording: row)))(a_job(row))
    assert isinstance(outcome, Failure)
    assert (outcome.verdict, outcome.reason, words in outcome.message) == (Verdict.NOT_READY, reason, True)


@pytest.mark.parametrize(
    ("attempt", "listed", "read_again"),
    [(1, {"status": None}, False), (2, {"status": None}, True), (1, {"status": None, "duration_seconds": None}, True)],
)
def test_a_row_that_cannot_tell_is_read_again(
    tmp_path: Path, attempt: int, listed: dict[str, None], read_again: bool
) -> None:
    """A row without status is refreshed before its short media count as complete."""
    fresh = a_recording(status=None, raw={"read": "again"})
    line = a_line(FakeProvider(refreshed=lambda recording: fresh))
    outcome = a_transfer(tmp_path, line)(a_job(a_recording(**listed), attempt))
    assert isinstance(outcome, Receipt)
    assert (outcome.recording.raw == fresh.raw) is read_again


def test_what_looks_wrong_and_comes_right_is_archived_right(tmp_path: Path) -> None:
    """A truncated download is repeated, and the complete one is archived without a flag."""
    line = a_line(session=FakeSession([wav(0.5, told=1), wav()]))
    outcome = a_transfer(tmp_path, line)(a_job())
    assert isinstance(outcome, Receipt)
    assert (outcome.media[0].bytes, outcome.media[0].check.status) == (len(wav()), "ok")


def test_media_that_are_missing_at_a_renewed_address_are_not_ready(tmp_path: Path) -> None:
    """A 404 at an address that was renewed just now is explained by the row, as one at the first address is."""
    session = RefusingSession(MediaExpired("403"), NotFound("404"))
    outcome = a_transfer(tmp_path, a_line(session=session))(a_job())
    assert isinstance(outcome, Failure)
    assert (outcome.verdict, outcome.reason, session.errors) == (Verdict.NOT_READY, "media.not_there", [])


def test_unchanged_media_are_downloaded_once_by_each_later_attempt(tmp_path: Path) -> None:
    """The first attempt downloads media that are not whole twice, in case the fault passes; the next ones once, as what
    an earlier attempt saw too is no passing fault. They begin again where other bytes come."""
    looks: tuple[Look, ...] = ()
    downloads = []
    for attempt, body in enumerate([wav(0.5, told=1)] * 3 + [wav(0.7, told=1)], start=1):
        session = CountingSession([body])
        now = NOW + timedelta(hours=attempt / 2)
        outcome = a_transfer(tmp_path, a_line(session=session), now=now)(a_job(attempt=attempt, looks=looks))
        assert isinstance(outcome, Failure)
        assert outcome.reason == "media.not_whole"
        downloads.append(session.downloads)
        looks = outcome.looks
    assert downloads == [2, 1, 1, 2]


def test_a_recording_that_names_no_media_is_no_empty_commit(tmp_path: Path) -> None:
    """No sidecar is written without media."""
    store = MemoryStore()
    outcome = a_transfer(tmp_path, a_line(), store)(a_job(a_recording(formats=())))
    assert isinstance(outcome, Failure)
    assert (outcome.reason, store.objects) == ("media.no_url", {})


@pytest.mark.parametrize("attempt", [1, 2])
def test_media_that_differ_from_their_sidecar_are_no_commit(tmp_path: Path, attempt: int) -> None:
    """A sidecar with media of another size is no commit: a further edition is stored, nothing overwritten."""
    store = MemoryStore()
    carry = a_transfer(tmp_path, a_line(), store)
    receipt = carry(a_job())
    assert isinstance(receipt, Receipt)
    key = receipt.media[0].key
    store.objects[key] = b"RIFF of somebody else"
    store.stored[key] = replace(store.stored[key], bytes=21, sha256="0" * 64)

    outcome = carry(a_job(attempt=attempt))

    assert isinstance(outcome, Receipt)
    assert store.objects[key] == b"RIFF of somebody else"
    assert (outcome.sidecar_key, outcome.media[0].key) == (key.replace(".wav", "~2.json"), key.replace(".", "~2."))
    assert (store.objects[outcome.media[0].key], outcome.taken) == (wav(), (key, receipt.sidecar_key))


def test_a_sidecar_that_names_another_s_media_is_no_commit(tmp_path: Path) -> None:
    """A sidecar that names another recording's media is no commit: the recording is archived itself."""
    store = MemoryStore()
    carry = a_transfer(tmp_path, a_line(), store)
    job, other = a_job(a_recording(1), attempt=2), carry(a_job(a_recording(2)))
    assert isinstance(other, Receipt)
    forged = json.loads(store.objects[other.sidecar_key])
    forged |= {"recording_id": "RE1", "created_at": stamp(job.recording.created_at)}
    mine, body = KeyTemplate()(job.recording, "json"), json.dumps(forged).encode()
    store.objects[mine] = body
    store.stored[mine] = Stored(key=mine, bytes=len(body), sha256=sha256(body), metadata={"sha256": sha256(body)})

    outcome = carry(job)

    assert isinstance(outcome, Receipt)
    assert not outcome.already_archived
    assert [KeyTemplate().is_of(outcome.recording, medium.key) for medium in outcome.media] == [True]


def test_bytes_that_an_earlier_attempt_stored_are_taken_over(tmp_path: Path) -> None:
    """Verified media of an attempt before a crash are committed, even if the provider encodes anew."""
    store = MemoryStore()
    first = a_transfer(tmp_path, a_line(session=FakeSession([wav(fill=b"\x01\x02")])), store)(a_job())
    assert isinstance(first, Receipt)
    store.objects.pop(first.sidecar_key)
    store.stored.pop(first.sidecar_key)

    second = a_transfer(tmp_path, a_line(session=FakeSession([wav(fill=b"\x05\x06")])), store)(a_job(attempt=2))

    assert isinstance(second, Receipt)
    assert second.media == first.media


@pytest.mark.parametrize("stored", [True, False], ids=["stored before", "nothing stored"])
def test_a_row_that_names_no_format_any_more_is_gone_or_archived(tmp_path: Path, stored: bool) -> None:
    """If the row has no format any more, stored media are committed; without any it is gone."""
    store, line = MemoryStore(), a_line()
    if stored:
        first = a_transfer(tmp_path, line, store)(a_job())
        assert isinstance(first, Receipt)
        store.objects.pop(first.sidecar_key)
        store.stored.pop(first.sidecar_key)
    gone = a_recording(status="absent", phase=Phase.GONE, formats=())

    outcome = a_transfer(tmp_path, line, store)(a_job(gone, attempt=2))

    if stored:
        assert isinstance(outcome, Receipt) and outcome.media == first.media
    else:
        assert isinstance(outcome, Failure) and outcome.verdict is Verdict.GONE


def test_what_came_as_another_kind_is_rescued_under_its_own_name(tmp_path: Path) -> None:
    """An MP3 served as .wav is committed as MP3 when its recording is deleted before the commit."""
    store, body = MemoryStore(), mp3(Noise(1, "x"), 1.008, 1).read()
    line = a_line(session=FakeSession([body]))
    first = a_transfer(tmp_path, line, store)(a_job())
    assert isinstance(first, Receipt)
    assert first.media[0].key.endswith("RE1.mp3")
    store.objects.pop(first.sidecar_key)
    store.stored.pop(first.sidecar_key)
    gone = a_recording(status="deleted", phase=Phase.GONE, formats=())

    outcome = a_transfer(tmp_path, line, store)(a_job(gone, attempt=2))

    assert isinstance(outcome, Receipt)
    [medium] = outcome.media
    assert (medium.key, medium.sha256, medium.content_type) == (first.media[0].key, sha256(body), "audio/mpeg")


def test_two_media_of_a_kind_are_both_kept_and_found_again(tmp_path: Path) -> None:
    """If both formats are served as different WAVs, both are kept, also after a crash."""
    store, recording = MemoryStore(), a_recording(formats=("wav", "mp3"))
    bodies = [wav(fill=b"\x01\x02"), wav(fill=b"\x03\x04")]
    for attempt, is_there in ((2, False), (1, True), (2, True)):
        if not is_there:  # a failed attempt before it
            store.objects.clear()
            store.stored.clear()
        line = replace(a_line(session=FakeSession(list(bodies))), formats=("wav", "mp3"))
        outcome = a_transfer(tmp_path, line, store)(a_job(recording, attempt=attempt))
        assert isinstance(outcome, Receipt)
        assert [each.sha256 for each in outcome.media] == [sha256(body) for body in bodies]
        assert [each.key[-9:] for each in outcome.media] == ["2/RE1.wav", "RE1~2.wav"]
        assert outcome.taken == ()
        store.objects.pop(outcome.sidecar_key)
        store.stored.pop(outcome.sidecar_key)


def test_bytes_that_rotted_are_not_taken_over(tmp_path: Path) -> None:
    """Stored bytes that differ from their metadata are not used: a further edition is stored."""
    store = MemoryStore()
    first = a_transfer(tmp_path, a_line(), store)(a_job())
    assert isinstance(first, Receipt)
    store.objects.pop(first.sidecar_key)
    store.stored.pop(first.sidecar_key)
    rotten = wav(fill=b"\x07\x08")
    store.objects[first.media[0].key] = rotten

    outcome = a_transfer(tmp_path, a_line(), store)(a_job(attempt=2))

    assert isinstance(outcome, Receipt)
    assert (outcome.media[0].key, outcome.taken) == (first.media[0].key.replace(".", "~2."), (first.media[0].key,))
    assert (store.objects[first.media[0].key], store.objects[outcome.media[0].key]) == (rotten, wav())
