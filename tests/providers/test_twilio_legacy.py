"""Twilio's REST API of 2008-08-01."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from providers.bodies import ROWS, SETTINGS, WINDOW, answer, sample, xml_page
from recvault.errors import ProtocolError
from recvault.models import ACCOUNT, Phase
from recvault.providers.base import Page
from recvault.providers.twilio_legacy import TwilioLegacy

LEGACY = TwilioLegacy.from_settings("main", SETTINGS)
AC = "/2008-08-01/Accounts/AC309475e5fede1b49e100272a8640f438"
ROW = ROWS["twilio-legacy"]
BOMB = """<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>
<TwilioResponse><Recordings><Recording><Sid>&b;</Sid></Recording></Recordings></TwilioResponse>"""
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><TwilioResponse><Recordings>&a;</Recordings></TwilioResponse>'


def parse(body: str, url: str | None = None) -> Page:
    return LEGACY.parse_page(answer(LEGACY, body, url))


def test_the_list_is_filtered_by_days() -> None:
    """The list is filtered by dates; the page size is `num`."""
    expected = f"{AC}/Recordings?DateCreated%3E=2026-10-01&DateCreated%3C=2026-10-03&num=1000"
    assert expected == LEGACY.list_request(WINDOW, ACCOUNT).url.raw_path.decode()


def test_the_docs_page_is_read() -> None:
    """The documents' sample gives both rows with their offsets, complete as there is no status."""
    text = sample("twilio_2008_recordings_list.xml").decode()
    page = parse(text.replace('end="15"', 'end="1"'))  # the docs omit fourteen rows
    first, second = page.recordings
    assert datetime(2008, 4, 1, 5, 7, 15, tzinfo=UTC) == first.created_at
    assert (first.duration_seconds, second.duration_seconds) == (123.0, 45.0)
    assert (first.status, first.phase, first.formats) == (None, Phase.COMPLETE, ("wav", "mp3"))
    assert (page.next, page.total) == (None, 16)


def test_raw_is_the_rows_elements() -> None:
    """Raw has each element by name, also unknown ones; an empty one is null."""
    (recording,) = parse(xml_page([{**ROW, "Duration": None, "Price": "1"}])).recordings
    assert recording.raw == {**ROW, "Duration": None, "Price": "1"}
    assert recording.duration_seconds is None


@pytest.mark.parametrize("body", [BOMB, OUTSIDE, "<!DOCTYPE html><TwilioResponse><Recordings/></TwilioResponse>"])
def test_documents_with_a_dtd_are_refused(body: str) -> None:
    """A document with a DTD is refused, not expanded."""
    with pytest.raises(ProtocolError, match="plain XML"):
        parse(body)


@pytest.mark.parametrize("name", ["twilio_2008_error_404.xml", "twilio_2010_media_404_real.xml"])
def test_an_error_is_no_page(name: str) -> None:
    """An error document is neither a page nor a recording."""
    with pytest.raises(ProtocolError, match="no <Recordings>"):
        parse(sample(name).decode())
    with pytest.raises(ProtocolError, match="not a recording"):
        LEGACY.parse_recording(answer(LEGACY, sample(name)))


def test_a_next_link_is_followed_verbatim() -> None:
    """`nextpageuri`, if given, is joined to the host."""
    link = f"{AC}/Recordings?DateCreated%3E=2009-07-04&amp;num=2&amp;page=1"
    page = parse(xml_page([], page="0", numpages="9", nextpageuri=link))
    assert f"https://api.twilio.com{link.replace('&amp;', '&')}" == str(page.next)


@pytest.mark.parametrize("link", ["//evil.example/x", "https://evil.example/x"])
def test_a_hostile_next_link_shows_its_host(link: str) -> None:
    """A next link to another host keeps that host."""
    page = parse(xml_page([], nextpageuri=link))
    assert page.next is not None
    assert page.next.host == "evil.example"


@pytest.mark.parametrize(("page", "pages", "more"), [(0, 3, 1), (1, 3, 2), (2, 3, None), (0, 1, None), (0, 0, None)])
def test_pages_are_counted_where_there_is_no_link(page: int, pages: int, more: int | None) -> None:
    """Without `nextpageuri` pages are counted up to `numpages`; the filters keep their bytes."""
    url = f"https://api.twilio.com{AC}/Recordings?DateCreated%3E=2009-07-04&num=1000"
    for attributes in ({"nextpageuri": ""}, {}):
        found = parse(xml_page([ROW], page=str(page), numpages=str(pages), **attributes), f"{url}&page={page}").next
        assert (None if more is None else f"{url}&page={more}") == (None if found is None else str(found))


def test_a_full_page_without_any_paging_is_not_the_last() -> None:
    """Without any paging a full page is followed by the next, a shorter one is the last."""
    full = parse(xml_page([ROW] * LEGACY.page_size))
    assert full.next is not None
    assert full.next.params["page"] == "1"
    assert parse(xml_page([ROW])).next is None


def test_one_recording_is_asked_for_as_xml() -> None:
    """Metadata end in `.xml`, media in their format, and deletion has no extension."""
    (recording,) = parse(xml_page([ROW])).recordings
    instance = f"{AC}/Recordings/RE41331862605f3d662488fdafda2e175f"
    (media,) = LEGACY.media_requests(recording, "wav")
    paths = [LEGACY.refresh_request(recording).url.path, media.url.path, LEGACY.delete_request(recording).url.path]
    assert [f"{instance}.xml", f"{instance}.wav", instance] == paths


def test_one_recording_is_read() -> None:
    """The reply for one recording is read like a row."""
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in ROW.items())
    body = f"<TwilioResponse><Recording>{fields}</Recording></TwilioResponse>"
    assert ROW["Sid"] == LEGACY.parse_recording(answer(LEGACY, body)).recording_id


def test_both_voice_apis_name_one_recording_alike() -> None:
    """A recording in the 2008 and 2010 lists has one identity."""
    (recording,) = parse(xml_page([ROW])).recordings
    assert ("twilio", "AC309475e5fede1b49e100272a8640f438", ROW["Sid"]) == recording.identity
