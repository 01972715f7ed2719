"""A page's statements about itself are compared with its rows; no rows may be written in many ways."""

from __future__ import annotations

from typing import Any

import pytest

from providers.bodies import ID_KEY, NAMES, ROWS, ROWS_KEY, WINDOW, answer, make, page_of
from recvault.errors import ProtocolError
from recvault.models import ACCOUNT, Scope, Window
from recvault.providers.base import Page
from recvault.providers.stated import Stated

JSON_NAMES = [name for name in NAMES if name not in {"twilio-legacy", "bandwidth"}]  # bandwidth's page is a bare list
LINKED = ["twilio", "signalwire"]
json_provider = pytest.mark.parametrize("name", JSON_NAMES)


def parse(name: str, body: Any, window: Window | None = None) -> Page:
    provider = make(name)
    return provider.parse_page(answer(provider, body, provider.list_request(window or Window(), ACCOUNT).url))


def rows(name: str, count: int) -> list[Any]:
    return [{**ROWS[name], ID_KEY.get(name, "sid"): f"RE{number}"} for number in range(count)]


@json_provider
@pytest.mark.parametrize("none", [None, [], {}, ""])
def test_no_rows_are_an_empty_page_however_they_are_written(name: str, none: Any) -> None:
    """null, {} and "" are read as an empty list, as some serialisers write it."""
    body = {**page_of(name, []), ROWS_KEY.get(name, "recordings"): none}
    page = parse(name, body)
    assert (page.recordings, page.rejected, page.next) == ((), (), None)


@json_provider
@pytest.mark.parametrize("none", [None, [], {}, ""])
def test_a_page_that_tells_of_errors_is_not_an_empty_one(name: str, none: Any) -> None:
    """An answer 200 with errors in place of rows must not look like a window without recordings."""
    body = {**page_of(name, []), ROWS_KEY.get(name, "recordings"): none, "errors": [{"title": "try again"}]}
    with pytest.raises(ProtocolError, match="without a list"):
        parse(name, body)


@json_provider
def test_rows_that_are_left_out_are_none_where_the_page_is_plainly_one(name: str) -> None:
    """A missing list is empty if the page's paging is there; without it, it is no page."""
    body = {**page_of(name, []), "page_size": 50}
    del body[ROWS_KEY.get(name, "recordings")]
    assert parse(name, body).recordings == ()
    with pytest.raises(ProtocolError, match="without a list"):
        parse(name, {"code": 20500, "message": "An internal error has occurred", "status": 200})


@pytest.mark.parametrize(
    ("name", "public"), [("twilio-video", "video.twilio.com"), ("signalwire", "acme.signalwire.com")]
)
def test_a_next_link_to_the_public_host_is_asked_of_base_url(name: str, public: str) -> None:
    """A next link to the service's public host is requested from base_url, with the same path and query."""
    provider = make(name, base_url="https://edge.example:8443")
    link = f"https://{public}/v1/Recordings?PageSize=2&Page=1&PageToken=x1"
    field = {"next_page_url": link} if name == "twilio-video" else {"next_page_uri": link}
    page = provider.parse_page(answer(provider, page_of(name, rows(name, 2), **field)))
    assert str(page.next) == "https://edge.example:8443/v1/Recordings?PageSize=2&Page=1&PageToken=x1"


@pytest.mark.parametrize(
    "host", ["video.twilio.com.example.net", "eviltwilio.com", "127.0.0.1", "u:p@video.twilio.com"]
)
def test_a_next_link_to_any_other_host_stays_one(host: str) -> None:
    """A next link to any other host stays unchanged, for the sender to refuse."""
    page = parse(
        "twilio-video", page_of("twilio-video", rows("twilio-video", 2), next_page_url=f"https://{host}/x?y=1")
    )
    assert str(page.next) == f"https://{host}/x?y=1"


@pytest.mark.parametrize("name", [*LINKED, "twilio-legacy"])
def test_fewer_rows_than_a_page_says_it_holds_are_an_error(name: str) -> None:
    """Fewer rows than `start` and `end` count are an error."""
    assert len(parse(name, page_of(name, rows_of(name, 3), start="0", end="2")).recordings) == 3
    with pytest.raises(ProtocolError, match="sent 2 rows on a page that says it holds 3"):
        parse(name, page_of(name, rows_of(name, 2), start="0", end="2"))


def rows_of(name: str, count: int) -> list[Any]:
    key = "Sid" if name == "twilio-legacy" else "sid"
    return [{**ROWS[name], key: f"RE{number}"} for number in range(count)]


