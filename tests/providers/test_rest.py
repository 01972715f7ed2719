"""What `Rest` does for a service unlike the five."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from recvault.errors import ConfigError, ProtocolError
from recvault.models import ACCOUNT, Phase, Recording, Scope, Window
from recvault.providers.base import Page, Setting
from recvault.providers.fields import Keys
from recvault.providers.rest import Bounds, Paging, Rest
from recvault.testing import reply_to

SINCE = datetime(2026, 10, 1, 5, tzinfo=UTC)


class Acme(Rest):
    name = "acme"
    provider = "acme"
    api = "v1"
    settings: ClassVar[Mapping[str, Setting]] = {"token": Setting(secret=True)}
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("token",),)
    scopes: ClassVar[tuple[str, ...]] = ("account", "call")
    page_size = 2
    home = "https://api.acme.example"
    lists: ClassVar[Mapping[str, str]] = {"account": "/recordings"}
    filters: ClassVar[Mapping[str, str]] = {"call": "call"}
    bounds = Bounds("from", "to")
    paging = Paging(size="limit", next="next")
    rows = "recordings"
    instance = "/recordings/{recording}"
    fields: ClassVar[Mapping[str, Keys]] = {
        "recording_id": "id",
        "created_at": ("made.at", "made_at"),
        "call_id": "call.id",
        "duration_seconds": "ms",
    }
    readers: ClassVar[Mapping[str, Any]] = {"duration_seconds": lambda value: float(value) / 1000}

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return f"Bearer {values['token']}"


class Counted(Acme):
    paging = Paging(size="limit", number="page")


class Recent(Acme):
    bounds = Bounds("from", "to", earliest=datetime(2011, 1, 1, tzinfo=UTC))


ACME = Acme.from_settings("main", {})
ROW = {"id": "1", "made_at": "2026-10-01T05:00:00Z"}


def read(**changes: Any) -> Recording:
    (recording,) = ACME.parse_page(reply_to(ACME, {"recordings": [{**ROW, **changes}], "next": None})).recordings
    return recording


def query(provider: Rest, window: Window, scope: Scope = ACCOUNT) -> str:
    return str(provider.list_request(window, scope).url).partition("?")[2]


def test_the_source_names_an_account_that_has_no_id() -> None:
    """Without `account_setting` the source's name is the account, and `home` the URL."""
    assert (ACME.base_url, ACME.account_id) == ("https://api.acme.example", "main")
    assert read().account_id == "main"


def test_a_scope_without_a_list_is_a_filter() -> None:
    """A call's recordings are requested by a filter; a scope that the class does not name is refused."""
    assert query(ACME, Window(SINCE), Scope("call", "c/1")) == "from=2026-10-01T05%3A00%3A00Z&call=c%2F1&limit=2"
    with pytest.raises(ConfigError, match="not by room"):
        ACME.list_request(Window(), Scope("room", "r"))
    with pytest.raises(ValueError, match="empty id"):
        ACME.list_request(Window(), Scope("call", ""))


def test_a_scope_that_has_neither_is_no_list_of_the_account() -> None:
    """A class that names a scope without list or filter fails, and does not list the whole account."""

    class Forgetful(Acme):
        filters: ClassVar[Mapping[str, str]] = {}

    with pytest.raises(KeyError):
        Forgetful("https://api.acme.example", "main").list_request(Window(), Scope("call", "c"))


def test_all_history_may_need_a_bound() -> None:
    """A service that needs a lower bound for all history gets it, unless the window has one."""
    recent = Recent.from_settings("main", {})
    assert query(recent, Window()) == "from=2011-01-01T00%3A00%3A00Z&limit=2"
    assert query(recent, Window(SINCE)) == "from=2026-10-01T05%3A00%3A00Z&limit=2"
    assert query(ACME, Window()) == "limit=2"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"made": {"at": "2026-10-02T05:00:00Z"}}, SINCE + timedelta(days=1)),
        ({"made": {"at": ""}}, SINCE),
        ({"made": "yesterday"}, SINCE),
        ({}, SINCE),
    ],
)
def test_keys_are_tried_in_turn(changes: dict[str, Any], expected: datetime) -> None:
    """Several keys are tried in turn, nested ones too."""
    assert read(**changes).created_at == expected


@pytest.mark.parametrize(("told", "expected"), [("500.0", 0.5), ("soon", None), ({}, None), (None, None)])
def test_a_readers_error_costs_the_field_alone(told: Any, expected: float | None) -> None:
    """A value that a plug-in's reader cannot read is None, and the recording is read."""
    assert read(ms=told).duration_seconds == expected


def test_a_reader_of_the_date_may_refuse_the_row() -> None:
    """A row whose date cannot be read is quarantined with the reader's reason."""

    class Strange(Acme):
        readers: ClassVar[Mapping[str, Any]] = {"created_at": lambda value: datetime.fromtimestamp(value, UTC)}

    strange = Strange("https://api.acme.example", "main")
    page = strange.parse_page(reply_to(strange, {"recordings": [ROW], "next": None}))
    assert (page.recordings, [row.recording_id for row in page.rejected]) == ((), ["1"])
    assert page.rejected[0].reason.startswith("TypeError")


def test_without_a_status_all_is_complete() -> None:
    """Without a status field all rows are complete; without a media path their URLs are used."""
    recording = read()
    assert (recording.phase, recording.status, recording.formats) == (Phase.COMPLETE, None, ("wav", "mp3"))
    assert ACME.media_requests(recording, "wav") == ()


def counted(rows: int, url: str, **told: Any) -> Page:
    provider = Counted.from_settings("main", {})
    body = {"recordings": [{**ROW, "id": str(number)} for number in range(rows)], **told}
    return provider.parse_page(reply_to(provider, body, url=url))


@pytest.mark.parametrize(
    ("rows", "asked", "told", "expected"),
    [
        (2, 1, {"total_pages": 2}, "page=2"),
        (2, 2, {"total_pages": 2}, None),
        (2, 1, {}, "page=2"),
        (1, 2, {}, "page=3"),
        (0, 3, {}, None),
    ],
)
def test_counted_pages_end_with_their_count_or_an_empty_one(
    rows: int, asked: int, told: dict[str, Any], expected: str | None
) -> None:
    """Counted pages end at the stated count, or without one at the first empty page."""
    page = counted(rows, f"https://api.acme.example/recordings?limit=2&page={asked}", **told)
    assert (str(page.next).rpartition("&")[2] if page.next else None) == expected


def test_another_page_than_was_asked_for_is_an_error() -> None:
    """An answer with another page than requested is an error."""
    with pytest.raises(ProtocolError, match="asked for page 2 of a list, and answered with page 1"):
        counted(2, "https://api.acme.example/recordings?page=2", page_number=1)
