"""The lives of recordings: late, unfinished, deleted, external, encrypted, failing; and what a pass reports."""

from __future__ import annotations

import functools
import itertools
import socket
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recvault.app import wiring
from recvault.errors import StoreUnavailable
from recvault.http import Timing
from recvault.ledger import Ledger
from recvault.monitoring.report import AccountReport, Report
from recvault.simulator import Logged, SimAccount, SimRecording, Simulator, Switches, twilio_voice
from recvault.simulator.exchange import refuse
from recvault.store.s3.clients import make_client
from recvault.transfer import archive_recording
from recvault.transfer.attempt import Attempt
from rig import SOURCES, Rig, sha256, without_late_calls
from strict_s3 import Bucket, StrictS3

T0 = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
APIS: dict[str, Any] = {name: "voice" if name == "legacy" else name for name in SOURCES}


@functools.cache
def _client(**arguments: Any) -> Any:
    """Share one boto3 client, which takes longer to build than a pass."""
    return make_client(**arguments)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed requests are retried at once; passes share their S3 client."""
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, backoff_base=0.001))
    monkeypatch.setattr("recvault.store.s3.clients.make_client", _client)


@pytest.fixture
def store(strict_s3: StrictS3) -> Bucket:
    """An empty bucket that refuses what S3 refuses."""
    return strict_s3.bucket()


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3, store: Bucket) -> Rig:
    """A recvault whose clock, like the providers', is frozen at T0."""
    simulator.set_now(T0)
    made = Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=store.name)
    made.transfer = {"workers": 4}
    return made


def opened(rig: Rig, name: str = "voice", **options: Any) -> SimAccount:
    """Make an account at a provider, and a source for it."""
    provider, kind = SOURCES[name]
    account = rig.simulator.add_account(kind)  # type: ignore[arg-type]
    rig.add_source(name, provider, account, **options)
    return account


def add(rig: Rig, account: SimAccount, name: str = "voice", **details: Any) -> SimRecording:
    """Add a recording of one second, by default created an hour before T0."""
    return rig.simulator.add(account, APIS[name], **{"created_at": T0 - HOUR, **details})


def media_requests(simulator: Simulator, recording: SimRecording | None = None) -> list[Logged]:
    def is_media(each: Logged) -> bool:
        return each.host == "media" or each.path.endswith((".wav", ".mp3", "/Media"))

    return [
        each for each in simulator.requests if is_media(each) and (not recording or recording.recording_id in each.path)
    ]


def only(report: Report) -> AccountReport:
    [row] = report.accounts.values()
    return row


def done(report: Report, **counts: int) -> None:
    """Check that the pass succeeded with exactly these counts."""
    assert (report.exit_code, report.outcome) == (0, "ok"), report.document()
    names = ("archived", "already_archived", "not_ready", "gone", "external", "failed", "dead", "quarantined")
    assert {name: getattr(only(report), name) for name in names} == {**dict.fromkeys(names, 0), **counts}


def failures(rig: Rig) -> list[dict[str, Any]]:
    with rig.runtime() as runtime:
        return runtime.ledger.ask.failures()


def retry(rig: Rig, recording: SimRecording, moment: datetime) -> int:
    with rig.runtime() as runtime:
        return runtime.ledger.retry([row["id"] for row in runtime.find(recording.recording_id)], moment)


def stands(rig: Rig, recording: SimRecording, media_format: str = "wav", channels: int | None = None) -> None:
    """Check that it is archived byte for byte."""
    sidecar = rig.sidecars()[recording.recording_id]
    [medium] = [each for each in sidecar["media"] if each["media_format"] == media_format]
    assert rig.objects()[medium["key"]] == rig.simulator.media(recording, media_format, channels).read()


