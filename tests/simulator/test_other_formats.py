"""Twilio 2008 and Video, Telnyx and SignalWire behave like their documents and replies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import httpx
import pytest

from recvault.simulator import Switches

from .client import START, Client, sorted_ids

Connect = Callable[..., Client]


# Twilio 2008-08-01


def legacy_pages(client: Client, url: str) -> list[Element]:
    """Follow nextpageuri, or count up to numpages without it."""
    pages: list[Element] = []
    while url:
        found = fromstring(client.get(url).raise_for_status().text).find("Recordings")
        assert found is not None
        pages.append(found)
        if "nextpageuri" in found.attrib:
            url = found.attrib["nextpageuri"]
        else:
            more = len(pages) < int(found.attrib["numpages"])
            url = f"{client.legacy}?num={found.attrib['pagesize']}&page={len(pages)}" if more else ""
    return pages


@pytest.mark.parametrize("linked", [True, False])
def test_legacy_list(connect: Connect, linked: bool) -> None:
    """The 2008 list has 2010's recordings as XML, newest first, with dates at -0400."""
    client = connect(switches=Switches(legacy_nextpageuri=linked))
    recordings = client.simulator.populate(client.account, "voice", 25, START)
    pages = legacy_pages(client, f"{client.legacy}?num=10&DateCreated>=2026-03-01")
    rows = [row for page in pages for row in page]
    assert [row.findtext("Sid") for row in rows] == [r.recording_id for r in reversed(recordings)]
    assert rows[-1].findtext("DateCreated") == "Mon, 02 Mar 2026 06:00:00 -0400"
    assert {tuple(field.tag for field in row) for row in rows} == {
        ("Sid", "AccountSid", "CallSid", "Duration", "DateCreated", "DateUpdated")
    }
    assert (pages[0].attrib["numpages"], pages[0].attrib["total"]) == ("3", "25")
    one = fromstring(client.get(f"{client.legacy}/{recordings[0].recording_id}.xml").text)
    assert one.findtext("Recording/Sid") == recordings[0].recording_id


def test_legacy_pages_drift(connect: Connect) -> None:
    """2008's pages are positions: a new row at the top shows an old one twice."""
    client = connect()
    client.simulator.populate(client.account, "voice", 4, START)
    first = legacy_pages(client, f"{client.legacy}?num=2")[0]
    client.simulator.add(client.account, "voice", created_at=START + timedelta(days=1))
    again = fromstring(client.get(first.attrib["nextpageuri"]).text)
    assert again.findtext("Recordings/Recording/Sid") == first[1].findtext("Sid")


def test_legacy_media_and_errors(connect: Connect) -> None:
    """2008 serves WAV and MP3, an unfinished row has an empty Duration, errors are RestExceptions."""
    client = connect()
    rec = client.simulator.add(client.account, "voice", created_at=START, channels=2)
    client.simulator.add(client.account, "voice", duration_seconds=60)
    url = f"{client.legacy}/{rec.recording_id}"
    assert client.get(url).content == client.simulator.media(rec, "wav").read()
    assert client.get(f"{url}.mp3").content == client.simulator.media(rec, "mp3").read()
    newest = legacy_pages(client, client.legacy)[0][0]
    assert newest.findtext("Duration") == ""
    missing = client.get(f"{client.legacy}/RE0.xml")
    assert (missing.status_code, fromstring(missing.text).findtext("RestException/Code")) == (404, "20404")
    assert [client.http.delete(url).status_code for _ in range(2)] == [204, 404]
    client.simulator.switches = Switches(legacy_retired=True)
    assert client.get(client.legacy).status_code == 410


# Twilio Video


def test_video_filters_and_pages(connect: Connect) -> None:
    """After is inclusive, Before exclusive; links are absolute; more than 100 rows a page are refused."""
    client = connect()
    recordings = client.simulator.populate(client.account, "video", 30, START)
    window = "DateCreatedAfter=2026-03-02T10:05:00Z&DateCreatedBefore=2026-03-02T10:20:00Z"
    assert client.ids(f"/v1/Recordings?{window}&PageSize=4") == [r.recording_id for r in reversed(recordings[5:20])]
    first = client.get("/v1/Recordings?PageSize=4").json()
    assert first["meta"]["next_page_url"].startswith(client.simulator.base_url)
    assert client.get("/v1/Recordings?PageSize=101").status_code == 400
    assert client.get("/v1/Recordings?DateCreatedAfter=2026-03-02T10:05:00").status_code == 400
    audio = [r.recording_id for r in recordings if r.formats == ("mka",)]
    assert sorted(client.ids("/v1/Recordings?MediaType=audio")) == sorted(audio)
    assert client.ids(f"/v1/Recordings?GroupingSid={recordings[0].participant_id}") == [recordings[0].recording_id]


