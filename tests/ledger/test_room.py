"""The space of a recording in the ledger: its listed facts are removed once archived, and their space reused."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlite_utils import Database

from ledger.rows import FEED, NOW, POLICIES, RECHECK, failure, many, receipt, recording, register, row
from recvault.ledger import Ledger
from recvault.ledger.migrations import migrations
from recvault.ledger.rows import media_of, shorten, whole
from recvault.models import Job, Phase, Receipt, Recording, Requested, State, Verdict, stamp

_LONG = {"sid": "RE1", "note": "x" * 1500}  # as large as a provider's row


def settle_all(ledger: Ledger) -> None:
    while jobs := ledger.claim("main", NOW, 50):
        ledger.settle([receipt(job) for job in jobs], NOW, POLICIES)


def pages(ledger: Ledger) -> tuple[int, int]:
    """Return the file's pages, and how many are free."""
    asked = [ledger._connection._db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count")]
    return asked[0][0], asked[1][0]


def test_the_room_of_what_was_listed_is_used_again(ledger: Ledger) -> None:
    """After a backfill a third of the file is in use, and the next one needs hardly more."""
    register(ledger, *(replace(each, raw=_LONG) for each in many(600)))
    waiting, _ = pages(ledger)
    settle_all(ledger)
    total, free = pages(ledger)
    assert total - free < 0.45 * waiting
    register(ledger, *(replace(each, raw=_LONG) for each in many(600, 1000)))
    assert pages(ledger)[0] < 1.45 * waiting
    assert pages(ledger)[1] < 0.1 * waiting


def test_what_was_listed_is_kept_until_it_is_archived(ledger: Ledger) -> None:
    """Listed facts are kept through failures and death, as last read, until a receipt of that row."""
    register(ledger, *many(4), recording(4, Phase.GONE), recording(5, Phase.EXTERNAL))
    jobs = ledger.claim("main", NOW, 4)
    verdicts = (Verdict.RETRY, Verdict.NOT_READY, Verdict.FATAL)
    outcomes = [failure(job, verdict) for job, verdict in zip(jobs, verdicts, strict=False)]
    ledger.settle([*outcomes, receipt(jobs[3])], NOW, POLICIES)
    kept = {name: row(ledger, name)["recording"] for name in (f"RE{number}" for number in range(6))}
    assert kept.pop("RE3") is None
    assert {name: Recording.from_json(text).recording_id for name, text in kept.items()} == {
        name: name for name in kept
    }


def test_what_a_later_list_tells_takes_its_place(ledger: Ledger) -> None:
    """A 2008 row's facts are replaced only by a list with more, and a claim returns the newer."""
    register(ledger, recording(1, api="2008-08-01", status=None, raw={"told": "little"}))
    register(ledger, recording(1, raw={"told": "much"}))
    register(ledger, recording(1, api="2008-08-01", status=None, raw={"told": "little again"}))
    [job] = ledger.claim("main", NOW, 1)
    assert job.recording.raw == {"told": "much"}


def test_two_of_one_identity_on_a_page_are_the_first(ledger: Ledger) -> None:
    """Of two equal rows on a page the first is stored."""
    assert register(ledger, recording(1, raw={"n": 1}), recording(1, raw={"n": 2}), recording(2)).ids == ("RE1", "RE2")
    assert [job.recording.raw for job in ledger.claim("main", NOW, 2)] == [{"n": 1}, {"sid": "RE2"}]


# -- media -------------------------------------------------------------------------------------------------------------


def receipts() -> list[Receipt]:
    job = Job(source="main", recording=recording(1), attempt=1, maybe_archived=False)
    one = receipt(job)
    [wav] = one.media
    mp3 = replace(wav, key="recordings/RE1.mp3", media_format="mp3", codec=None, duration_seconds=None)
    elsewhere = replace(wav, key="other/place.wav")
    suspect = replace(wav, check=replace(wav.check, status="suspect", reason="shorter than was said"))
    asked = [
        Requested(media_format="wav"),
        Requested(media_format="wav", channels=2),
        Requested(media_format="mp3", refused="wav: 404"),
    ]
    served = [replace(one, media=(replace(wav, requested=each),)) for each in asked]
    return [
        one,
        replace(one, media=(wav, mp3)),
        replace(one, media=(elsewhere,)),
        replace(one, media=(suspect,)),
        *served,
        replace(one, media=(replace(wav, requested=asked[1]), replace(mp3, requested=asked[2]))),
    ]


@pytest.mark.parametrize("each", range(8))
def test_nothing_of_a_medium_is_lost(each: int) -> None:
    """All fields of a receipt's media can be restored, including unusual keys."""
    settled = receipts()[each]
    text = shorten(settled)
    assert whole(text, settled.sidecar_key) == [asdict(medium) for medium in settled.media]
    found = media_of(text, settled.sidecar_key)
    assert (found, [each.requested for each in found]) == (settled.media, [each.requested for each in settled.media])


def test_rows_of_earlier_versions_are_read() -> None:
    """Media of earlier versions are read, with unknown requests."""
    settled = receipts()[0]
    [wav] = settled.media
    short = [None, "wav", 44, "00" * 32, "audio/wav", "pcm_s16le", 8000, 1, 1.0, "ok", "wav sizes", None]
    known = {name: value for name, value in asdict(wav).items() if name != "requested"}
    for text in (json.dumps([short]), json.dumps([known])):
        assert media_of(text, settled.sidecar_key) == (wav,)
        assert whole(text, settled.sidecar_key) == [asdict(wav)]


def test_what_a_medium_was_asked_for_as_outlives_its_archiving(ledger: Ledger) -> None:
    """A job for an archived recording has what its sidecar says was requested."""
    register(ledger, recording(1))
    [job] = ledger.claim("main", NOW, 1)
    settled = receipt(job)
    asked = Requested(media_format="mp3", channels=2, refused="2 channels of wav")
    media = (replace(settled.media[0], requested=asked),)
    ledger.settle([replace(settled, media=media)], NOW, POLICIES)
    assert ledger.reopen([row(ledger)["id"]], NOW) == 1
    [again] = ledger.claim("main", NOW, 1)
    assert again.standing is not None
    assert [each.requested for each in again.standing.media] == [asked]


def test_a_medium_takes_half_the_room() -> None:
    """The short form takes half the space."""
    settled = receipts()[0]
    short = shorten(settled)
    assert len(short) < 0.55 * len(json.dumps([asdict(medium) for medium in settled.media]))
    assert settled.media[0].key not in short


def test_media_are_found_at_their_full_length(ledger: Ledger) -> None:
    """Queries return media with field names."""
    register(ledger, recording(1))
    settle_all(ledger)
    [medium] = json.loads(row(ledger)["media"])
    assert (medium["key"], medium["check"]) == (
        "recordings/RE1.wav",
        {"status": "ok", "method": "wav sizes", "reason": None},
    )


# -- a ledger of the third schema --------------------------------------------------------------------------------------


@pytest.fixture
def older(path: Path) -> Path:
    """A ledger whose rows contain the listed facts, and complete media."""
    rows = [
        (f"RE{number}", state, due, recording(number, api=api, status=status, raw={"n": number}).to_json())
        for number, state, due, api, status in [
            (1, "pending", stamp(NOW), "2010-04-01", "completed"),
            (2, "pending", stamp(NOW), "2008-08-01", None),
            (3, "gone", None, "2010-04-01", "absent"),
            (4, "dead", None, "2010-04-01", "completed"),
        ]
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        migrations.apply(Database(plain), stop_before="fourth")
        plain.executemany(
            """
            INSERT INTO recordings (recording_id, state, next_attempt_at, recording, account_id, provider, source, api,
                created_at, registered_at, watched_since, failing_since)
            VALUES (?1, ?2, ?3, ?4, 'AC1', 'twilio', 'main', json_extract(?4, '$.api'), ?5, ?5, ?5,
                iif(?2 = 'dead', ?5, NULL))
            """,
            [(*each, stamp(NOW)) for each in rows],
        )
        media = json.dumps([asdict(medium) for medium in receipts()[0].media])
        plain.execute(
            """
            INSERT INTO recordings (recording_id, state, sidecar_key, media, bytes, settled_at, account_id, provider,
                source, api, created_at, registered_at, watched_since)
            VALUES ('RE9', 'archived', 'recordings/RE1.json', ?1, 44, ?2, 'AC1', 'twilio', 'main', '2010-04-01', ?2,
                ?2, ?2)
            """,
            [media, stamp(NOW)],
        )
    return path


def test_an_older_ledger_goes_on(older: Path) -> None:
    """An older ledger's rows are claimed, replaced, revived and retried like new ones."""
    ledger = Ledger.open(older, NOW)
    told = [recording(2, raw={"told": "more"}), recording(3, raw={"back": True})]
    assert ledger.register(FEED, told, [], NOW, RECHECK).new == 0
    assert ledger.retry(None, NOW) == 1  # the dead one

    jobs = {job.recording.recording_id: job for job in ledger.claim("main", NOW, 9)}
    assert {name: job.recording.raw for name, job in jobs.items()} == {
        "RE1": {"n": 1},
        "RE2": {"told": "more"},
        "RE3": {"back": True},
        "RE4": {"n": 4},
    }
    less = failure(recording(1, api="2008-08-01", status=None, raw={"told": "less"}))
    states = ledger.settle([less, failure(jobs["RE4"]), receipt(jobs["RE3"])], NOW, POLICIES)
    assert states == [State.FAILING, State.FAILING, State.ARCHIVED]
    kept = {name: row(ledger, name)["recording"] for name in ("RE1", "RE3", "RE4")}
    assert kept["RE3"] is None
    assert Recording.from_json(kept["RE1"]).raw == {"n": 1}  # the row with more stays
    assert Recording.from_json(kept["RE4"]).raw == {"n": 4}
    ledger.close()


def test_an_older_ledger_s_media_are_found(older: Path) -> None:
    """An older ledger's media are returned unchanged."""
    ledger = Ledger.open(older, NOW)
    assert json.loads(row(ledger, "RE9")["media"]) == [asdict(medium) for medium in receipts()[0].media]
    ledger.close()


def test_an_older_ledger_is_migrated_without_reading_its_rows(older: Path) -> None:
    """The migration does not touch ten million rows, which would take minutes."""
    with closing(sqlite3.connect(older, isolation_level=None)) as plain:
        before = plain.execute("SELECT * FROM recordings").fetchall()
        migrations.apply(Database(plain), stop_before="fifth")
        assert plain.execute("SELECT * FROM recordings").fetchall() == before
        assert plain.execute("SELECT count(*) FROM listed").fetchone() == (0,)
        migrations.apply(Database(plain))
        sums = plain.execute("SELECT count(*), count(sidecar_sha256) FROM recordings").fetchone()
        assert sums == (len(before), 0)