# -- not final yet -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["voice", "video", "signalwire"])
def test_a_recording_that_takes_hours_is_archived_long_after_the_watermark_passed(rig: Rig, name: str) -> None:
    """An unfinished recording below the watermark is re-read by id until it is final; its day is not listed again."""
    if name == "signalwire":
        rig.simulator.switches = Switches(signalwire_created_at="start")
    account = opened(rig, name, lookback="1h")
    slow = add(rig, account, name, created_at=T0 - MINUTE, completed_at=T0 + 70 * HOUR, formats=None)
    done(rig.sync_at(T0), not_ready=1)
    for hours in (24, 60):
        add(rig, account, name, created_at=T0 + hours * HOUR - 10 * MINUTE)
        done(rig.sync_at(T0 + hours * HOUR), archived=1, not_ready=1)
    rig.simulator.clear_requests()

    report = rig.sync_at(T0 + 71 * HOUR)

    done(report, archived=1)
    assert only(report).watermark is not None and only(report).watermark > slow.created_at + DAY
    assert only(report).listed < 3
    assert next(each.path for each in rig.simulator.requests if slow.recording_id in each.path).endswith(
        slow.recording_id if name == "video" else f"{slow.recording_id}.json"
    )
    stands(rig, slow, slow.formats[0])
    assert rig.sidecars()[slow.recording_id]["status"] == "completed"


def test_what_never_becomes_final_is_dead_listed_and_retriable(rig: Rig) -> None:
    """A recording not final by give_up_after is dead with a reason, exit 3; `retry` takes it back and archives it."""
    account = opened(rig)
    slow = add(rig, account, completed_at=T0 + 9 * DAY)
    for days in range(3):
        done(rig.sync_at(T0 + days * DAY), not_ready=1)

    given_up = rig.sync_at(T0 + 3 * DAY + HOUR)

    assert (given_up.exit_code, given_up.outcome, only(given_up).dead) == (3, "partial", 1)
    [failure] = given_up.document()["failures"]
    assert (failure["recording_id"], failure["reason"]) == (slow.recording_id, "recording.unfinished")
    assert failure["next_attempt_at"] is None
    assert [each["state"] for each in failures(rig)] == ["dead"]
    rig.simulator.clear_requests()
    assert rig.sync_at(T0 + 10 * DAY).exit_code == 3
    assert media_requests(rig.simulator) == []

    assert retry(rig, slow, T0 + 10 * DAY) == 1

    done(rig.sync_at(T0 + 10 * DAY), archived=1)
    stands(rig, slow)
    assert failures(rig) == []


@pytest.mark.parametrize("name", ["voice", "legacy", "signalwire", "video"])
def test_media_that_are_not_there_yet_are_archived_later(rig: Rig, name: str) -> None:
    """A 404 right after completion is no failure: the media are requested again, and archived."""
    account = opened(rig, name)
    lagging = add(rig, account, name, media_ready_at=T0 + HOUR)
    done(rig.sync_at(T0), not_ready=1)
    done(rig.sync_at(T0 + 2 * HOUR), archived=1)
    stands(rig, lagging, lagging.formats[0])


# -- final without media -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "final"),
    [("voice", "absent"), ("voice", "failed"), ("video", "failed"), ("signalwire", "absent")],
)
def test_what_has_no_media_is_gone_once(rig: Rig, name: str, final: Any) -> None:
    """Absent and failed recordings are counted once as gone, exit 0, and nothing is requested for them."""
    account = opened(rig, name)
    add(rig, account, name, status_final=final)
    done(rig.sync_at(T0), gone=1)
    for hours in (1, 30):
        done(rig.sync_at(T0 + hours * HOUR))
    assert media_requests(rig.simulator) == []


