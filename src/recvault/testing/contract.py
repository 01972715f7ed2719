# ruff: noqa: S101 - these are tests
"""The contract of every provider, as tests: subclass `ProviderContract`, supply what to test, run pytest.

    class TestAcme(ProviderContract):
        def service(self) -> Service:
            return AcmeServer()

        def provider(self, base_url: str) -> Provider:
            return Acme(base_url, "account")

Everything runs over real HTTP. A front before each of the server's origins records who receives the credentials, and
changes answers where a test needs a fault. So the server only needs to answer correctly.
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

from recvault.errors import ProtocolError, Unavailable
from recvault.http.addresses import origin
from recvault.media import WALKED
from recvault.models import ACCOUNT, Failure, Phase, Receipt, Recording, Scope, Verdict, Window
from recvault.providers.base import Provider, capped_list, deletes
from recvault.simulator.exchange import Request
from recvault.testing import hostile
from recvault.testing.bench import Bench, Service, lay_out
from recvault.testing.front import Answer, always

START = datetime(2024, 5, 13, 9, 0, tzinfo=UTC)
MIDNIGHT = datetime(2024, 5, 14, tzinfo=UTC)
SECOND, MOMENT, DAY = timedelta(seconds=1), timedelta(milliseconds=1), timedelta(days=1)
INDIA = timezone(timedelta(hours=5, minutes=30))


class ProviderContract:
    """Inherit, and supply what to test; each `test_` method is a promise."""

    small_page = 3  # rows; `page_size` of the provider's class while pages are counted
    unknown: ClassVar[dict[str, str]] = {"a_field_of_tomorrow": "kept as it came"}

    # -- what the author says ------------------------------------------------------------------------------------------

    def service(self) -> Service:
        """Start a server that answers like the service: a new one for each test."""
        raise NotImplementedError

    def provider(self, base_url: str) -> Provider:
        """Return the provider to test, for the server's account, at this address."""
        raise NotImplementedError

    def with_unknown_field(self, body: bytes) -> bytes:
        """Return a list or recording with `unknown` added to each row. Override it for formats other than JSON."""
        return json.dumps(hostile.widened(json.loads(body), self.unknown)).encode()

    # -- what pytest calls ---------------------------------------------------------------------------------------------

    def setup_method(self) -> None:
        self._opened = ExitStack()

    @cached_property
    def bench(self) -> Bench:
        """Service, fronts and provider, started on first use: after all fixtures."""
        return lay_out(self.service(), self.provider, self._opened)

    def teardown_method(self) -> None:
        self._opened.close()

    # -- lists ---------------------------------------------------------------------------------------------------------

    def test_every_page_boundary(self) -> None:
        """Lists around each page boundary are read completely and without repetition, also with equal times."""
        bench, added = self.bench, set[str]()
        with self._small_pages():
            for count in range(2 * self.small_page + 2):
                listed = [recording.recording_id for recording in bench.recordings()]
                assert sorted(added) == sorted(listed), f"a list of {count} rows in pages of {self.small_page}"
                added.add(bench.service.add(START + timedelta(seconds=count // 2)))
            asked = len(bench.home.seen)
            bench.recordings()
            made = len(bench.home.seen) - asked
            assert made >= 3, f"{made} pages for {len(added)} rows: list_request must ask for page_size rows a page"

    def test_adjoining_windows_lose_nothing(self) -> None:
        """Wherever one window ends and the next begins, each recording is in one of them, at midnight and in ties
        too."""
        offsets = (-DAY, -SECOND, -MOMENT, timedelta(), timedelta(), timedelta(), MOMENT, SECOND, DAY)
        bench = self.bench
        added = {bench.service.add(MIDNIGHT + offset) for offset in offsets}
        all_listed = bench.recordings()
        for offset in (-SECOND, -MOMENT, timedelta(), MOMENT, 500 * MOMENT, SECOND):
            edge = (MIDNIGHT + offset).astimezone(INDIA)
            windows = Window(MIDNIGHT - 2 * DAY, edge), Window(edge, MIDNIGHT + 2 * DAY)
            met = [{each.recording_id for each in bench.recordings(window)} for window in windows]
            lost = added - (met[0] | met[1])
            assert not lost, f"{lost} are in neither of the windows that meet at {edge}"
            for window, ids in zip(windows, met, strict=True):
                due = {each.recording_id for each in all_listed if each.created_at in window}
                missed = f"{due - ids} lie between {window.since} and {window.until}"
                assert due <= ids, f"{missed} and are not listed: the window was narrowed"

    def test_a_repeated_page_is_an_error(self) -> None:
        """A service that answers every page with the first one causes an error, not a loop or a short list."""
        bench, answers = self.bench, list[Answer]()
        self._add_pages()

        def repeat(request: Request, answer: Answer) -> Answer:
            answers.append(answer)
            return answers[0]

        bench.home.spoil = repeat
        if not capped_list(bench.provider):  # which has no further pages
            with self._small_pages():
                hostile.check_raises(ProtocolError, bench.pages, "a page that was given before")

    def test_a_next_page_on_another_host_is_refused(self) -> None:
        """A next link to another host is an error, and no request is sent there."""
        if capped_list((bench := self.bench).provider):
            return  # it has no next links
        self._add_pages()
        with self._small_pages():
            following = bench.pages()[0].next
            assert following is not None, "parse_page gave no next page where the list has more"
            home = httpx.URL(bench.home.origin)
            assert origin(home) == origin(following), f"the next page of {home} is on {following}"
            page = self._first_page()
            elsewhere = hostile.led_away(page, following, bench.elsewhere.origin)
            if elsewhere == page:
                return  # it has no link: pages are counted, and their addresses built from base_url
            bench.home.spoil = always(Answer(body=elsewhere))
            hostile.check_raises(ProtocolError, bench.pages, "a next page on another host")
            assert bench.elsewhere.seen == [], "a request was sent to the other host"

    def test_a_bad_row_does_not_cost_its_page(self) -> None:
        """A row without a date is quarantined with its body; the other rows of its page are read."""
        bench = self.bench
        good = {bench.service.add(START), bench.service.add(START + 2 * SECOND)}
        bad = bench.service.add(START + SECOND, readable=False)
        pages = bench.pages()
        read = {recording.recording_id for page in pages for recording in page.recordings}
        assert good == read, f"of {good} beside a row without a date, {read} were read"
        rejected = [row for page in pages for row in page.rejected]
        assert len(rejected) == 1, f"{len(rejected)} rows were rejected, where one has no date"
        assert bad in rejected[0].body, "Page.rejected must hold the row's body"
        assert rejected[0].reason, "Page.rejected must say why"

    def test_an_answer_that_is_no_page_is_an_error(self) -> None:
        """HTML, another document, half a page or nothing with status 200 is an error, for a list or a recording."""
        bench, recording = self.bench, self._one()
        whole = self._first_page()
        other = b"{}" if whole.startswith(b"[") else b"[]"  # JSON, but not a page
        bodies = [(kind, body) for kind, body in hostile.DOCUMENTS.items() if body.startswith(b"<!")]
        for kind, body in [*bodies, ("text/plain", b""), ("", whole[: len(whole) // 2]), ("", other), ("", b"<a/>")]:
            bench.home.spoil = always(Answer(headers=(("Content-Type", kind),), body=body))
            hostile.check_raises(ProtocolError, bench.pages, f"a page that is {body!r}")
            hostile.check_raises(ProtocolError, lambda: bench.refreshed(recording), f"a recording that is {body!r}")
        for page in (Answer(body=whole, claimed=len(whole) + 9), Answer(body=b"\x00" * 9, headers=hostile.GZIP)):
            bench.home.spoil = always(page)
            hostile.check_raises(Unavailable, bench.pages, "a page that breaks off", exactly=False)

    def test_statuses_are_classified_alike(self) -> None:
        """Each status means the same for every provider, whatever the body; Retry-After is passed on."""
        bench, recording = self.bench, self._one()
        for status, kind in hostile.STATUSES.items():
            for document in (b"", *hostile.DOCUMENTS.values()):
                bench.home.spoil = always(Answer(status=status, headers=(("Retry-After", "7"),), body=document))
                for call in (bench.pages, lambda: bench.refreshed(recording)):
                    error = hostile.check_raises(kind, call, f"status {status}")
                    waits = error.retry_after if isinstance(error, Unavailable) else 7.0
                    assert waits == 7.0, f"status {status} with Retry-After: 7 is tried again after {waits}"

    # -- rows ----------------------------------------------------------------------------------------------------------

    def test_a_row_is_read_as_it_was_meant(self) -> None:
        """Identity, aware UTC date, phase and formats are read from the row, the same from list and refresh."""
        bench = self.bench
        wanted = bench.service.add(START)
        listed = self.bench.only()
        for recording, where in ((listed, "the list"), (bench.refreshed(listed), "parse_recording")):
            provider, name = bench.provider.provider, recording.recording_id
            assert (provider, wanted) == (recording.provider, name), f"{where} gives {recording.provider} {name}"
            assert bench.provider.api == recording.api, f"{where} says api {recording.api!r}"
            assert listed.account_id == recording.account_id, f"list and parse_recording differ: {recording.account_id}"
            assert recording.created_at.tzinfo is UTC, f"created_at of {where} is not in UTC"
            assert abs(recording.created_at - START) < SECOND, f"{where} says {recording.created_at}, not {START}"
            assert recording.phase == Phase.COMPLETE, f"{where} says {recording.phase} of a finished recording"
            assert recording.formats, f"{where} names no format of a finished recording"
            beyond = set(recording.formats) - set(bench.provider.formats)
            assert not beyond, f"{where} names formats that the provider's class does not: {beyond}"

    def test_unknown_fields_are_ignored_and_kept(self) -> None:
        """An unknown field changes nothing except `raw`, which keeps it."""
        bench, plain = self.bench, self._one()
        bench.home.spoil = lambda request, answer: replace(answer, body=self.with_unknown_field(answer.body))
        (listed,) = bench.recordings()
        for recording in (listed, bench.refreshed(plain)):
            assert plain == recording, "a field that nobody knows changed the recording"
            assert plain.raw.keys() < recording.raw.keys(), "raw must be the row as it came"
            assert self.unknown.items() <= recording.raw.items(), "raw must be the row as it came"

    def test_values_travel_and_come_back(self) -> None:
        """Provider, page, recording and outcome pickle; a recording's JSON restores it together with its row."""
        bench, recording = self.bench, self._one()
        for value in (bench.provider, *bench.pages(), recording, bench.transfer(recording)):
            copied = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
            assert value == copied, f"{type(value).__name__} does not pickle to the same value"
        stored = Recording.from_json(recording.to_json())
        assert (recording, recording.raw) == (stored, stored.raw), "the ledger would keep another recording"

    # -- secrets -------------------------------------------------------------------------------------------------------

    def test_credentials_stay_on_their_host(self) -> None:
        """Every request to the API has the credentials; one to any other host, even after a redirect, never has."""
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
        assert bench.elsewhere.seen, "a redirect of media to an allowed host was not followed"
        told = {each.headers.get("authorization") for each in bench.home.seen}
        assert {bench.service.authorization} == told, "each request to the API, and the media below it, is authorized"
        for request in bench.seen_elsewhere:
            leaked = {"authorization", "cookie"} & request.headers.keys()
            assert not leaked, f"{leaked} went to another host, for {request.path}"

    def test_nothing_shows_a_secret(self) -> None:
        """No credential or signature appears in requests, printed values, stored objects or a failure."""
        bench, recording = self.bench, self._one()
        secrets = [*bench.service.authorization.split(), bench.service.authorization][1:]
        signed = [httpx.URL(url).query.decode() for url in recording.media_urls.values()]
        receipt = bench.transfer(recording)
        bench.spoil_media(recording.recording_id, recording.formats[0], lambda answer: Answer(status=500))
        failure = bench.transfer(recording)
        requests = hostile.requests(bench.provider, recording)
        assert not any("authorization" in request.headers for request in requests), "the session adds Authorization"
        own = [str(each.url) for each in requests if origin(each.url) == origin(httpx.URL(bench.home.origin))]
        printed = [repr(each) for each in (bench.provider, recording, receipt, failure, bench.session())]
        stored = [recording.to_json(), *(body.decode("latin-1") for body in bench.store.objects.values())]
        for text in (*own, *printed, *stored):
            assert not any(secret in text for secret in [*secrets, *filter(None, signed)]), f"a secret shows: {text}"

    # -- ids -----------------------------------------------------------------------------------------------------------

    def test_ids_cannot_lead_elsewhere(self) -> None:
        """Whatever an id contains, a request for it stays at its path below its account."""
        bench, plain = self.bench, replace(self._one(), recording_id="anchor", media_urls={})
        for trick in hostile.TRICKS:
            tricked = replace(plain, recording_id=trick)
            pairs = zip(hostile.requests(bench.provider, plain), hostile.requests(bench.provider, tricked), strict=True)
            for usual, odd in pairs:
                assert usual.method == odd.method, f"the method depends on the id {trick!r}"
                hostile.check_place(usual.url, odd.url, "anchor", trick)
        for kind in bench.provider.scopes[1:]:
            for trick in hostile.TRICKS:
                usual, odd = (bench.provider.list_request(Window(), Scope(kind, name)) for name in ("anchor", trick))
                hostile.check_place(usual.url, odd.url, "anchor", trick)

    # -- media ---------------------------------------------------------------------------------------------------------

    def test_media_of_every_format_are_proven(self) -> None:
        """Each format that the provider claims is fetched byte for byte, and recognised as that format."""
        bench = self.bench
        for place, media_format in enumerate(bench.provider.formats):
            wanted = bench.service.add(START + place * SECOND, media_format=media_format)
            recording = next(each for each in bench.recordings() if each.recording_id == wanted)
            assert media_format in recording.formats, f"the class names {media_format}, the row {recording.formats}"
            (medium,) = self._archive(recording, media_format).media
            served = bench.service.media(wanted, media_format)
            assert served == bench.store.objects[medium.key], f"other {media_format} was archived than was served"
            proven = "ok" if media_format in WALKED else "unchecked"  # of other formats no more is known than the kind
            assert (proven, media_format) == (medium.check.status, medium.media_format), medium.check

    def test_a_recording_that_was_just_listed_is_fetched(self) -> None:
        """A recording that was just listed is fetched, by the list's URLs if it has any.

        All other tests transfer a recording as restored from the ledger, which stores no URLs, so that it must first be
        read by its id.
        """
        listed = self._one()
        outcome = self.bench.transfer(listed, as_listed=True)
        assert isinstance(outcome, Receipt), f"what was just listed was not archived: {hostile.words(outcome)}"
        assert outcome.recording.recording_id == listed.recording_id

    def test_a_document_is_not_media(self) -> None:
        """An error page with status 200, of any content type, is not archived; nor is an empty body."""
        answers = [Answer(headers=(("Content-Type", kind),), body=body) for kind, body in hostile.DOCUMENTS.items()]
        for answer in [*answers, Answer(), Answer(status=204), Answer(status=206)]:
            self._check_refused(hostile.instead(answer))

    def test_a_short_body_is_not_media(self) -> None:
        """A body that is shorter or longer than its Content-Length, or encoded, is not archived."""
        self._check_refused(lambda media: replace(media, body=media.body[:-1], claimed=len(media.body)))
        self._check_refused(lambda media: replace(media, body=media.body[:9], claimed=len(media.body)))
        self._check_refused(lambda media: replace(media, body=b"", claimed=len(media.body)))
        self._check_refused(lambda media: replace(media, headers=(*media.headers, *hostile.GZIP)))

    def test_a_body_that_ends_early_without_a_sign_is_not_proven(self) -> None:
        """Half of the media, without a Content-Length, is never archived as ok."""
        bench, recording = self.bench, self._one()
        media_format = recording.formats[0]

        def halve(answer: Answer) -> Answer:
            return replace(answer, body=answer.body[: len(answer.body) // 2], measured=False)

        bench.spoil_media(recording.recording_id, media_format, halve)
        outcome = bench.transfer(recording, media_format)
        found = "refused" if isinstance(outcome, Failure) else outcome.media[0].check.status
        expected = {"refused", "suspect"} if media_format in WALKED else {"refused", "suspect", "unchecked"}
        assert found in expected, f"half of a {media_format} is archived as {found}: is duration_seconds read?"

    def test_media_that_are_refused_are_tried_again(self) -> None:
        """429 and 5xx for media are retried later, 404 is checked again, and nothing is stored meanwhile."""
        verdicts = {429: Verdict.RETRY, 500: Verdict.RETRY, 503: Verdict.RETRY, 404: Verdict.NOT_READY}
        for status, verdict in verdicts.items():
            outcome = self._check_refused(hostile.instead(Answer(status=status)))
            assert verdict == outcome.verdict, f"status {status} for media is {outcome.verdict}, not {verdict}"

    def test_a_signed_address_that_is_refused_is_asked_for_anew(self) -> None:
        """After a single 403 from a media host the recording is archived by another API request."""
        bench, recording = self.bench, self._one()
        refusals = [Answer(status=403, body=hostile.DOCUMENTS["application/xml"])]
        for host in bench.media_hosts:
            host.spoil = lambda request, answer: refusals.pop() if refusals else answer
        self._archive(recording)
        bench.end_faults()

    def test_an_unfinished_recording_becomes_final(self) -> None:
        """An unfinished recording is not archived, whether a list shows it or not; once finished, it is."""
        bench = self.bench
        wanted = bench.service.add(START, finished=False)
        early, tells = bench.recordings(), bench.provider.lists_unfinished
        assert early or not tells, "lists_unfinished says that a list shows what is not finished, and it shows nothing"
        for recording in early:
            said = recording.phase
            assert said is Phase.UNFINISHED or not tells, f"a row that is not finished is read as {said}: see `phases`"
            outcome = bench.transfer(recording)
            assert isinstance(outcome, Failure), "what is not finished was archived"
            assert outcome.verdict == Verdict.NOT_READY, f"it is not finished, and {hostile.words(outcome)}"
        assert bench.store.objects == {}, "what is not finished left something in the bucket"
        bench.service.finish(wanted)
        for recording in early or bench.recordings():
            assert wanted == self._archive(recording).recording.recording_id

    def test_what_is_deleted_is_gone(self) -> None:
        """If the provider `deletes`, its request deletes that recording, and no other."""
        if deletes(self.bench.provider):
            self.bench.check_deletion(self.bench.service.add(START), self.bench.service.add(START + SECOND))

    # -- the rest of it ------------------------------------------------------------------------------------------------

    def _small_pages(self) -> Any:
        return mock.patch.object(type(self.bench.provider), "page_size", self.small_page)

    def _add_pages(self) -> None:
        for place in range(2 * self.small_page + 1):
            self.bench.service.add(START + place * SECOND)

    def _one(self) -> Recording:
        self.bench.service.add(START)
        return self.bench.only()

    def _archive(self, recording: Recording, media_format: str = "") -> Receipt:
        outcome = self.bench.transfer(recording, media_format)
        assert isinstance(outcome, Receipt), f"{recording.recording_id} was not archived: {hostile.words(outcome)}"
        return outcome

    def _first_page(self) -> bytes:
        request = self.bench.provider.list_request(Window(), ACCOUNT)
        return self.bench.session().send(request).body

    def _check_refused(self, spoil: Callable[[Answer], Answer]) -> Failure:
        """Check that changed media are not archived, and that the true media then are."""
        bench = self.bench
        wanted = bench.service.add(START)
        recording = next(each for each in bench.recordings() if each.recording_id == wanted)
        media_format = recording.formats[0]
        before = dict(bench.store.objects)
        bench.spoil_media(wanted, media_format, spoil)
        outcome = bench.transfer(recording, media_format)
        bench.end_faults()
        assert isinstance(outcome, Failure), f"what are no media was archived as {media_format}"
        tried = {Verdict.RETRY, Verdict.NOT_READY}
        assert outcome.verdict in tried, f"what are no media is not tried again: {hostile.words(outcome)}"
        assert before == bench.store.objects, "what are no media left something in the bucket"
        self._archive(recording, media_format)
        return outcome
