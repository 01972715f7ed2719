# ruff: noqa: S101 - these are tests
"""The contract that every provider meets, as tests: subclass `ProviderContract`, say what to test, run pytest.

    class TestAcme(ProviderContract):
        def service(self) -> Service:
            return AcmeServer()

        def provider(self, base_url: str) -> Provider:
            return Acme(base_url, "account")

All goes over real HTTP. A front stands before each of the server's origins: it watches who is told the credentials,
and spoils answers where a test wants trouble. So the server need only answer as the service does on a good day.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from typing import Any, ClassVar
from unittest import mock

import httpx

from recvault.errors import ProtocolError, RecvaultError, Unavailable
from recvault.http.addresses import origin
from recvault.media import WALKED
from recvault.models import ACCOUNT, Failure, Phase, Receipt, Recording, Scope, Verdict, Window
from recvault.providers.base import Provider
from recvault.simulator.exchange import Request
from recvault.testing import hostile
from recvault.testing.bench import Bench, Service, lay_out
from recvault.testing.front import Answer, always

START = datetime(2024, 5, 13, 9, 0, tzinfo=UTC)
MIDNIGHT = datetime(2024, 5, 14, tzinfo=UTC)
SECOND, MOMENT, DAY = timedelta(seconds=1), timedelta(milliseconds=1), timedelta(days=1)
INDIA = timezone(timedelta(hours=5, minutes=30))


class ProviderContract:
    """Inherit, and say what to test; the names that begin with `test_` are what is promised."""

    small_page = 3  # rows; `page_size` of the provider's class while pages are counted
    unknown: ClassVar[dict[str, str]] = {"a_field_of_tomorrow": "kept as it came"}

    # -- what the author says ------------------------------------------------------------------------------------------

    def service(self) -> Service:
        """Start a server that answers as the service does: a fresh one for each test."""
        raise NotImplementedError

    def provider(self, base_url: str) -> Provider:
        """The value to test, for the server's account, at this address."""
        raise NotImplementedError

    def with_unknown_field(self, body: bytes) -> bytes:
        """A list or a recording as the service sends it, `unknown` in each row: override it for other than JSON."""
        return json.dumps(hostile.widened(json.loads(body), self.unknown)).encode()

    # -- what pytest calls ---------------------------------------------------------------------------------------------

    def setup_method(self) -> None:
        self._opened = ExitStack()

    @cached_property
    def bench(self) -> Bench:
        """Service, fronts and provider, started by the test that asks: after all fixtures."""
        return lay_out(self.service(), self.provider, self._opened)

    def teardown_method(self) -> None:
        self._opened.close()

    # -- lists ---------------------------------------------------------------------------------------------------------

    def test_every_page_boundary(self) -> None:
        """Lists of n-1, n and n+1 rows, of one page, two and none, come whole and once, ties of a second included."""
        bench, added = self.bench, set[str]()
        with self._small_pages():
            for count in range(2 * self.small_page + 2):
                listed = [recording.recording_id for recording in bench.recordings()]
                assert sorted(added) == sorted(listed), f"a list of {count}"
                added.add(bench.service.add(START + timedelta(seconds=count // 2)))
            asked = len(bench.home.seen)
            bench.recordings()
            assert len(bench.home.seen) - asked >= 3, "list_request must ask for page_size rows a page"

    def test_adjoining_windows_lose_nothing(self) -> None:
        """Wherever a window ends and the next begins, each recording is in one of them: ties and midnight too."""
        offsets = (-DAY, -SECOND, -MOMENT, timedelta(), timedelta(), timedelta(), MOMENT, SECOND, DAY)
        bench = self.bench
        added = {bench.service.add(MIDNIGHT + offset) for offset in offsets}
        all_listed = bench.recordings()
        for offset in (-SECOND, -MOMENT, timedelta(), MOMENT, 500 * MOMENT, SECOND):
            edge = (MIDNIGHT + offset).astimezone(INDIA)
            windows = Window(MIDNIGHT - 2 * DAY, edge), Window(edge, MIDNIGHT + 2 * DAY)
            met = [{each.recording_id for each in bench.recordings(window)} for window in windows]
            assert added == met[0] | met[1], f"between the windows at {edge}"
            for window, ids in zip(windows, met, strict=True):
                due = {each.recording_id for each in all_listed if each.created_at in window}
                assert due <= ids, f"{window} was narrowed"

    def test_a_repeated_page_is_an_error(self) -> None:
        """A service that answers each page with the first is found out; it neither loops nor ends like a list."""
        bench, answers = self.bench, list[Answer]()
        self._add_pages()

        def repeat(request: Request, answer: Answer) -> Answer:
            answers.append(answer)
            return answers[0]

        bench.home.spoil = repeat
        with self._small_pages():
            assert ProtocolError is type(_error_of(bench.pages))

    def test_a_next_page_on_another_host_is_refused(self) -> None:
        """A link that leads off the service's host is an error, and no request goes there."""
        bench = self.bench
        self._add_pages()
        with self._small_pages():
            following = bench.pages()[0].next
            assert following is not None, "the list has more than one page"
            assert origin(httpx.URL(bench.home.origin)) == origin(following)
            page = self._first_page()
            elsewhere = hostile.led_away(page, following, bench.elsewhere.origin)
            if elsewhere == page:
                return  # it has no link: pages are counted, and their addresses built from base_url
            bench.home.spoil = always(Answer(body=elsewhere))
            assert type(_error_of(bench.pages)) is ProtocolError
            assert bench.elsewhere.seen == []

    def test_a_bad_row_does_not_cost_its_page(self) -> None:
        """A row without a date is quarantined with its body; its neighbours on the page are read."""
        bench = self.bench
        good = {bench.service.add(START), bench.service.add(START + 2 * SECOND)}
        bad = bench.service.add(START + SECOND, readable=False)
        pages = bench.pages()
        assert good == {recording.recording_id for page in pages for recording in page.recordings}
        (rejected,) = (row for page in pages for row in page.rejected)
        assert bad in rejected.body
        assert rejected.reason

    def test_an_answer_that_is_no_page_is_an_error(self) -> None:
        """HTML, another document, half a page or nothing, with status 200, is neither an empty list nor a recording."""
        bench, recording = self.bench, self._one()
        whole = self._first_page()
        bodies = [(kind, body) for kind, body in hostile.DOCUMENTS.items() if body.startswith(b"<!")]
        for kind, body in [*bodies, ("text/plain", b""), ("", whole[: len(whole) // 2]), ("", b"[]"), ("", b"<a/>")]:
            bench.home.spoil = always(Answer(headers=(("Content-Type", kind),), body=body))
            assert ProtocolError is type(_error_of(bench.pages)), body
            assert ProtocolError is type(_error_of(lambda: bench.refreshed(recording))), body
        for page in (Answer(body=whole, claimed=len(whole) + 9), Answer(body=b"\x00" * 9, headers=hostile.GZIP)):
            bench.home.spoil = always(page)
            assert isinstance(_error_of(bench.pages), Unavailable)

    def test_statuses_are_classified_alike(self) -> None:
        """Each status means the same for every provider, whatever the body; what it asks us to wait is told."""
        bench, recording = self.bench, self._one()
        for status, kind in hostile.STATUSES.items():
            for document in (b"", *hostile.DOCUMENTS.values()):
                bench.home.spoil = always(Answer(status=status, headers=(("Retry-After", "7"),), body=document))
                for call in (bench.pages, lambda: bench.refreshed(recording)):
                    error = _error_of(call)
                    assert kind is type(error), status
                    assert not isinstance(error, Unavailable) or error.retry_after == 7.0

    # -- rows ----------------------------------------------------------------------------------------------------------

    def test_a_row_is_read_as_it_was_meant(self) -> None:
        """Identity, aware UTC date, phase and formats come from the row, and alike from list and refresh."""
        bench = self.bench
        wanted = bench.service.add(START)
        (listed,) = bench.recordings()
        for recording in (listed, bench.refreshed(listed)):
            assert (bench.provider.provider, wanted) == (recording.provider, recording.recording_id)
            assert bench.provider.api == recording.api
            assert listed.account_id == recording.account_id
            assert recording.created_at.tzinfo is UTC
            assert abs(recording.created_at - START) < SECOND
            assert recording.phase == Phase.COMPLETE
            assert recording.formats
            assert set(recording.formats) <= set(bench.provider.formats)

    def test_unknown_fields_are_ignored_and_kept(self) -> None:
        """A field that nobody knows changes nothing but `raw`, where it is kept."""
        bench, plain = self.bench, self._one()
        bench.home.spoil = lambda request, answer: replace(answer, body=self.with_unknown_field(answer.body))
        (listed,) = bench.recordings()
        for recording in (listed, bench.refreshed(plain)):
            assert plain == recording
            assert plain.raw.keys() < recording.raw.keys()
            assert self.unknown.items() <= recording.raw.items()

    def test_values_travel_and_come_back(self) -> None:
        """Provider, page, recording and outcome pickle; a recording's JSON reads back the same, its row too."""
        bench, recording = self.bench, self._one()
        for value in (bench.provider, *bench.pages(), recording, bench.transfer(recording)):
            assert value == pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
        stored = Recording.from_json(recording.to_json())
        assert (recording, recording.raw) == (stored, stored.raw)

    # -- secrets -------------------------------------------------------------------------------------------------------

    def test_credentials_stay_on_their_host(self) -> None:
        """The API is told the credentials with each request, no other host ever: not a media host, not a redirect's."""
        bench, recording = self.bench, self._one()
        self._archive(recording)
        media_format = recording.formats[0]
        media = bench.service.media(recording.recording_id, media_format)
        bench.elsewhere.answering = lambda request: Answer(body=media)
        away = Answer(
            status=302, headers=(("Location", f"{bench.elsewhere.origin}/a?X-Signature=s"), ("Set-Cookie", "c=1"))
        )
        bench.spoil_media(recording.recording_id, media_format, lambda answer: away)
        self._archive(recording)
        assert bench.elsewhere.seen
        assert {bench.service.authorization} == {each.headers.get("authorization") for each in bench.home.seen}
        for request in bench.seen_elsewhere:
            assert not {"authorization", "cookie"} & request.headers.keys()

    def test_nothing_shows_a_secret(self) -> None:
        """Neither credentials nor signatures show in requests, in what is printed, in what is stored, in a failure."""
        bench, recording = self.bench, self._one()
        secrets = [*bench.service.authorization.split(), bench.service.authorization][1:]
        signed = [httpx.URL(url).query.decode() for url in recording.media_urls.values()]
        receipt = bench.transfer(recording)
        bench.spoil_media(recording.recording_id, recording.formats[0], lambda answer: Answer(status=500))
        failure = bench.transfer(recording)
        requests = hostile.requests(bench.provider, recording)
        assert not any("authorization" in request.headers for request in requests)
        own = [str(each.url) for each in requests if origin(each.url) == origin(httpx.URL(bench.home.origin))]
        printed = [repr(each) for each in (bench.provider, recording, receipt, failure, bench.session())]
        stored = [recording.to_json(), *(body.decode("latin-1") for body in bench.store.objects.values())]
        for text in (*own, *printed, *stored):
            assert not any(secret in text for secret in [*secrets, *filter(None, signed)])

    # -- ids -----------------------------------------------------------------------------------------------------------

    def test_ids_cannot_lead_elsewhere(self) -> None:
        """Whatever an id holds, a request for it stays at its place below its account."""
        bench, plain = self.bench, replace(self._one(), recording_id="anchor", media_urls={})
        for trick in hostile.TRICKS:
            tricked = replace(plain, recording_id=trick)
            pairs = zip(hostile.requests(bench.provider, plain), hostile.requests(bench.provider, tricked), strict=True)
            for usual, odd in pairs:
                assert usual.method == odd.method
                hostile.check_place(usual.url, odd.url, "anchor", trick)
        for kind in bench.provider.scopes[1:]:
            for trick in hostile.TRICKS:
                usual, odd = (bench.provider.list_request(Window(), Scope(kind, name)) for name in ("anchor", trick))
                hostile.check_place(usual.url, odd.url, "anchor", trick)

    # -- media ---------------------------------------------------------------------------------------------------------

    def test_media_of_every_format_are_proven(self) -> None:
        """Each format that the provider claims is fetched, byte for byte, and found to be what it claims."""
        bench = self.bench
        for place, media_format in enumerate(bench.provider.formats):
            wanted = bench.service.add(START + place * SECOND, media_format=media_format)
            recording = next(each for each in bench.recordings() if each.recording_id == wanted)
            assert media_format in recording.formats
            (medium,) = self._archive(recording, media_format).media
            assert bench.service.media(wanted, media_format) == bench.store.objects[medium.key]
            proven = "ok" if media_format in WALKED else "unchecked"  # of other formats no more is known than the kind
            assert (proven, media_format) == (medium.check.status, medium.media_format), medium.check

    def test_a_recording_that_waited_is_fetched(self) -> None:
        """The ledger keeps no address of media: what comes out of it hours later is fetched none the less."""
        listed = self._one()
        waited = Recording.from_json(listed.to_json())
        assert waited.media_urls == {}
        assert self._archive(waited).recording.recording_id == listed.recording_id

    def test_a_document_is_not_media(self) -> None:
        """An error page with status 200, whatever type it claims, is not archived; nor is an empty body."""
        answers = [Answer(headers=(("Content-Type", kind),), body=body) for kind, body in hostile.DOCUMENTS.items()]
        for answer in [*answers, Answer(), Answer(status=204), Answer(status=206)]:
            self._check_refused(_instead(answer))

    def test_a_short_body_is_not_media(self) -> None:
        """A body shorter or longer than its Content-Length, or encoded on the way, is not archived."""
        self._check_refused(lambda media: replace(media, body=media.body[:-1], claimed=len(media.body)))
        self._check_refused(lambda media: replace(media, body=media.body[:9], claimed=len(media.body)))
        self._check_refused(lambda media: replace(media, body=b"", claimed=len(media.body)))
        self._check_refused(lambda media: replace(media, headers=(*media.headers, *hostile.GZIP)))

    def test_a_body_that_ends_early_without_a_sign_is_not_proven(self) -> None:
        """Half of the media, without a Content-Length to tell, is never archived as sound."""
        bench, recording = self.bench, self._one()
        media_format = recording.formats[0]

        def halve(answer: Answer) -> Answer:
            return replace(answer, body=answer.body[: len(answer.body) // 2], measured=False)

        bench.spoil_media(recording.recording_id, media_format, halve)
        outcome = bench.transfer(recording, media_format)
        if media_format in WALKED:
            assert isinstance(outcome, Failure) or outcome.media[0].check.status == "suspect"
        else:
            assert isinstance(outcome, Failure) or outcome.media[0].check.status != "ok"

    def test_media_that_are_refused_are_tried_again(self) -> None:
        """429 and 5xx for media are tried again later, 404 is looked for again, and nothing is stored meanwhile."""
        verdicts = {429: Verdict.RETRY, 500: Verdict.RETRY, 503: Verdict.RETRY, 404: Verdict.NOT_READY}
        for status, verdict in verdicts.items():
            outcome = self._check_refused(_instead(Answer(status=status)))
            assert verdict == outcome.verdict, status

    def test_a_signed_address_that_is_refused_is_asked_for_anew(self) -> None:
        """A media host that says 403 once costs one more question to the API, not the recording."""
        bench, recording = self.bench, self._one()
        refusals = [Answer(status=403, body=hostile.DOCUMENTS["application/xml"])]
        for host in bench.media_hosts:
            host.spoil = lambda request, answer: refusals.pop() if refusals else answer
        self._archive(recording)
        bench.mend()

    def test_an_unfinished_recording_becomes_final(self) -> None:
        """What is not finished is not archived, whether a list shows it or not; finished, it is."""
        bench = self.bench
        wanted = bench.service.add(START, finished=False)
        early = bench.recordings()
        assert len(early) == 1 or not bench.provider.lists_unfinished
        for recording in early:
            assert (recording.phase is Phase.UNFINISHED) or not bench.provider.lists_unfinished
            outcome = bench.transfer(recording)
            assert isinstance(outcome, Failure)
            assert outcome.verdict == Verdict.NOT_READY
        assert bench.store.objects == {}
        bench.service.finish(wanted)
        for recording in early or bench.recordings():
            assert wanted == self._archive(recording).recording.recording_id

    # -- the rest of it ------------------------------------------------------------------------------------------------

    def _small_pages(self) -> Any:
        return mock.patch.object(type(self.bench.provider), "page_size", self.small_page)

    def _add_pages(self) -> None:
        for place in range(2 * self.small_page + 1):
            self.bench.service.add(START + place * SECOND)

    def _one(self) -> Recording:
        self.bench.service.add(START)
        (recording,) = self.bench.recordings()
        return recording

    def _archive(self, recording: Recording, media_format: str = "") -> Receipt:
        outcome = self.bench.transfer(recording, media_format)
        assert isinstance(outcome, Receipt), outcome
        return outcome

    def _first_page(self) -> bytes:
        request = self.bench.provider.list_request(Window(), ACCOUNT)
        return self.bench.session().send(request).body

    def _check_refused(self, spoil: Callable[[Answer], Answer]) -> Failure:
        """With this in their place, the media of a recording are not archived; honest again, they are."""
        bench = self.bench
        wanted = bench.service.add(START)
        recording = next(each for each in bench.recordings() if each.recording_id == wanted)
        media_format = recording.formats[0]
        before = dict(bench.store.objects)
        bench.spoil_media(wanted, media_format, spoil)
        outcome = bench.transfer(recording, media_format)
        bench.mend()
        assert isinstance(outcome, Failure), outcome
        assert outcome.verdict in {Verdict.RETRY, Verdict.NOT_READY}
        assert before == bench.store.objects
        self._archive(recording, media_format)
        return outcome


def _instead(answer: Answer) -> Callable[[Answer], Answer]:
    return lambda media: answer


def _error_of(call: Callable[[], object]) -> RecvaultError:
    try:
        came = call()
    except RecvaultError as error:
        return error
    raise AssertionError(f"no error was raised, and {came!r} came")
