"""Only an answer that says what was stored is a success; another server's answer never is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pairs import pairs
from recvault.errors import RecvaultError, StoreRefused, StoreUnavailable, TooLarge
from recvault.shutdown import Stop
from recvault.store import StoreFacts
from recvault.store.s3.reader import S3Reader
from recvault.store.s3.s3_store import S3Store
from store.impostor import PAGES, Impostor
from store.places import LARGE, PART, SENDERS, Place, client_of, make_put, store_with, transport_of

KEY = "recordings/RE1.json"
KNOWS = {
    "sha256": StoreFacts(sha256=True, conditional=True, tells="sha256"),
    "md5": StoreFacts(md5=True, conditional=True, tells="etag"),
    "md5 alone": StoreFacts(sums="md5", conditional=True),
    "none": StoreFacts(sums="none", conditional=True, tells="etag"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Impostor]:
    """One for all these tests, which set its answers."""
    with Impostor() as running:
        yield running


@pytest.fixture
def client(server: Impostor) -> Any:
    """The client for it."""
    return client_of(server.url)


WRITES: dict[str, Callable[[S3Store], object]] = {
    "whole": lambda store: store.put(make_put(KEY, b"{}")),
    "announced": lambda store: store.put(make_put(KEY, LARGE[: 3 << 20])),
    "in parts": lambda store: store.put(make_put(KEY, LARGE)),
    "asked": lambda store: store.ask_facts(make_put("schemas/known.json", b"{}")),
}
READS: dict[str, Callable[[S3Store], object]] = {
    "head": lambda store: store.head(KEY),
    "get": lambda store: store.get(KEY),
    "stream": lambda store: list(store.stream(KEY)),
    "list": lambda store: list(store.list("recordings/")),
    "describe": lambda store: S3Reader(store, Stop()).describe(KEY),
    "read": lambda store: S3Reader(store, Stop()).get(KEY),
    "read by boto3": lambda store: S3Reader(store, Stop(), straight=False).get(KEY),
    "described by boto3": lambda store: S3Reader(store, Stop(), straight=False).describe(KEY),
    "listed": lambda store: list(S3Reader(store, Stop()).listed("recordings/")),
}


@pytest.mark.parametrize(*pairs(page=PAGES, write=WRITES, sender=SENDERS, known=KNOWS))
def test_a_page_with_200_stores_nothing(
    server: Impostor, waits: list[float], page: str, write: str, sender: str, known: str
) -> None:
    """A page with 200 is no success for any put, but StoreUnavailable, exit 75."""
    server.says(PAGES[page])
    client = client_of(server.url, transport=transport_of(sender))
    store = store_with(sender, client, "bucket", facts=KNOWS[known], single_put_most=PART, part_least=PART)
    with pytest.raises(StoreUnavailable):
        WRITES[write](store)


@pytest.mark.parametrize("page", ["html", "xhtml", "nothing"])
@pytest.mark.parametrize("asked", [*WRITES, *READS])
@pytest.mark.parametrize("sender", SENDERS)
def test_a_refusal_in_html_is_told_with_its_status(
    server: Impostor, waits: list[float], page: str, asked: str, sender: str
) -> None:
    """A firewall's page is reported with its status, and as a page."""
    server.says(PAGES[page], status="403 Forbidden")
    client = client_of(server.url, transport=transport_of(sender))
    store = store_with(sender, client, "bucket", facts=KNOWS["sha256"], single_put_most=PART, part_least=PART)
    with pytest.raises(StoreRefused, match=r"the store answered 403 for s3://bucket.*: an HTML page"):
        {**WRITES, **READS}[asked](store)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_with_200_is_no_object_and_no_listing(
    server: Impostor, client: Any, waits: list[float], page: str, read: str
) -> None:
    """A page with 200 is neither an object nor an empty listing."""
    server.says(PAGES[page])
    with pytest.raises(StoreUnavailable):
        READS[read](store_with("fast", client, "bucket"))


@pytest.mark.parametrize("sender", SENDERS)
def test_a_page_with_an_etag_of_its_own_stores_nothing(server: Impostor, sender: str) -> None:
    """A page with an ETag of its own is no success: without a hash the object is checked."""
    for facts in KNOWS.values():
        server.says(b"OK", 'ETag: "5f3-abc"')
        client = client_of(server.url, transport=transport_of(sender))
        store = store_with(sender, client, "bucket", facts=facts)
        with pytest.raises(StoreUnavailable):
            store.put(make_put(KEY, b"{}"))


