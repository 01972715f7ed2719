"""Ids in paths, links, and removed signatures."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recvault.errors import ProtocolError
from recvault.providers import urls

BASE = "https://api.twilio.com"
SIGNED = "https://s3.amazonaws.com/b/k.wav?X-Amz-Expires=600&X-Amz-Signature=abc"


@given(
    st.text(min_size=1).filter(lambda text: text.isprintable()) | st.sampled_from(["..", ".", "../..", "a/b", "?", "#"])
)
def test_an_id_is_one_segment(text: str) -> None:
    """Whatever an id contains, it is one path segment."""
    path = httpx.URL(f"{BASE}/Recordings/{urls.segment(text)}/Media").raw_path.decode()
    assert path.startswith("/Recordings/")
    assert path.endswith("/Media")
    assert path.count("/") == 3
    assert "?" not in path


def test_an_empty_id_is_refused() -> None:
    """An empty id is refused, as it would address the whole list, even for a deletion."""
    with pytest.raises(ValueError, match="empty id"):
        urls.segment("")


@pytest.mark.parametrize(
    "link",
    [
        "/2010-04-01/A/R.json?DateCreated%3E=2014-10-13T00%3A00%3A00Z&PageSize=50&Page=1&PageToken=PARE1",
        "/2010-04-01/A/R.json?a=b+c%20d&x=%2F%zz&y=%2f",
        "/2010-04-01/A%2FB/R.json?q=",
    ],
)
def test_links_are_followed_verbatim(link: str) -> None:
    """A next link keeps every byte, as recoding would break filters and tokens."""
    followed = urls.follow(BASE, link)
    assert followed is not None
    assert link == followed.raw_path.decode()
    assert followed.host == "api.twilio.com"


@pytest.mark.parametrize(
    ("link", "host"),
    [
        ("//evil.example/x", "evil.example"),
        ("https://evil.example/x", "evil.example"),
        ("/ok", "api.twilio.com"),
        ("@evil.example/x", "api.twilio.com"),
        (".evil.example/x", "api.twilio.com"),
        ("ftp://evil.example", "evil.example"),
    ],
)
def test_a_link_to_another_host_stays_one(link: str, host: str) -> None:
    """A link to another host keeps it, so that the sender can refuse it."""
    followed = urls.follow(BASE, link)
    assert followed is not None
    assert host == followed.host


@pytest.mark.parametrize("link", [7, ["/x"], {"a": 1}, "https://h:port/", "\x00"])
def test_a_link_that_is_none_is_a_protocol_error(link: object) -> None:
    """An invalid next link is an error, not the end of the list."""
    with pytest.raises(ProtocolError, match="next link"):
        urls.follow(BASE, link)


@pytest.mark.parametrize("link", [None, ""])
def test_no_link_is_the_end(link: object) -> None:
    """Null and empty mean that there is no next page."""
    assert urls.follow(BASE, link) is None


def test_one_parameter_is_set_and_the_others_keep_their_bytes() -> None:
    """Setting the page number keeps the other parameters' bytes."""
    url = httpx.URL(f"{BASE}/R?a=%2F+b&page%5Bnumber%5D=1&page[number]=9&c=%7e")
    assert urls.with_parameter(url, "page[number]", 2).query == b"a=%2F+b&c=%7e&page%5Bnumber%5D=2"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (SIGNED, "https://s3.amazonaws.com/b/k.wav"),
        ("https://storage.googleapis.com/b/k?X-Goog-Signature=a", "https://storage.googleapis.com/b/k"),
        ("https://x.blob.core.windows.net/c/b?sv=1&sig=a", "https://x.blob.core.windows.net/c/b"),
        ("http://s3.amazonaws.com/k?AWSAccessKeyId=A&Expires=1&Signature=b", "http://s3.amazonaws.com/k"),
        ("https://user:secret@example.com/a?b=1", "https://example.com/a"),
        ("https://example.com/callback?call=1&assignment=2", "https://example.com/callback?call=1&assignment=2"),
        ("/2010-04-01/A/R.json?PageToken=PA", "/2010-04-01/A/R.json?PageToken=PA"),
        ("see https://example.com", "see https://example.com"),
    ],
)
def test_signatures_are_cut_wherever_they_stand(url: str, kept: str) -> None:
    """A signed URL anywhere in a row loses its signature; everything else stays exactly."""
    assert {"a": [{"b": kept}], "c": 1} == urls.unsigned({"a": [{"b": url}], "c": 1})


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSONS)
def test_a_row_without_signatures_is_kept_untouched(row: object) -> None:
    """A row without signatures stays unchanged."""
    assert row == urls.unsigned(row)


@given(st.text())
def test_any_text_can_be_looked_at_as_a_url(text: str) -> None:
    """No text in place of a URL raises an error."""
    for url in (text, f"https://{text}", f"https://h/{text}?sig=1"):
        urls.bare(url)
        urls.host(url)
        urls.fetchable(url)
        urls.unsigned(url)