def test_what_turns_out_absent_is_gone_once(rig: Rig) -> None:
    """A recording registered while in progress that ends absent is gone."""
    account = opened(rig)
    add(rig, account, completed_at=T0 + HOUR, status_final="absent")
    done(rig.sync_at(T0), not_ready=1)
    done(rig.sync_at(T0 + 2 * HOUR), gone=1)
    done(rig.sync_at(T0 + 4 * HOUR))


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_deleted_between_list_and_fetch_is_gone(rig: Rig, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording deleted after its listing is checked again hours later, then gone, exit 0; others are archived."""
    account = opened(rig, name)
    doomed, kept = add(rig, account, name), add(rig, account, name)
    register = Ledger.register

    def late(*arguments: Any) -> Any:
        if not rig.simulator.recordings(account)[0].deleted_at:
            rig.simulator.delete(doomed)
        return register(*arguments)

    monkeypatch.setattr(Ledger, "register", late)

    says_so = name == "video"  # its row stays as deleted: no second look is needed
    done(rig.sync_at(T0), archived=1, **({"gone": 1} if says_so else {"not_ready": 1}))

    assert set(rig.sidecars()) == {kept.recording_id}
    done(rig.sync_at(T0 + HOUR), **({} if says_so else {"not_ready": 1}))
    done(rig.sync_at(T0 + 7 * HOUR), **({} if says_so else {"gone": 1}))
    done(rig.sync_at(T0 + 8 * HOUR))


@pytest.mark.parametrize("name", ["voice", "legacy"])
def test_both_twilio_lists_agree_that_an_absent_recording_is_gone(rig: Rig, name: str) -> None:
    """The 2008 list, which shows an absent recording without a status, does not revive it."""
    account = opened(rig)
    rig.add_source("legacy", "twilio-legacy", account)
    add(rig, account, status_final="absent")
    if name == "legacy":
        rig.sources.reverse()
    first = rig.sync_at(T0)
    assert first.exit_code == 0
    rig.simulator.clear_requests()
    for hours in (1, 2):
        again = rig.sync_at(T0 + hours * HOUR)
        assert again.exit_code == 0
    if [row["source"] for row in find(rig)] == ["voice"]:
        assert media_requests(rig.simulator) == []


def find(rig: Rig) -> list[dict[str, Any]]:
    with sqlite3.connect(rig.root / "ledger.db") as plain:
        plain.row_factory = sqlite3.Row
        rows = [dict(row) for row in plain.execute("SELECT * FROM recordings")]
    plain.close()
    return rows


# -- elsewhere and encrypted -------------------------------------------------------------------------------------------


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Return every host that is resolved or connected to."""
    seen: set[str] = set()
    lookup, connect = socket.getaddrinfo, socket.socket.connect

    def noted_lookup(host: Any, *arguments: Any, **options: Any) -> Any:
        seen.add(str(host))
        return lookup(host, *arguments, **options)

    def noted_connect(self: socket.socket, address: Any) -> None:
        seen.add(str(address[0]))
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", noted_lookup)
    monkeypatch.setattr(socket.socket, "connect", noted_connect)
    yield seen


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("voice", "https://acme-calls.s3.amazonaws.com/AC1/RE1?X-Amz-Signature=0123"),
        ("voice", "s3://acme-calls/RE1.wav"),
        ("video", "https://acme-video.s3.amazonaws.com/RT1"),
        ("telnyx", "s3://acme-telnyx/rec.wav"),
        ("telnyx", "gs://acme-telnyx/rec.wav"),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["at once", "in the end"])
def test_what_lies_in_the_customer_s_own_storage_is_external(
    rig: Rig, places: set[str], name: str, location: str, late: bool
) -> None:
    """Recordings in external storage are left alone: exit 0, and no request to that host.

    Twilio's rows show it only by a host: its API is requested first, and answers 404.
    """
    account = opened(rig, name)
    visible = {"visible_at": T0 - HOUR} if name == "telnyx" else {}
    add(rig, account, name, external_location=location, **({"completed_at": T0 + HOUR, **visible} if late else {}))
    if late:
        done(rig.sync_at(T0), not_ready=1)

    done(rig.sync_at(T0 + 2 * HOUR), external=1)

    done(rig.sync_at(T0 + 4 * HOUR))
    assert places <= {"127.0.0.1"}
    assert [each.status for each in media_requests(rig.simulator)] == ([404] if name == "voice" else [])
    assert rig.sidecars() == {}


def test_an_encrypted_call_is_archived_as_wav_with_its_keys(rig: Rig) -> None:
    """An encrypted call is archived as WAV ciphertext even if mp3 is wanted, with its wrapped key in the sidecar."""
    account = opened(rig, formats=["mp3"])
    sealed, plain = add(rig, account, encrypted=True), add(rig, account)

    done(rig.sync_at(T0), archived=2)

    stands(rig, sealed, "wav")
    stands(rig, plain, "mp3")
    sidecar = rig.sidecars()[sealed.recording_id]
    assert sidecar["encryption"] == twilio_voice.encryption_details(rig.simulator._world, sealed)
    assert sidecar["archive"]["formats_wanted"] == ["mp3"]
    assert [each["checked"]["method"] for each in sidecar["media"]] == ["ciphertext"]
    assert not [each for each in media_requests(rig.simulator, sealed) if each.path.endswith(".mp3")]


