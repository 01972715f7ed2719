"""Fuzzed pages, rows, dates and headers of all five: no crash, no loss, and no row below a watermark is missed.

RECVAULT_TEST_FUZZ=20000 pytest -n 2 tests/faults/test_fuzz_pages.py tests/faults/test_fuzz_keys.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults.spoilt import DATES, IDS, spoilt
from ledger.rows import receipt as a_receipt
from providers.bodies import NAMES, ROWS, ROWS_KEY, answer, make, page_of
from recvault import archive
from recvault.discovery.scan import Discovery
from recvault.errors import ProtocolError, RecvaultError, Unavailable
from recvault.http.classify import describe, error_for, request_id, retry_after
from recvault.ledger import Feed, Ledger
from recvault.models import ACCOUNT, Job, Recording
from recvault.providers import values
from recvault.providers.base import Page, Provider, Reply
from recvault.providers.calendar import EARLIEST
from recvault.shutdown import Stop

FUZZ = int(os.environ.get("RECVAULT_TEST_FUZZ", "30"))
NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
LOOKBACK = timedelta(hours=26)
fuzzed = settings(
    max_examples=FUZZ,
    derandomize="RECVAULT_TEST_FUZZ" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
every_provider = pytest.mark.parametrize("name", NAMES)
seeds = st.integers(0, 10**9)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One ledger for all pages, each of its own source."""
    opened = Ledger.open(tmp_path_factory.mktemp("fuzz") / "ledger.db", NOW)
    yield opened
    opened.close()


@every_provider
@fuzzed
@given(seed=seeds)
def test_a_spoilt_page_is_read_row_by_row_or_refused(name: str, seed: int) -> None:
    """A damaged page is our own error, or each of its rows is read or rejected with its body."""
    provider, body = make(name), spoilt(name, seed)
    try:
        page = provider.parse_page(answer(provider, body))
    except ProtocolError:
        return
    if name != "twilio-legacy":
        document = answer(provider, body).json()
        key = ROWS_KEY.get(name, "recordings")
        rows = (document.get(key) or []) if key else document
        assert len(page.recordings) + len(page.rejected) == len(rows)
    for recording in page.recordings:
        check(provider, recording)


@every_provider
@fuzzed
@given(seed=seeds)
def test_a_spoilt_recording_is_read_or_refused(name: str, seed: int) -> None:
    """A damaged reply about one recording is our own error, or is read."""
    provider = make(name)
    try:
        recording = provider.parse_recording(answer(provider, spoilt(name, seed)))
    except ProtocolError:
        return
    check(provider, recording)


def check(provider: Provider, recording: Recording) -> None:
    """Check that it can be stored, requested again, and described in a readable sidecar."""
    assert recording.created_at.tzinfo is UTC
    assert Recording.from_json(recording.to_json()) == recording
    for request in (provider.refresh_request(recording), *provider.media_requests(recording, "wav")):
        assert request.url.host
    job = Job(source="main", recording=recording, attempt=1, maybe_archived=False)
    body = archive.sidecar_bytes(a_receipt(job), attempts=1, fetched_from=None, formats_wanted=("wav",))
    assert json.loads(body)["recording_id"] == recording.recording_id
    assert body.count(b"\n") == 1
    for metadata in archive.object_metadata(recording, "0" * 64).values():
        assert metadata.isascii() and metadata.isprintable()


class Pages:
    """A session with one page."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.stop = Stop()

    def pages(self, provider: Provider, first: httpx.Request) -> Iterator[tuple[Page, Reply]]:
        reply = Reply(first, 200, httpx.Headers({"date": format_datetime(NOW, usegmt=True)}), self._body)
        yield provider.parse_page(reply), reply

    def once(self, request: httpx.Request) -> Reply:
        """Refuse shorter lists, which are requested if this one is incomplete."""
        raise Unavailable(f"nothing but one page is served, not {request.url}")


@every_provider
@fuzzed
@given(seed=seeds)
def test_no_row_of_a_spoilt_page_is_passed_by(name: str, ledger: Ledger, seed: int) -> None:
    """A watermark moves only if each row is registered, or quarantined with its body."""
    provider, body = make(name), spoilt(name, seed)
    feed = Feed(f"{name}{seed}", provider.provider, provider.account_id)
    discovery = Discovery(
        feed=feed,
        provider=provider,
        session=cast("Any", Pages(body)),
        ledger=ledger,
        scope=ACCOUNT,
        start_from=None,
        lookback=LOOKBACK,
        recheck_every=timedelta(minutes=2),
        clock=lambda: NOW,
        on_page=lambda found: None,
    )
    try:
        discovery.run()
    except RecvaultError:
        assert ledger.watermark(feed) is None
        return
    page = provider.parse_page(answer(provider, body))
    for recording in page.recordings:
        rows = ledger.ask.find(recording.recording_id)
        assert recording.identity in {(row["provider"], row["account_id"], row["recording_id"]) for row in rows}
    with ledger._connection.read() as db:
        kept = {row["body"] for row in db.query("SELECT body FROM quarantine WHERE source=?", [feed.source])}
    ids = [row.recording_id for row in page.rejected if row.recording_id]
    assert {row.body for row in page.rejected if ids.count(row.recording_id) < 2} <= kept
    assert ledger.watermark(feed) == (NOW - LOOKBACK if page.recordings or page.rejected else None)


@fuzzed
@given(text=st.text(max_size=40) | st.sampled_from(DATES) | st.integers().map(str) | st.floats().map(str))
def test_any_date_is_an_aware_moment_or_none_at_all(text: str) -> None:
    """A date of any form is read as storable UTC, or its row is quarantined."""
    try:
        moment = values.moment(text)
    except ValueError:
        return
    assert moment.tzinfo is UTC
    assert moment >= EARLIEST and moment.year < values.NEVER
    kept = Recording.from_json(a_recording(created_at=moment).to_json())
    assert kept.created_at == moment


def a_recording(**changes: Any) -> Recording:
    [recording] = make("twilio").parse_page(answer(make("twilio"), page_of("twilio", [ROWS["twilio"]]))).recordings
    return replace(recording, **changes)


@fuzzed
@given(
    status=st.integers(100, 999),
    headers=st.dictionaries(
        st.sampled_from(("retry-after", "x-ratelimit-reset", "date", "twilio-request-id", "x-request-id")),
        st.text(st.characters(max_codepoint=255), max_size=40) | st.sampled_from(DATES).map(ascii),
    ),
    body=st.binary(max_size=200) | st.sampled_from(IDS).map(lambda each: each.encode("utf-8", "replace")),
)
def test_any_head_and_error_is_told(status: int, headers: dict[str, str], body: bytes) -> None:
    """Whatever an error's head and body contain, it becomes one of our errors, with a numeric delay."""
    head = httpx.Headers([(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()])
    patience = retry_after(head)
    assert patience is None or 0 <= patience < float("inf")
    error = error_for(
        status, at_home=True, where="h", detail=describe(body), retry_after=patience, request_id=request_id(head)
    )
    assert isinstance(error, RecvaultError)
    assert str(error).isprintable()


def test_the_seeds_spoil_in_every_way() -> None:
    """Neither all pages are refused nor all are read: both cases are tested."""
    for name in NAMES:
        provider, refused, rejected, read = make(name), 0, 0, 0
        for seed in range(100):
            try:
                page = provider.parse_page(answer(provider, spoilt(name, seed)))
            except ProtocolError:
                refused += 1
            else:
                rejected += bool(page.rejected)
                read += bool(page.recordings)
        assert min(refused, rejected, read) >= 3, (name, refused, rejected, read)