def test_a_head_without_a_length_is_no_object(server: Impostor, client: Any) -> None:
    """A HEAD with only an ETag describes nothing."""
    server.says(b"", 'ETag: "5f3-abc"', length=False)
    for read in ("head", "describe", "described by boto3"):
        with pytest.raises(StoreUnavailable, match="no length"):
            READS[read](store_with("fast", client, "bucket"))


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("<IsTruncated>false</IsTruncated><Prefix>elsewhere/</Prefix>", "another prefix"),
        ("<IsTruncated>true</IsTruncated><Prefix>recordings/</Prefix>", "not from where"),
        ("<Prefix>recordings/</Prefix>", "not a listing"),
        (
            "<IsTruncated>false</IsTruncated><Contents><Key>other/RE1.json</Key><Size>2</Size>"
            "<LastModified>2026-10-01T00:00:00.000Z</LastModified></Contents>",
            "another prefix",
        ),
    ],
)
def test_a_listing_of_something_else_is_none(server: Impostor, client: Any, inside: str, words: str) -> None:
    """A cached or truncated listing is an error, not the end of the list."""
    server.says(f"<ListBucketResult>{inside}</ListBucketResult>".encode())
    for read in ("list", "listed"):
        with pytest.raises(StoreUnavailable, match=words):
            READS[read](store_with("fast", client, "bucket"))


def test_a_sum_that_is_told_is_the_one_that_was_sent(make_place: Callable[[str], Place]) -> None:
    """A put answered with another hash has failed."""
    for sender in SENDERS:
        place = replace(make_place("aws"), sender=sender)
        store = store_with(sender, place.client, place.bucket, facts=KNOWS["sha256"])
        assert place.strict is not None
        place.strict.strictness = replace(place.strict.strictness, sha256=False)
        place.strict.faults.plan("flip", "PUT", KEY)
        with pytest.raises(StoreUnavailable, match="says that it stored"):
            store.put(make_put(KEY, b'{"a": 1}'))
        assert not place.strict.faults.unfired


def test_a_sum_that_is_told_of_a_part_is_the_one_that_was_sent(make_place: Callable[[str], Place]) -> None:
    """A part answered with another hash aborts the upload, and no object is stored."""
    place = make_place("aws")
    store = store_with("fast", place.client, place.bucket, facts=KNOWS["sha256"], single_put_most=PART, part_least=PART)
    assert place.strict is not None
    place.strict.strictness = replace(place.strict.strictness, sha256=False)
    place.strict.faults.plan("flip", "PART", KEY)
    with pytest.raises(StoreUnavailable, match="says that it stored"):
        store.put(make_put(KEY, LARGE))
    assert (place.strict.faults.unfired, place.strict.objects, place.strict.uploads) == ([], {}, {})


# Nothing is read without a bound

HUGE = 300 << 20
ETAGGED = ('ETag: "5f3-abc"',)


@pytest.mark.parametrize("told", [True, False], ids=["its length told", "not told"])
@pytest.mark.parametrize("read", ["get", "read", "read by boto3"])
def test_a_huge_object_is_not_read(server: Impostor, client: Any, read: str, told: bool) -> None:
    """A huge object under a sidecar's key is refused after at most a few MiB."""
    server.says(b"", *ETAGGED, length=told, endless=HUGE)
    with pytest.raises(TooLarge, match="too large to be a sidecar"):
        READS[read](store_with("fast", client, "bucket"))
    assert server.sent < 32 << 20


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden"])
@pytest.mark.parametrize("ask", [*READS, *WRITES, "uploads"])
def test_no_answer_is_read_without_end(
    server: Impostor, client: Any, waits: list[float], ask: str, status: str
) -> None:
    """A listing, an error or a put's answer beyond its limit is an error, and not kept."""
    if ask in ("stream", "head", "describe", "described by boto3") and status.startswith("200"):
        pytest.skip("a stream has any length, a HEAD none")
    asks = {**READS, **WRITES, "uploads": lambda store: store.clear_unfinished("", datetime.now(UTC))}
    server.says(b"", *ETAGGED, status=status, length=False, endless=HUGE)
    store = store_with("fast", client, "bucket", facts=KNOWS["sha256"], single_put_most=PART)
    with pytest.raises(RecvaultError):
        asks[ask](store)
    assert server.sent < 64 << 20