@pytest.mark.parametrize("order", ["newest", "oldest", "random"])
def test_video_pages_are_stable_in_any_order(connect: Connect, order: str) -> None:
    """In any order, pages lose and repeat nothing while rows are added."""
    client = connect(switches=Switches(video_order=order))
    recordings = client.simulator.populate(client.account, "video", 30, START)
    seen = []
    for page in client.pages("/v1/Recordings?PageSize=4&DateCreatedBefore=2026-03-03T00:00:00Z"):
        seen += [row["sid"] for row in page["recordings"]]
        client.simulator.add(client.account, "video", created_at=START + timedelta(days=2))
    assert sorted(seen) == sorted_ids(recordings)


def test_video_media_lie_behind_a_redirect(connect: Connect) -> None:
    """/Media redirects to a signed URL that refuses Authorization, supports ranges and expires after Ttl."""
    client = connect()
    simulator = client.simulator
    rec = simulator.add(client.account, "video", created_at=START, formats=("mkv",))
    row = client.get(f"/v1/Recordings/{rec.recording_id}").json()
    content = simulator.media(rec, "mkv").read()
    assert row["size"] == len(content)
    answer = client.get(f"/v1/Recordings/{rec.recording_id}/Media?Ttl=60")
    url = answer.headers["location"]
    assert (answer.status_code, answer.json()) == (302, {"redirect_to": url})
    assert httpx.URL(url).netloc.decode() == simulator.media_host
    assert client.get(url).status_code == 400
    with httpx.Client() as stranger:
        whole = stranger.get(url)
        assert whole.content == content
        tag = {"Range": "bytes=5-", "If-Range": whole.headers["etag"]}
        assert (stranger.get(url, headers=tag).status_code, stranger.get(url, headers=tag).content) == (
            206,
            content[5:],
        )
        assert stranger.get(url, headers={"Range": "bytes=5-", "If-Range": '"other"'}).content == content
        assert stranger.get(url, headers={"Range": "bytes=-3"}).content == content[-3:]
        assert stranger.get(url, headers={"Range": "bytes=99999999-"}).status_code == 416
        assert stranger.head(url).status_code == 403
        assert stranger.get(url.replace("Expires=60", "Expires=6000")).status_code == 403
        simulator.advance(timedelta(seconds=62))
        expired = stranger.get(url)
        assert (expired.status_code, "AccessDenied" in expired.text) == (403, True)
    simulator.switches = Switches(video_media_from="direct")
    assert client.get(f"/v1/Recordings/{rec.recording_id}/Media").content == content


def test_video_encryption_travels_in_headers(connect: Connect) -> None:
    """An encrypted track's key and plain length are in its media's headers."""
    client = connect()
    rec = client.simulator.add(client.account, "video", created_at=START, encrypted=True)
    answer = client.http.get(f"/v1/Recordings/{rec.recording_id}/Media", follow_redirects=True)
    assert answer.headers["content-type"] == "application/octet-stream"
    plain = int(answer.headers["x-amz-meta-x-amz-unencrypted-content-length"])
    assert len(answer.content) == plain // 16 * 16 + 16
    assert {"x-amz-meta-x-amz-key", "x-amz-meta-x-amz-iv", "x-amz-meta-x-amz-matdesc"} <= set(answer.headers)


def test_video_deletion_and_hostile_link(connect: Connect) -> None:
    """A deleted track is listed only with Status=deleted, for 30 days; a next link may lead off-host by switch."""
    client = connect()
    simulator = client.simulator
    recordings = simulator.populate(client.account, "video", 3, START)
    url = f"/v1/Recordings/{recordings[0].recording_id}"
    assert [client.http.delete(url).status_code for _ in range(2)] == [204, 404]
    assert client.get(f"{url}/Media").status_code == 404
    assert len(client.ids("/v1/Recordings")) == 2
    assert client.ids("/v1/Recordings?Status=deleted") == [recordings[0].recording_id]
    assert client.get(url).json()["status"] == "deleted"
    simulator.advance(timedelta(days=31))
    assert client.ids("/v1/Recordings?Status=deleted") == []
    simulator.switches = Switches(video_hostile_next=True)
    following = client.get("/v1/Recordings?PageSize=1").json()["meta"]["next_page_url"]
    assert httpx.URL(following).host == "video.twilio.com.example.net"


