"""Build URLs and requests from ids, follow a provider's links, and keep signatures out of what is stored.

httpx is imported only when the first URL is built: reading a configuration does not need it.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_plus, urlencode, urlsplit, urlunsplit

from recvault.errors import ProtocolError

if TYPE_CHECKING:
    import httpx

SIGNED = re.compile(r"\Asig\Z|signature|credential|token|accesskey|accessid|key-pair-id", re.I)  # in a parameter's name
SIGNATURE = re.compile(r"(?:^|&)(?:sig|X-Amz-Signature|X-Goog-Signature|Signature)=", re.I)  # Azure, S3, GCS …
_WORD = re.compile(r"[A-Za-z0-9_-]+")
LONGEST = 8192  # characters of a URL that is parsed and cached: a row may hold megabytes
DEEPEST = 64  # levels of a row that are kept: no provider sends more than five


def segment(text: str | None) -> str:
    """Encode an id as one path segment, which cannot lead to another path. Raises ValueError if there is none."""
    if not text:
        raise ValueError("an empty id would address the list")
    if _WORD.fullmatch(text):  # as nearly all are: nothing to encode
        return text
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")


def address(base_url: str, path: str, parameters: Iterable[tuple[str, str | int]] = ()) -> httpx.URL:
    """Build a URL; names and values are percent-encoded, so `DateCreated>` is sent as `DateCreated%3E`."""
    query = urlencode(list(parameters), quote_via=quote)
    import httpx

    return httpx.URL(f"{base_url}{path}?{query}" if query else f"{base_url}{path}")


def request(
    method: str,
    url: httpx.URL | str,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> httpx.Request:
    """Build a request without credentials."""
    import httpx

    return httpx.Request(method, url, headers=headers, extensions=extensions)


def follow(base_url: str, link: Any, public: str = "") -> httpx.URL | None:
    """Resolve a next link against the host, verbatim; None if there is none. Raises ProtocolError if it is not a URL.

    A service behind an edge or a proxy gives links to its `public` domain: these are requested from base_url, with
    the same path. A link to any other host is returned as it is; the sender refuses it.
    """
    if link is None or link == "":
        return None
    import httpx

    home = httpx.URL(base_url)
    try:
        url = home.join(link)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise ProtocolError(f"{home.host} gave a next link that is not a URL") from error
    if public and f".{url.host}".endswith(f".{public}") and not url.userinfo:
        return url.copy_with(scheme=home.scheme, host=home.host, port=home.port)
    return url


def with_parameter(url: httpx.URL, name: str, value: int) -> httpx.URL:
    """Set one parameter of a URL; all others keep their exact bytes."""
    pairs = [pair for pair in url.query.decode("ascii").split("&") if pair and not _named(pair, name)]
    return url.copy_with(query="&".join([*pairs, f"{quote(name, safe='')}={value}"]).encode("ascii"))


def _named(pair: str, name: str) -> bool:
    return unquote_plus(pair.partition("=")[0]) == name


def host(url: str) -> str:
    """Return a URL's host in lower case, empty if there is none."""
    return _host(url) if len(url) <= LONGEST else ""


@functools.lru_cache(maxsize=1024)  # each poll reads the rows of the lookback again
def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def fetchable(url: Any) -> bool:
    """Whether this is an http(s) URL that a request can be built for."""
    import httpx

    try:
        return httpx.URL(url).scheme in {"http", "https"} and bool(httpx.URL(url).host)
    except (httpx.InvalidURL, ValueError, TypeError):
        return False


def bare(url: str) -> str:
    """Strip a URL's query, fragment and user; the rest grants no access."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.split(r"[?#]", url)[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_signed(url: httpx.URL) -> bool:
    """Whether a URL carries a signature: a credential of its own, with which S3 refuses any other."""
    return bool(SIGNATURE.search(url.query.decode("ascii", "replace")))


def unsigned(value: Any, depth: int = 0) -> Any:
    """Copy a row, with `bare` URLs in place of those that carry a signature or a user."""
    if isinstance(value, str):
        return bare(value) if ("?" in value or "@" in value) and _opens(value) else value
    if isinstance(value, dict):
        if depth >= DEEPEST:
            return {}
        return {key: below if below is None else unsigned(below, depth + 1) for key, below in value.items()}
    if isinstance(value, list):
        return [unsigned(below, depth + 1) for below in value] if depth < DEEPEST else []
    return value


def _opens(text: str) -> bool:
    if not text.lower().startswith(("http://", "https://")):
        return False
    start, _, query = text.partition("?")
    return _is_credential(query) or "@" in start.split("/", 3)[2]


def _is_credential(query: str) -> bool:
    """Whether a parameter's name shows a credential. One by one: one pattern takes hours on a megabyte of `token`."""
    named = (pair.partition("=") for pair in query.split("&"))
    return any(equals and SIGNED.search(name) for name, equals, _ in named)


def basic(user: str, password: str) -> str:
    """Return HTTP Basic credentials."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