def test_an_encrypted_track_is_archived_with_the_keys_of_its_headers(rig: Rig) -> None:
    """A track's key, which only the storage's headers have, is kept in the sidecar."""
    account = opened(rig, "video")
    sealed = add(rig, account, "video", encrypted=True)
    done(rig.sync_at(T0), archived=1)
    stands(rig, sealed, "mka")
    encryption = rig.sidecars()[sealed.recording_id]["encryption"]
    assert set(encryption) == {"x-amz-key", "x-amz-iv", "x-amz-unencrypted-content-length", "x-amz-matdesc"}
    assert int(encryption["x-amz-unencrypted-content-length"]) == rig.simulator._world.plain_length(sealed)


# -- channels and formats ----------------------------------------------------------------------------------------------


def test_two_channels_are_asked_for(rig: Rig) -> None:
    """Both channels of a conference are requested and archived, although the default is mono."""
    account = opened(rig)
    meeting = add(rig, account, channels=2, conference_id="CF" + "0" * 32)
    done(rig.sync_at(T0), archived=1)
    stands(rig, meeting, "wav", 2)
    assert rig.sidecars()[meeting.recording_id]["media"][0]["channels"] == 2


def test_where_two_channels_are_refused_what_there_is_is_taken(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """If RequestedChannels=2 answers 400, the plain request follows, and the sidecar says what was served."""
    serve = twilio_voice.serve

    def mono(world: Any, request: Any, *rest: Any) -> Any:
        if request.param("RequestedChannels"):
            raise refuse("xml", 400, 20001, "RequestedChannels=2 of a mono recording")
        return serve(world, request, *rest)

    monkeypatch.setattr(twilio_voice, "serve", mono)
    account = opened(rig)
    meeting = add(rig, account, channels=2, conference_id="CF" + "0" * 32)

    done(rig.sync_at(T0), not_ready=1)  # one failed request is allowed
    done(rig.sync_at(T0 + 4 * HOUR), archived=1)

    assert [each.status for each in media_requests(rig.simulator)] == [400, 200] * 3
    stands(rig, meeting, "wav", 1)
    sidecar = rig.sidecars()[meeting.recording_id]
    assert (sidecar["channels"], sidecar["media"][0]["channels"]) == (2, 1)


@pytest.mark.parametrize("name", ["voice", "legacy", "telnyx", "signalwire"])
def test_both_formats_wanted_are_two_media_and_one_sidecar(rig: Rig, store: Bucket, name: str) -> None:
    """Two wanted formats are two media with one sidecar, which is written last."""
    account = opened(rig, name, formats=["wav", "mp3"])
    recording = add(rig, account, name)
    done(rig.sync_at(T0), archived=1)
    stands(rig, recording, "wav")
    stands(rig, recording, "mp3")
    [sidecar] = rig.sidecars().values()
    keys = [each["key"] for each in sidecar["media"]]
    written = [each.key for each in store.log if each.op == "PUT" and recording.recording_id in each.key]
    assert written == [*keys, keys[0].replace(".wav", ".json")]


def test_a_wanted_format_that_is_missing_is_replaced(rig: Rig) -> None:
    """If a wanted format is missing, another is archived, and the sidecar says what was wanted."""
    account = opened(rig, "telnyx", formats=["wav"])
    recording = add(rig, account, "telnyx", formats=("mp3",))
    done(rig.sync_at(T0), archived=1)
    stands(rig, recording, "mp3")
    sidecar = rig.sidecars()[recording.recording_id]
    assert sidecar["archive"]["formats_wanted"] == ["wav"]
    assert [each["media_format"] for each in sidecar["media"]] == ["mp3"]


# -- odd media ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["voice", "telnyx", "signalwire", "legacy"])
def test_a_recording_of_no_length_is_archived_with_a_flag(rig: Rig, name: str) -> None:
    """Header-only media of duration 0 are archived, flagged, once they stay so for hours."""
    account = opened(rig, name, formats=["wav", "mp3"])
    silence = add(rig, account, name, duration_seconds=0.0)
    done(rig.sync_at(T0), not_ready=1)
    assert rig.sidecars() == {}
    looks = [rig.sync_at(T0 + number * HOUR) for number in (4, 8)]  # a look at each format
    assert sum(only(report).archived for report in looks) == 1
    sidecar = rig.sidecars()[silence.recording_id]
    assert [(each["bytes"], each["checked"]["status"], each["checked"]["reason"]) for each in sidecar["media"]] == [
        (44, "ok", "empty"),
        (0, "ok", "empty"),
    ]
    assert sidecar["duration_seconds"] == 0
    done(rig.sync_at(T0 + 12 * HOUR))


def test_media_whose_length_disagrees_are_archived_as_suspect(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Media that stay much shorter than their row for hours are archived as suspect, exit 0."""
    row = twilio_voice.row

    def boasting(*arguments: Any) -> Any:
        return row(*arguments) | {"duration": "60"}

    monkeypatch.setattr(twilio_voice, "row", boasting)
    account = opened(rig)
    recording = add(rig, account)

    done(rig.sync_at(T0), not_ready=1)
    done(rig.sync_at(T0 + HOUR), not_ready=1)
    assert rig.sidecars() == {}
    done(rig.sync_at(T0 + 4 * HOUR), archived=1)

    assert len(media_requests(rig.simulator)) == 4
    stands(rig, recording)
    [medium] = rig.sidecars()[recording.recording_id]["media"]
    assert (medium["checked"]["status"], medium["duration_seconds"]) == ("suspect", 1.0)
    assert "the provider states 60.00 s" in medium["checked"]["reason"]


def test_a_cut_that_no_length_tells_is_fetched_again(rig: Rig) -> None:
    """A silently truncated download is repeated, and the complete one is archived without a flag."""
    account = opened(rig)
    recording = add(rig, account)
    rig.simulator.faults.plan("truncate_silent", kind="media")
    done(rig.sync_at(T0), archived=1)
    assert rig.simulator.faults.unfired() == []
    stands(rig, recording)
    assert rig.sidecars()[recording.recording_id]["media"][0]["checked"]["status"] == "ok"


# -- how a provider is asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_a_pass_only_ever_gets(rig: Rig, name: str) -> None:
    """A pass sends only GET, without Range: signed URLs refuse HEAD, and nothing is changed."""
    account = opened(rig, name)
    if name != "telnyx":
        add(rig, account, name, completed_at=T0 + MINUTE)
    add(rig, account, name)
    rig.sync_at(T0)
    assert rig.sync_at(T0 + HOUR).exit_code == 0
    assert len(rig.sidecars()) == len(rig.simulator.recordings(account))
    assert {each.method for each in rig.simulator.requests} == {"GET"}
    assert {each.status for each in media_requests(rig.simulator)} <= {200, 302, 404}


@pytest.mark.parametrize("name", ["telnyx", "video"])
def test_media_are_fetched_at_an_address_that_is_fresh(rig: Rig, strict_s3: StrictS3, store: Bucket, name: str) -> None:
    """A recording listed long ago is refreshed right before its download: no expired URL is used."""
    account = opened(rig, name)
    recording = add(rig, account, name)
    bucket = strict_s3.buckets.pop(store.name)
    assert only(rig.sync_at(T0)).registered == 1
    strict_s3.buckets[store.name] = bucket
    rig.simulator.clear_requests()

    done(rig.sync_at(T0 + 20 * HOUR), archived=1)

    stands(rig, recording, recording.formats[0])
    assert [each.status for each in rig.simulator.requests if each.status >= 400] == []


@pytest.mark.parametrize("wanted", [["wav"], ["wav", "mp3"]], ids=["one format", "two formats"])
def test_what_was_stored_before_its_deletion_is_committed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, wanted: list[str]
) -> None:
    """If a recording is deleted after a kill between medium and sidecar, what was stored is committed."""
    account = opened(rig, formats=wanted)
    recording = add(rig, account)
    with monkeypatch.context() as struck:

        def strike(*_: Any) -> None:
            raise StoreUnavailable("struck")

        struck.setattr(Attempt, "commit", strike)
        rig.sync_at(T0)
    orphans = {key: body for key, body in rig.objects().items() if "/provider=" in key}
    assert len(orphans) == len(wanted) and rig.sidecars() == {}
    rig.simulator.delete(recording)

    done(rig.sync_at(T0 + HOUR), archived=1)

    for media_format in wanted:
        stands(rig, recording, media_format)
    assert orphans.items() <= rig.objects().items()
    assert rig.sidecars()[recording.recording_id]["duration_seconds"] == 1.0


def test_what_was_deleted_before_anything_was_stored_is_gone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is deleted before anything was stored, it is gone, and no sidecar is written."""
    account = opened(rig)
    recording = add(rig, account)
    rig.simulator.faults.plan("http_500", recording.recording_id, times=99, kind="media")
    rig.sync_at(T0)
    rig.simulator.delete(recording)
    rig.simulator.faults.clear_plans()

    done(rig.sync_at(T0 + HOUR), not_ready=1)
    done(rig.sync_at(T0 + 8 * HOUR), gone=1)

    assert rig.sidecars() == {}


# -- once, whatever happens --------------------------------------------------------------------------------------------


def test_a_recording_in_two_twilio_lists_is_one_recording(rig: Rig) -> None:
    """A recording in the 2010 and 2008 lists has one row, one medium and one sidecar, and is fetched once."""
    account = opened(rig)
    rig.add_source("legacy", "twilio-legacy", account)
    recordings = [add(rig, account) for _ in range(4)]

    report = rig.sync_at(T0)

    assert (report.exit_code, sum(row.archived for row in report.accounts.values())) == (0, 4)
    assert sum(row.registered for row in report.accounts.values()) == 4
    assert set(rig.sidecars()) == {recording.recording_id for recording in recordings}
    assert len(media_requests(rig.simulator)) == 4
    assert len(without_late_calls(rig.objects())) == 2 * 4 + 1  # plus the schema


def test_what_a_killed_backfill_had_leased_is_taken_over_by_the_running_daemon(rig: Rig) -> None:
    """A running daemon frees the leases of a killed process at its next pass."""
    account = opened(rig)
    slow = add(rig, account, completed_at=T0 + MINUTE)
    done(rig.sync_at(T0), not_ready=1)
    now = T0 + HOUR
    rig.simulator.set_now(now)
    with rig.runtime(lambda: now) as daemon:
        assert daemon.ledger.ask.failures() == []
        backfill = Ledger.open(rig.root / "ledger.db", now)
        assert [job.recording.recording_id for job in backfill.claim("voice", now, 9)] == [slow.recording_id]
        backfill.close()
        done(daemon.sync("sync", ["voice"]), archived=1)


@pytest.mark.parametrize("name", SOURCES)
def test_a_lost_ledger_costs_a_listing_and_downloads(rig: Rig, store: Bucket, name: str) -> None:
    """Without `rebuild`, a new ledger downloads again to compare with the bucket, and writes no byte twice."""
    account = opened(rig, name)
    for number in range(1, 6):
        add(rig, account, name, created_at=T0 - number * DAY)
    done(rig.sync_at(T0), archived=5)
    before = rig.objects()
    for file in rig.root.glob("ledger.db*"):
        if file.is_file():
            file.unlink()
    rig.simulator.clear_requests()
    store.clear_counts()

    done(rig.sync_at(T0 + MINUTE), already_archived=5)

    assert len([each for each in media_requests(rig.simulator) if each.status == 200]) == 5
    assert {key for key in store.writes if "provider=" in key} == set()
    assert rig.objects() == before
    assert {key: sha256(body) for key, body in before.items()} == {k: sha256(b) for k, b in rig.objects().items()}


def test_one_recording_that_fails_for_days_holds_back_no_other(rig: Rig) -> None:
    """While one recording fails for days, the others are archived once; when it recovers it needs no listing."""
    account = opened(rig, lookback="1h")
    stuck = add(rig, account)
    rig.simulator.faults.plan("truncate", stuck.recording_id, times=1000, kind="media")
    others: list[SimRecording] = []
    for day in range(6):
        now = T0 + day * DAY
        others += [add(rig, account, created_at=now - HOUR + number * MINUTE) for number in range(3)]
        report = rig.sync_at(now)
        assert (report.exit_code, only(report).archived, only(report).failed) == (3, 3, 1)
    assert all(len(media_requests(rig.simulator, other)) == 1 for other in others)
    [failing] = failures(rig)
    assert (failing["recording_id"], failing["attempts"]) == (stuck.recording_id, 6)

    rig.simulator.faults.clear_plans()
    report = rig.sync_at(T0 + 7 * DAY)

    done(report, archived=1)
    assert only(report).listed == 3  # of the last day, without the stuck one
    stands(rig, stuck)


def test_a_bug_that_one_recording_brings_out_holds_back_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is reported, counted against its recording, exit 1; all others are archived."""
    account = opened(rig)
    recordings = [add(rig, account) for _ in range(6)]
    run = archive_recording.archive_recording

    def buggy(attempt: Attempt) -> Any:
        if attempt.job.recording.recording_id == recordings[2].recording_id:
            raise ZeroDivisionError
        return run(attempt)

    monkeypatch.setattr(archive_recording, "archive_recording", buggy)
    report = rig.sync_at(T0)

    assert (report.exit_code, only(report).archived, only(report).failed) == (1, 5, 1)
    [failing] = failures(rig)
    assert (failing["reason"], failing["recording_id"]) == ("unexpected", recordings[2].recording_id)


def test_every_source_gets_its_turn(rig: Rig, strict_s3: StrictS3, store: Bucket) -> None:
    """While other sources still have a backlog, the last source's recordings are archived."""
    rig.transfer = {"workers": 1}
    accounts = []
    for number in range(3):
        account = rig.simulator.add_account("twilio")
        rig.add_source(f"source-{number}", "twilio", account)
        rig.simulator.populate(account, "voice", count=12, start=T0 - DAY, durations=(1, 1))
        accounts.append(account)
    strict_s3.buckets.pop(store.name)
    rig.sync_at(T0)  # registers only
    strict_s3.buckets[store.name] = store
    rig.sync_at(T0)
    order = [each.path.split("/")[3] for each in media_requests(rig.simulator)]
    assert len(order) == 36
    for account in accounts:
        assert order.index(account.account_id) < 24


# -- what a pass says --------------------------------------------------------------------------------------------------


def test_refused_credentials_stop_no_other_source(rig: Rig) -> None:
    """A 401 exits 77 and is requested once; other sources are archived. Once fixed, the source catches up."""
    refused, fine = opened(rig), opened(rig, "telnyx")
    add(rig, refused)
    add(rig, fine, "telnyx")
    secret = rig.root / "voice.auth_token.secret"
    right = secret.read_text()
    secret.write_text("wrong")

    report = rig.sync_at(T0)

    assert (report.exit_code, report.outcome) == (77, "partial")
    rows = {row.source: row for row in report.accounts.values()}
    assert rows["telnyx"].archived == 1 and rows["telnyx"].error is None
    assert "401" in str(rows["voice"].error) and rows["voice"].watermark is None
    assert rows["voice"].requests == 1
    secret.write_text(right)
    healed = rig.sync_at(T0 + HOUR)
    assert healed.exit_code == 0
    assert len(rig.sidecars()) == 2


def test_credentials_refused_after_the_listing_are_no_recording_s_fault(rig: Rig) -> None:
    """A key withdrawn for days exits 77 each time, no recording dies, and all are archived once it works."""
    account = opened(rig)
    slow = [add(rig, account, completed_at=T0 + MINUTE) for _ in range(3)]
    rig.transfer = {"workers": 4, "max_attempts": 2}
    done(rig.sync_at(T0), not_ready=3)
    secret = rig.root / "voice.auth_token.secret"
    right = secret.read_text()
    secret.write_text("wrong")
    for day in range(1, 6):
        assert rig.sync_at(T0 + day * DAY).exit_code == 77
    secret.write_text(right)

    done(rig.sync_at(T0 + 7 * DAY), archived=3)

    assert set(rig.sidecars()) == {recording.recording_id for recording in slow}


def test_a_provider_that_is_down_is_temporary(rig: Rig) -> None:
    """An unreachable provider exits 75 and keeps its watermark; the other source is archived."""
    down, fine = opened(rig), opened(rig, "signalwire")
    rig.sources[0]["base_url"] = "http://127.0.0.1:9"
    add(rig, down)
    add(rig, fine, "signalwire")
    report = rig.sync_at(T0)
    rows = {row.source: row for row in report.accounts.values()}
    assert (report.exit_code, report.outcome) == (75, "partial")
    assert (rows["voice"].watermark, rows["signalwire"].archived) == (None, 1)
    rig.sources.pop()
    assert (rig.sync_at(T0).exit_code, rig.sync_at(T0).outcome) == (75, "failed")


def test_a_row_that_cannot_be_read_is_partial(rig: Rig) -> None:
    """An unreadable row is quarantined, exit 3, until it can be read; the other rows are archived."""
    account = opened(rig)
    add(rig, account)
    bad = add(rig, account, malformed="bad_date", created_at=T0 - 10 * MINUTE)
    report = rig.sync_at(T0)
    assert (report.exit_code, only(report).archived, only(report).quarantined) == (3, 1, 1)

    shelf = account.shelves["voice"]
    shelf._recordings[bad.recording_id] = replace(shelf._recordings[bad.recording_id], malformed=None)

    done(rig.sync_at(T0 + HOUR), archived=1)


def test_a_missing_bucket_is_a_matter_of_configuration(rig: Rig, strict_s3: StrictS3, store: Bucket) -> None:
    """A missing bucket exits 78 with a hint; listing continues, nothing is downloaded, and later all is archived."""
    account = opened(rig)
    for hours in range(2):  # at the first pass, and if the bucket vanishes later
        add(rig, account, created_at=T0 + hours * HOUR - MINUTE)
        rig.simulator.clear_requests()
        bucket = strict_s3.buckets.pop(store.name)

        report = rig.sync_at(T0 + hours * HOUR)

        assert (report.exit_code, report.outcome) == (78, "failed")
        assert "NoSuchBucket" in str(only(report).error) and "archive.bucket" in str(only(report).error)
        assert (only(report).registered, only(report).failed) == (1, 0)
        assert media_requests(rig.simulator) == []
        strict_s3.buckets[store.name] = bucket
        done(rig.sync_at(T0 + hours * HOUR), archived=1)


def test_a_store_that_fails_ends_the_pass_and_costs_no_recording_an_attempt(rig: Rig, store: Bucket) -> None:
    """A bucket that refuses every put exits 77, and no recording dies; all are archived once it accepts."""
    account = opened(rig)
    rig.transfer = {"workers": 2, "max_attempts": 1}
    recordings = [add(rig, account) for _ in range(4)]
    with rig.runtime(lambda: T0) as runtime:
        runtime.prepare_store()
    store.denied.add("PUT")
    for hours in range(3):
        report = rig.sync_at(T0 + hours * HOUR)
        assert (report.exit_code, only(report).dead, only(report).archived) == (77, 0, 0)
    store.denied.clear()

    report = rig.sync_at(T0 + DAY)

    assert report.exit_code == 0
    assert set(rig.sidecars()) == {recording.recording_id for recording in recordings}


def test_a_pass_needs_no_right_to_list_uploads(rig: Rig, store: Bucket) -> None:
    """A pass without permission to list multipart uploads archives everything."""
    add(rig, opened(rig))
    store.denied.add("UPLOADS")
    done(rig.sync_at(T0), archived=1)


def test_several_troubles_at_once_are_told_by_the_worst(rig: Rig) -> None:
    """With refused, unreachable and partial sources the exit code is 77, and each row has its own error."""
    refused, _, bad = opened(rig), opened(rig, "signalwire"), opened(rig, "telnyx")
    (rig.root / "voice.auth_token.secret").write_text("wrong")
    rig.sources[1]["base_url"] = "http://127.0.0.1:9"
    add(rig, refused)
    add(rig, bad, "telnyx", malformed="no_date")
    report = rig.sync_at(T0)
    assert report.codes == {77, 75}
    assert report.exit_code == 77
    assert {row.source: row.quarantined for row in report.accounts.values()}["telnyx"] == 1


@pytest.mark.parametrize("count", range(5))
def test_the_worst_code_is_met_in_the_order_1_78_77_75_3(count: int) -> None:
    """With several sources the exit code is the worst one."""
    order = (1, 78, 77, 75, 3)
    for met in itertools.combinations(order, count):
        report = Report(command="sync", started_at=T0)
        report.codes |= set(met) - {3}
        row = report.account("main", "twilio", "AC1")
        row.failed = int(3 in met)
        assert report.exit_code == (met[0] if met else 0)
