"""Twilio Voice 2010 behaves like its documents and replies: filters, pages, lifecycle, media, accounts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from recvault.simulator import SimRecording, Switches

from .client import START, Client, sorted_ids

Connect = Callable[..., Client]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def three_days(connect: Connect) -> Client:
    """Add recordings at the edges of 3 March."""
    client = connect()
    for name, moment in {
        "a": "2026-03-02T23:59:59",
        "b": "2026-03-03T00:00:00",
        "c": "2026-03-03T12:00:00.500",
        "d": "2026-03-03T23:59:59",
        "e": "2026-03-04T00:00:00",
    }.items():
        client.simulator.add(
            client.account, "voice", recording_id="RE" + name * 32, created_at=at(moment), call_id="CA" + "0" * 32
        )
    return client


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "edcba"),
        ("DateCreated=2026-03-03", "dcb"),
        ("DateCreated>=2026-03-03", "edcb"),
        ("DateCreated%3E=2026-03-03", "edcb"),
        ("DateCreated<=2026-03-03", "ba"),
        ("DateCreated%3E=2026-03-03T12:00:00Z&DateCreated%3C=2026-03-03T23:59:59Z", "dc"),
        ("DateCreated%3E=2026-03-03T13:00:00%2B01:00&DateCreated%3C=2026-03-03T12:00:00Z", "c"),
        ("DateCreated%3E%3D=2026-03-03", "edcba"),
        ("DateCreatedAfter=2026-03-03T00:00:00Z", "edcba"),
    ],
)
def test_account_list_filters_to_the_second(three_days: Client, query: str, expected: str) -> None:
    """Bounds are inclusive, a date is its midnight GMT, and unknown parameters are ignored."""
    assert three_days.ids(f"{three_days.voice}/Recordings.json?{query}") == ["RE" + name * 32 for name in expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("DateCreated%3E=2026-03-03T12:30:00Z", "edcb"), ("DateCreated%3C=2026-03-03T12:30:00Z", "ba")],
)
def test_call_list_filters_to_the_day(three_days: Client, query: str, expected: str) -> None:
    """A call's list knows only days: a date-time is reduced to its day."""
    url = f"{three_days.voice}/Calls/CA{'0' * 32}/Recordings.json?{query}"
    assert three_days.ids(url) == ["RE" + name * 32 for name in expected]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("DateCreated%3E=yesterday", 20001),
        ("DateCreated%3E=2026-03-03T00:00:00+00:00", 20001),
        ("PageToken=nonsense", 21481),
        ("PageToken=PARE0", 21481),
        ("PageSize=0", 20001),
    ],
)
def test_what_cannot_be_read_is_refused(connect: Connect, query: str, code: int) -> None:
    """A bad date, token or size is a 400 with Twilio's code; an unencoded plus sign is a bad date."""
    client = connect()
    answer = client.get(f"{client.voice}/Recordings.json?{query}")
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (400, code, 400)


def test_pages_are_stable_under_inserts_and_deletions(connect: Connect) -> None:
    """A page follows the previous page's last row, so that changes at the top shift nothing."""
    client = connect()
    recordings = client.simulator.populate(client.account, "voice", 25, START)
    seen: list[str] = []
    for number, page in enumerate(
        client.pages(f"{client.voice}/Recordings.json?PageSize=10&DateCreated%3E=2026-01-01")
    ):
        assert page["page"] == number
        assert "DateCreated%3E=2026-01-01" in page["uri"]
        seen += [row["sid"] for row in page["recordings"]]
        client.simulator.add(client.account, "voice", created_at=START + timedelta(hours=1 + number))
        client.simulator.delete(next(r for r in recordings if r.recording_id == seen[-1]))
    assert sorted(seen) == sorted_ids(recordings)
    assert seen == [r.recording_id for r in reversed(recordings)]


def test_empty_list(connect: Connect) -> None:
    """An empty list is a page with start and end 0."""
    client = connect()
    page = client.get(f"{client.voice}/Recordings.json").json()
    assert (page["recordings"], page["start"], page["end"], page["next_page_uri"]) == ([], 0, 0, None)


@pytest.mark.parametrize(("over", "status"), [("clamp", 200), ("refuse", 400)])
def test_too_large_a_page(connect: Connect, over: str, status: int) -> None:
    """More than 1000 rows a page are reduced to 1000 or refused, by switch."""
    client = connect(switches=Switches(voice_page_size_over=over))
    answer = client.get(f"{client.voice}/Recordings.json?PageSize=5000")
    assert answer.status_code == status
    assert answer.json().get("page_size", 1000) == 1000


