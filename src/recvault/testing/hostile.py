# ruff: noqa: S101 - these are parts of tests
"""Tables and helpers of the contract: what services and networks do, and how a client must react."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httpx

from recvault.errors import CredentialsRefused, NotFound, RecvaultError, Refused, Unavailable
from recvault.http.addresses import origin
from recvault.models import Failure, Receipt, Recording
from recvault.providers.base import OwnMedia, Provider
from recvault.testing.front import Answer

STATUSES: dict[int, type[RecvaultError]] = {
    400: Refused,
    401: CredentialsRefused,
    403: CredentialsRefused,
    404: NotFound,
    410: NotFound,
    422: Refused,
    429: Unavailable,
    500: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
DOCUMENTS = {
    "text/html": b"<!DOCTYPE html><html><body><h1>Please stand by</h1></body></html>",
    "application/json": b'{"code": 20404, "message": "The requested resource was not found"}',
    "application/xml": b'<?xml version="1.0"?><Error><Code>20404</Code><Message>not found</Message></Error>',
    "audio/x-wav": b"<html><body>a page that says it is a sound</body></html>",
}
TRICKS = ("..", ".", "a/b", "../../x", "a?b=c", "a#b", "a%2fb", "a;b", "a b", "\u00e9", "a\\b", "http://x/y", "a&b=c")
GZIP = (("Content-Encoding", "gzip"),)


def widened(value: Any, extra: dict[str, str]) -> Any:
    """Return a JSON document with `extra` added to each of its objects."""
    if isinstance(value, dict):
        return {**{key: widened(below, extra) for key, below in value.items()}, **extra}
    return [widened(below, extra) for below in value] if isinstance(value, list) else value


def led_away(body: bytes, following: httpx.URL, host: str) -> bytes:
    """Return a page with its next link (absolute, or any end of its path) on another host; unchanged without one."""
    text, path = body.decode(), following.raw_path.decode()
    ends = [path[start:] for start, each in enumerate(path.partition("?")[0]) if each == "/"]
    home = str(following).removesuffix(path)
    for link in (home + path, *ends):
        for written in (link, html.escape(link)):
            if f'"{written}"' in text:
                return text.replace(f'"{written}"', f'"{host}{written.removeprefix(home)}"').encode()
    return body


def requests(provider: Provider, recording: Recording) -> list[httpx.Request | OwnMedia]:
    """Return every request that names one recording."""
    formats = provider.formats
    media = [each for media_format in formats for each in provider.media_requests(recording, media_format)]
    return [*media, provider.refresh_request(recording), provider.delete_request(recording)]


def check_place(usual: httpx.URL, odd: httpx.URL, name: str, trick: str) -> None:
    """Check that two URLs differ only in one segment or value: `name` in the first, `trick` in the second."""
    assert origin(usual) == origin(odd)
    ours, theirs = (url.raw_path.decode().partition("?") for url in (usual, odd))
    pairs = [*zip(ours[0].split("/"), theirs[0].split("/"), strict=True)]
    pairs += [*zip(ours[2].split("&"), theirs[2].split("&"), strict=True)]
    for expected, actual in pairs:
        assert unquote(actual) == unquote(expected).replace(name, trick)
        assert actual not in {".", ".."}, f"{trick!r} leads to {odd}"
    assert not odd.fragment


def words(outcome: Failure | Receipt) -> str:
    """Describe why a transfer failed."""
    if isinstance(outcome, Receipt):
        return "it was archived"
    return f"the verdict is {outcome.verdict}, {outcome.reason}: {outcome.message}"


def instead(answer: Answer) -> Callable[[Answer], Answer]:
    """Return a change that replaces media by this answer."""
    return lambda media: answer


def check_raises(
    kind: type[RecvaultError], call: Callable[[], object], what: str, *, exactly: bool = True
) -> RecvaultError:
    """Return the error of this kind that the call raises; fail with a sentence if it does not."""
    try:
        came = call()
    except RecvaultError as error:
        right = type(error) is kind or (isinstance(error, kind) and not exactly)
        assert right, f"{what} must raise {kind.__name__}, not {type(error).__name__}: {error}"
        return error
    raise AssertionError(f"{what} must raise {kind.__name__}, and was taken for {came!r}")