# Telnyx


def test_telnyx_list(connect: Connect) -> None:
    """Filters may have plain or encoded brackets; both bounds are inclusive; pages are counted."""
    client = connect("telnyx")
    recordings = client.simulator.populate(client.account, "telnyx", 30, START)
    plain = "filter[created_at][gte]=2026-03-02T10:05:00Z&filter[created_at][lte]=2026-03-02T10:20:00.000Z&page[size]=4"
    rows: list[Any] = []
    for number in range(1, 5):
        query = f"{plain}&page[number]={number}".replace("[", "%5B").replace("]", "%5D")
        page = client.get(f"/v2/recordings?{query if number % 2 else query.replace('%5B', '[')}").json()
        assert page["meta"] == {"page_number": number, "page_size": 4, "total_pages": 4, "total_results": 16}
        rows += page["data"]
    assert [row["id"] for row in rows] == [r.recording_id for r in reversed(recordings[5:21])]
    assert rows[0]["created_at"] == "2026-03-02T10:20:00.000Z"
    leg = client.get("/v2/recordings", params={"filter[call_leg_id]": recordings[0].call_id}).json()["data"]
    assert [row["id"] for row in leg] == [recordings[0].recording_id]
    assert client.get("/v2/recordings?page[size]=251").status_code == 400
    refused = client.http.get("/v2/recordings", headers={"Authorization": "Bearer no"})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (401, "401")


def test_telnyx_pages_drift_over_the_live_set(connect: Connect) -> None:
    """A deletion between two pages hides a row."""
    client = connect("telnyx")
    recordings = client.simulator.populate(client.account, "telnyx", 4, START)
    newest = client.get("/v2/recordings?page[size]=2").json()["data"]
    assert client.http.delete(f"/v2/recordings/{newest[0]['id']}").json()["data"]["id"] == newest[0]["id"]
    second = client.get("/v2/recordings?page[size]=2&page[number]=2").json()
    assert second["meta"]["total_results"] == 3
    assert [row["id"] for row in second["data"]] == [recordings[0].recording_id]
    assert client.get(f"/v2/recordings/{newest[0]['id']}").status_code == 404


def test_telnyx_urls_are_minted_by_each_reply_and_expire(connect: Connect) -> None:
    """A download URL expires after the given seconds; each reply has a new one."""
    client = connect("telnyx", switches=Switches(telnyx_url_seconds=5))
    simulator = client.simulator
    rec = simulator.add(client.account, "telnyx", created_at=START, channels=2, formats=("wav",))
    row = client.get(f"/v2/recordings/{rec.recording_id}").json()["data"]
    assert (list(row["download_urls"]), row["channels"]) == (["wav"], "dual")
    with httpx.Client() as stranger:
        assert stranger.get(row["download_urls"]["wav"]).content == simulator.media(rec, "wav").read()
        simulator.advance(timedelta(seconds=7))
        assert stranger.get(row["download_urls"]["wav"]).status_code == 403
        fresh = client.get("/v2/recordings").json()["data"][0]["download_urls"]["wav"]
        assert stranger.get(fresh).status_code == 200


def test_telnyx_shapes_by_switch(connect: Connect) -> None:
    """By switch, rows are nested, dates have six digits, and unfinished rows are listed."""
    client = connect(
        "telnyx",
        switches=Switches(
            telnyx_nested=True, telnyx_fraction_digits=6, telnyx_order="oldest", telnyx_visible="creation"
        ),
    )
    simulator = client.simulator
    simulator.add(client.account, "telnyx", created_at=START)
    simulator.add(client.account, "telnyx", completed_at=simulator.now + timedelta(hours=1))
    rows = client.get("/v2/recordings").json()["data"]
    assert [row["data"]["status"] for row in rows] == ["completed", "processing"]
    assert rows[0]["data"]["created_at"] == "2026-03-02T10:00:00.000000Z"
    bulk = client.http.post("/v2/recordings/actions/delete", json={"ids": [rows[0]["data"]["id"]]})
    assert bulk.json() == {"status": "ok"}
    assert len(client.get("/v2/recordings").json()["data"]) == 1


# SignalWire