def test_life_of_a_recording(connect: Connect) -> None:
    """Row, media and deletion follow the recording from in progress to completed, deleted and forgotten."""
    client = connect()
    simulator = client.simulator
    now = simulator.now
    recording = simulator.add(client.account, "voice", created_at=now, duration_seconds=60)
    url = f"{client.voice}/Recordings/{recording.recording_id}"

    def states() -> tuple[str, str | None, int]:
        row = client.get(f"{client.voice}/Recordings.json?IncludeSoftDeleted=true").json()["recordings"][0]
        return row["status"], row["duration"], client.get(f"{url}.wav").status_code

    assert states() == ("in-progress", None, 404)
    assert client.http.delete(f"{url}.json").status_code == 409
    simulator.advance(timedelta(seconds=61))
    assert states() == ("processing", None, 404)
    simulator.advance(timedelta(seconds=1))
    assert states() == ("completed", "60", 200)
    assert simulator.truth(client.account) == [recording]
    assert [client.http.delete(f"{url}.json").status_code for _ in range(2)] == [204, 404]
    assert states() == ("deleted", "60", 404)
    assert client.ids(f"{client.voice}/Recordings.json") == []
    assert client.get(f"{url}.json").status_code == 404
    assert client.get(f"{url}.json?IncludeSoftDeleted=true").json()["status"] == "deleted"
    simulator.advance(timedelta(days=41))
    assert client.ids(f"{client.voice}/Recordings.json?IncludeSoftDeleted=true") == []
    assert simulator.truth(client.account) == []


def test_date_updated_moves_and_date_created_does_not(connect: Connect) -> None:
    """date_created never changes; date_updated is the completion."""
    client = connect()
    client.simulator.add(client.account, "voice", created_at=START, completed_at=START + timedelta(hours=4))
    row = client.get(f"{client.voice}/Recordings.json").json()["recordings"][0]
    assert row["date_created"] == row["start_time"] == "Mon, 02 Mar 2026 10:00:00 +0000"
    assert row["date_updated"] == "Mon, 02 Mar 2026 14:00:00 +0000"


def test_created_at_the_end_by_switch(connect: Connect) -> None:
    """By switch, date_created is the end of the recording."""
    client = connect(switches=Switches(voice_created_at="end"))
    client.simulator.add(client.account, "voice", created_at=START, duration_seconds=60)
    row = client.get(f"{client.voice}/Recordings.json").json()["recordings"][0]
    assert row["start_time"] == "Mon, 02 Mar 2026 09:59:00 +0000"


def test_late_rows_and_late_media(connect: Connect) -> None:
    """Lists may lag behind creation, and media behind completion."""
    client = connect(switches=Switches(voice_list_delay_seconds=300, voice_media_lag_seconds=30))
    simulator = client.simulator
    recording = simulator.add(client.account, "voice", duration_seconds=1)
    url = f"{client.voice}/Recordings/{recording.recording_id}.wav"
    simulator.advance(timedelta(seconds=5))
    assert (client.ids(f"{client.voice}/Recordings.json"), client.get(url).status_code) == ([], 404)
    simulator.advance(timedelta(seconds=30))
    assert (client.ids(f"{client.voice}/Recordings.json"), client.get(url).status_code) == ([], 200)
    simulator.advance(timedelta(seconds=300))
    assert client.ids(f"{client.voice}/Recordings.json") == [recording.recording_id]


@pytest.mark.parametrize(
    ("recording", "suffix", "channels"),
    [
        ({"channels": 2}, "", 2),
        ({"channels": 2}, ".wav", 2),
        ({"channels": 2}, ".mp3", 2),
        ({"channels": 2}, ".wav?RequestedChannels=1", 1),
        ({"channels": 2, "conference_id": "CF1"}, ".wav", 1),
        ({"channels": 2, "conference_id": "CF1"}, ".wav?RequestedChannels=2", 2),
    ],
)
def test_media(connect: Connect, recording: dict[str, object], suffix: str, channels: int) -> None:
    """Without extension media are WAV; a conference is mono unless two channels are requested."""
    client = connect()
    rec: SimRecording = client.simulator.add(client.account, "voice", created_at=START, **recording)
    answer = client.get(f"{client.voice}/Recordings/{rec.recording_id}{suffix}")
    kind = "mp3" if "mp3" in suffix else "wav"
    assert answer.headers["content-type"] == {"wav": "audio/x-wav", "mp3": "audio/mpeg"}[kind]
    assert answer.content == client.simulator.media(rec, kind, channels).read()