@pytest.mark.parametrize(("start", "end"), [(0, 0), (None, None), ("", "9"), (5, 4), (0, -1), ("x", 3), (0, 2.5)])
def test_counts_that_tell_nothing_prove_nothing(start: Any, end: Any) -> None:
    """0 and 0 may be one row or none; a missing or invalid count proves nothing."""
    assert parse("twilio", page_of("twilio", [], start=start, end=end)).recordings == ()


@json_provider
def test_more_that_is_promised_without_a_link_is_an_error(name: str) -> None:
    """A page that says that more follow without a link is an error."""
    with pytest.raises(ProtocolError, match="more rows follow"):
        parse(name, page_of(name, [ROWS[name]], has_more=True))


@pytest.mark.parametrize(("name", "key"), [("twilio", "next_page_uri"), ("signalwire", "next_page_uri")])
def test_a_full_page_without_a_word_of_what_follows_is_an_error(name: str, key: str) -> None:
    """A null link or a page that is not full is the end; a full page without any link is an error."""
    full = page_of(name, rows(name, 4), page_size=4)
    assert parse(name, full).next is None
    del full[key]
    with pytest.raises(ProtocolError, match="does not say whether another follows"):
        parse(name, full)
    assert parse(name, {**full, "page_size": 50}).next is None


def test_a_full_page_of_video_without_its_paging_is_an_error() -> None:
    """A full page of Video without its link in `meta` is an error."""
    with pytest.raises(ProtocolError, match="does not say whether another follows"):
        parse("twilio-video", {"recordings": rows("twilio-video", 100)})
    assert len(parse("twilio-video", {"recordings": rows("twilio-video", 9)}).recordings) == 9


def test_totals_and_pages_are_read_in_every_spelling() -> None:
    """Totals and page counts are read in every spelling, and from the link to the last page."""
    stated = Stated.of({"total": "7", "num_pages": 2}, "/x?Page=4&PageSize=2")
    assert (stated.total, stated.pages) == (7, 5)
    assert (Stated.of({"total_results": 3, "total_pages": None}).total, Stated.of({}).pages) == (3, None)
    assert (parse("twilio", page_of("twilio", [ROWS["twilio"]], total=9, num_pages=3)).pages) == 3


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize(
    ("name_of", "value"),
    [
        ("DateCreated%3E", "2026-10-01T05:00:01Z"),
        ("DateCreated%3C", "2026-10-01T05:00:00Z"),
        ("DateCreated%3E", "Fri, 02 Oct 2026 05:00:00 +0000"),
    ],
)
def test_a_filter_that_comes_back_narrower_is_an_error(name: str, name_of: str, value: str) -> None:
    """A page that states a narrower filter is an error, as rows would be missed; a wider one is accepted."""
    wide = "2026-09-01" if name_of.endswith("E") else "2026-11-01"
    for link in ("uri", "next_page_uri"):
        parse(name, page_of(name, [ROWS[name]], **{link: f"/2010-04-01/Recordings?{name_of}={wide}&Page=0"}), WINDOW)
        with pytest.raises(ProtocolError, match="another list than requested"):
            parse(name, page_of(name, [ROWS[name]], **{link: f"/2010-04-01/Recordings?{name_of}={value}"}), WINDOW)


def test_video_and_its_filters_are_held_too() -> None:
    """Video's filters, in `meta.url`, are compared, too."""
    said = "https://video.twilio.com/v1/Recordings?DateCreatedAfter=2026-10-09T00:00:00Z"
    with pytest.raises(ProtocolError, match="DateCreatedAfter"):
        parse("twilio-video", page_of("twilio-video", [], url=said), WINDOW)


def test_another_calls_list_is_an_error() -> None:
    """A page that states another call is an error."""
    provider = make("signalwire")
    asked = provider.list_request(Window(), Scope("call", "CA1")).url
    with pytest.raises(ProtocolError, match="CallSid"):
        provider.parse_page(answer(provider, page_of("signalwire", [], uri="/x?CallSid=CA2"), asked))


def test_another_page_than_asked_for_is_an_error() -> None:
    """Telnyx's page 1 in place of page 2 is an error."""
    with pytest.raises(ProtocolError, match="asked for page 1 of a list, and answered with page 2"):
        parse("telnyx", page_of("telnyx", [ROWS["telnyx"]], page_number=2))


def test_a_session_that_is_told_to_have_rows_is_not_asked_for_as_a_leg() -> None:
    """An empty Telnyx page that states rows is not retried as a leg's list."""
    provider = make("telnyx")
    asked = provider.list_request(Window(), Scope("call", "84a97d76-e40f-11ed-9074-02420a0daa69")).url
    page = provider.parse_page(answer(provider, page_of("telnyx", [], total_results=3, total_pages=1), asked))
    assert (page.next, page.total) == (None, 3)