def test_signalwire_list(connect: Connect) -> None:
    """Links contain /api/laml, dates are exclusive by default, and a conference has its own list."""
    client = connect("signalwire")
    recordings = client.simulator.populate(client.account, "signalwire", 30, START, conference_share=0.5)
    assert sorted(client.ids(f"{client.laml}?PageSize=7")) == sorted_ids(recordings)
    page = client.get(f"{client.laml}.json?PageSize=7").json()
    assert page["next_page_uri"].startswith("/api/laml/2010-04-01/Accounts/")
    assert "start" not in page
    meeting = next(r for r in recordings if r.conference_id)
    url = client.laml.replace("/Recordings", f"/Conferences/{meeting.conference_id}/Recordings")
    assert client.ids(url) == [meeting.recording_id]
    assert client.get(f"{client.laml}?Page=1").status_code == 400


@pytest.mark.parametrize(("mode", "expected"), [("exclusive", "b"), ("inclusive", "cba"), ("ignored", "dcba0")])
@pytest.mark.parametrize("written", ["2026-03-02T10:{}:00Z", "Mon, 02 Mar 2026 10:{}:00 +0000"])
def test_signalwire_date_filter(connect: Connect, mode: str, expected: str, written: str) -> None:
    """Bounds may be exclusive, inclusive or ignored, in ISO or RFC 2822."""
    client = connect("signalwire", switches=Switches(signalwire_date_filter=mode))
    for minute, name in enumerate("0abcd"):
        moment = START + timedelta(minutes=minute)
        client.simulator.add(client.account, "signalwire", recording_id=name, created_at=moment)
    bounds = {"DateCreated>": written.format("01"), "DateCreated<": written.format("03")}
    rows = client.get(client.laml, params=bounds).json()["recordings"]
    assert "".join(row["sid"] for row in rows) == expected


def test_signalwire_odd_pages(connect: Connect) -> None:
    """By switch, a page is empty with a next link, links to itself, or its link lacks the prefix."""
    client = connect("signalwire", switches=Switches(signalwire_empty_page=True))
    recordings = client.simulator.populate(client.account, "signalwire", 10, START)
    pages = list(client.pages(f"{client.laml}?PageSize=4"))
    assert [len(page["recordings"]) for page in pages] == [4, 0, 4, 2]
    assert sorted(client.ids(f"{client.laml}?PageSize=4")) == sorted_ids(recordings)
    client.simulator.switches = Switches(signalwire_repeated_next=True)
    looped = list(client.pages(f"{client.laml}?PageSize=4", limit=5))
    assert looped[1] == looped[2] == looped[4]
    client.simulator.switches = Switches(signalwire_prefixed_links=False)
    assert client.get(f"{client.laml}?PageSize=4").json()["next_page_uri"].startswith("/2010-04-01/")


def test_signalwire_types_by_switch(connect: Connect) -> None:
    """By switch, numbers are text, channels are missing, and September is `Sept`."""
    client = connect("signalwire")
    september = datetime(2025, 9, 25, 23, tzinfo=UTC)
    client.simulator.add(client.account, "signalwire", created_at=september, duration_seconds=4, channels=2)

    def row(**switches: Any) -> Any:
        client.simulator.switches = Switches(**switches)
        return client.get(client.laml).json()["recordings"][0]

    usual = row()
    assert [usual[key] for key in ("channel", "channels", "duration", "price")] == ["2", "2", 4, "-0.0025"]
    assert usual["date_created"] == usual["end_time"] == "Thu, 25 Sep 2025 23:00:00 +0000"
    assert row(signalwire_sept=True)["date_created"] == "Thu, 25 Sept 2025 23:00:00 +0000"
    assert row(signalwire_channels="int")["channels"] == 2
    assert "channels" not in row(signalwire_channels="missing")
    assert row(signalwire_duration="string", signalwire_price="float")["duration"] == "4"
    assert row(signalwire_price="null")["price"] is None


def test_signalwire_media_are_public(connect: Connect) -> None:
    """Media need no login, metadata do; unfinished and deleted recordings have no media."""
    client = connect("signalwire")
    rec = client.simulator.add(client.account, "signalwire", created_at=START, channels=2)
    url = f"{client.simulator.base_url}{client.laml}/{rec.recording_id}"
    with httpx.Client() as stranger:
        for suffix, kind in (("", "wav"), (".wav", "wav"), (".mp3", "mp3")):
            assert stranger.get(url + suffix).content == client.simulator.media(rec, kind).read()
        assert stranger.get(f"{url}.json").status_code == 401
        assert client.get(f"{url}.json").json()["sid"] == rec.recording_id
        client.simulator.switches = Switches(signalwire_media_public=False)
        assert stranger.get(url).status_code == 401
        assert [client.http.delete(f"{url}.json").status_code for _ in range(2)] == [204, 404]
        assert client.get(url).status_code == 404