def test_media_that_are_refused(connect: Connect) -> None:
    """Two channels of a mono recording are a 400, an encrypted MP3 is error 16109, a missing one a 404 in XML."""
    client = connect()
    mono = client.simulator.add(client.account, "voice", created_at=START)
    secret = client.simulator.add(client.account, "voice", created_at=START, encrypted=True)
    stored = client.simulator.add(
        client.account, "voice", created_at=START, external_location="https://b.s3.amazonaws.com/k"
    )
    base = f"{client.voice}/Recordings"
    assert client.get(f"{base}/{mono.recording_id}.wav?RequestedChannels=2").status_code == 400
    assert "<Code>16109</Code>" in client.get(f"{base}/{secret.recording_id}.mp3").text
    answer = client.get(f"{base}/{stored.recording_id}.wav")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/xml")
    assert "<Code>20404</Code>" in answer.text
    rows = {row["sid"]: row for row in client.get(f"{base}.json").json()["recordings"]}
    assert rows[stored.recording_id]["media_url"] == "https://b.s3.amazonaws.com/k"
    assert set(rows[secret.recording_id]["encryption_details"]) == {
        "encryption_public_key_sid",
        "encryption_cek",
        "encryption_iv",
    }


def test_media_as_the_switches_say(connect: Connect) -> None:
    """By switch, media have a length or are chunked, support ranges or not, are direct or redirected."""
    client = connect()
    simulator, rec = client.simulator, client.simulator.add(client.account, "voice", created_at=START)
    url = f"{client.voice}/Recordings/{rec.recording_id}.wav"
    part = {"Range": "bytes=10-19"}
    content = simulator.media(rec, "wav").read()
    plain = client.get(url, headers=part)
    assert (plain.status_code, plain.headers["content-length"], plain.content) == (200, str(len(content)), content)
    simulator.switches = Switches(voice_media_length="chunked", voice_media_range=True)
    chunked = client.get(url)
    assert chunked.content == content
    assert "content-length" not in chunked.headers
    ranged = client.get(url, headers=part)
    assert (ranged.status_code, ranged.content) == (206, content[10:20])
    assert ranged.headers["content-range"] == f"bytes 10-19/{len(content)}"
    simulator.switches = replace(simulator.switches, voice_media_from="redirect")
    redirect = client.get(url)
    assert redirect.status_code == 307
    assert client.get(redirect.headers["location"]).status_code == 400  # with Authorization
    assert client.http.get(url, follow_redirects=True).content == content  # httpx drops it off-host


def test_who_may_see_what(connect: Connect) -> None:
    """A token has access to sub-accounts, an API key has not; strangers are refused, closed accounts by switch."""
    main = connect()
    simulator = main.simulator
    sub = simulator.add_account("twilio", parent=main.account)
    simulator.add_account("twilio", parent=main.account, status="suspended")
    stranger = connect()
    simulator.populate(sub, "voice", 3, START)
    url = f"/2010-04-01/Accounts/{sub.account_id}/Recordings.json"
    assert len(main.ids(url)) == 3
    assert stranger.get(url).status_code == 401
    assert main.http.get(url, headers={"Authorization": "Basic bm9ib2R5Om5vdGhpbmc="}).json()["code"] == 20003
    rows = main.get("/2010-04-01/Accounts.json").json()["accounts"]
    assert [row["auth_token"] for row in rows[:2]] == [main.account.secret, sub.secret]
    active = main.get("/2010-04-01/Accounts.json?Status=suspended").json()["accounts"]
    assert [row["sid"] for row in active] == [rows[2]["sid"]]
    assert main.get(f"/2010-04-01/Accounts/{rows[2]['sid']}/Recordings.json").status_code == 200
    simulator.switches = Switches(inactive_accounts="refused")
    assert main.get(f"/2010-04-01/Accounts/{rows[2]['sid']}/Recordings.json").status_code == 403
    assert main.account.api_key is not None
    key = {"auth": main.account.api_key}
    assert main.http.get(f"{main.voice}/Recordings.json", **key).status_code == 200
    assert main.http.get(url, **key).status_code == 401
    assert main.http.get("/2010-04-01/Accounts.json", **key).status_code == 401
    assert main.get("/v1/Recordings").json()["recordings"] == []


def test_mixed_offsets_name_the_same_moment(connect: Connect) -> None:
    """By switch, some rows have dates an hour east, of the same times."""
    client = connect(switches=Switches(voice_mixed_offsets=True))
    recordings = client.simulator.populate(client.account, "voice", 40, START)
    rows = client.get(f"{client.voice}/Recordings.json").json()["recordings"]
    read = [datetime.strptime(row["date_created"], "%a, %d %b %Y %H:%M:%S %z") for row in rows]
    assert read == [r.created_at for r in reversed(recordings)]
    assert {str(moment.utcoffset()) for moment in read} == {"0:00:00", "1:00:00"}


def test_a_page_of_a_large_account_is_quick(connect: Connect) -> None:
    """A page in the middle of twenty thousand rows takes less than 50 ms."""
    client = connect()
    client.simulator.populate(client.account, "voice", 20_000, START, timedelta(seconds=10), channels=1)
    url = f"{client.voice}/Recordings.json?PageSize=5&DateCreated%3C=2026-03-03T00:00:00Z"
    client.get(url)
    took = min(client.get(url).elapsed for _ in range(5))
    assert took < timedelta(milliseconds=50)
