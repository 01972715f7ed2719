"""What an answer's status, headers and body mean."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from recvault.errors import CredentialsRefused, MediaExpired, NotFound, RecvaultError, Refused, Unavailable
from recvault.http.classify import describe, error_for, request_id, retry_after

SAMPLES = Path(__file__).parent.parent / "data" / "samples"
DATE = "Mon, 13 May 2024 09:00:00 GMT"
NOON = 1715590800  # DATE as Unix time


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Mon, 13 May 2024 09:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Mon, 13 May 2024 08:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Mon, 13 May 2024 09:00:30 GMT"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"x-ratelimit-reset": "12", "x-ratelimit-remaining": "0"}, 12.0),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset": "12", "x-ratelimit-remaining": "3"}, None),
        ({"x-ratelimit-reset": str(NOON + 45), "x-ratelimit-remaining": "0", "date": DATE}, 45.0),
        ({"x-ratelimit-reset": str(NOON + 45), "x-ratelimit-remaining": "0"}, None),
        ({}, None),
    ],
)
def test_what_a_provider_asks_us_to_wait(headers: dict[str, str], expected: float | None) -> None:
    """Retry-After and a rate limit's reset, in both forms, are measured by the provider's clock, never ours."""
    assert expected == retry_after(httpx.Headers(headers))


@pytest.mark.parametrize(
    "said",
    ["", "soon", "-5", "nan", "inf", "1e999", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 99 Foo", "\xff"],
)
def test_a_strange_wait_is_none(said: str) -> None:
    """An unreadable delay is none, and no crash."""
    for name in ("retry-after", "retry-after-ms", "x-ratelimit-reset"):
        assert retry_after(httpx.Headers({name.encode(): said.encode(), b"date": DATE.encode()})) is None
    assert retry_after(httpx.Headers({b"retry-after": DATE.encode(), b"date": said.encode()})) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"code": 20404, "message": "not found", "more_info": "https://x", "status": 404}', "20404 not found"),
        (b"<TwilioResponse><RestException><Code>20404</Code><Message>gone</Message></RestException></TwilioResponse>",
         "20404 gone"),
        (b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
         "AccessDenied Request has expired"),
        (b'{"errors": [{"code": "10005", "title": "Resource not found", "detail": "no such"}]}', "10005 no such"),
        (b'{"api_id": "1", "error": "not found"}', "not found"),
        (b'{"error": {"code": 5, "message": "no such", "status": "NOT_FOUND"}}', "5 no such"),
        (b'{"errors": [{"title": "Resource not found"}]}', "Resource not found"),
        (b'{"errors": ["too many"]}', "too many"),
        (b'{"type": "about:blank", "title": "Too Many Requests", "detail": "slow down", "status": 429}', "slow down"),
        (b'{"errors": []}', ""),
        (b"<html><body>Bad Gateway</body></html>", "an HTML page, probably from a proxy or firewall in between"),
        (b"\n<!DOCTYPE HTML><p>Bad", "an HTML page, probably from a proxy or firewall in between"),
        (b"", ""),
        (b"[]", ""),
        (b"\xff\xfe\x00", ""),
        (b"[" * 4096, ""),
    ],
)  # fmt: skip
def test_a_providers_own_words(body: bytes, expected: str) -> None:
    """Code and message are read from every provider's error format; anything else gives nothing."""
    assert expected == describe(body)


@pytest.mark.parametrize(
    "name",
    [
        "telnyx_error_401.json",
        "telnyx_error_404.json",
        "telnyx_error_429.json",
        "twilio_2008_error_404.xml",
        "twilio_2010_media_404_real.xml",
        "twilio_error_401_20003.json",
    ],
)
def test_captured_errors_are_told(name: str) -> None:
    """The services' captured errors give one line each."""
    told = describe((SAMPLES / name).read_bytes())
    assert told
    assert told.isprintable()


def test_an_error_is_one_line_without_secrets() -> None:
    """An error's text has no line ends, escapes, URL queries or whole pages."""
    signed = "https://media.example/a.wav?X-Amz-Signature=s3cr3t&X-Amz-Date=1"
    body = b'{"code": 1, "message": "no\\n\\u001b[31m ' + signed.encode() + b' /v1/a?token=s3cr3t here"}'
    assert describe(body) == "1 no [31m https://media.example/a.wav /v1/a here"
    assert len(describe(b'{"message": "' + b"long " * 500 + b'"}')) == 200


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 408, 409, 410, 416, 418, 422, 425, 429, 451, 500, 503, 599]
)
def test_one_table_for_every_status(status: int) -> None:
    """401 and 403 mean the credentials at the API, the signature elsewhere; an unknown status is retried."""
    expected: dict[int, tuple[type[RecvaultError], type[RecvaultError]]] = {
        400: (Refused, MediaExpired),
        401: (CredentialsRefused, MediaExpired),
        403: (CredentialsRefused, MediaExpired),
        404: (NotFound, NotFound),
        405: (Refused, Unavailable),
        410: (NotFound, NotFound),
        416: (Refused, Unavailable),
        422: (Refused, Unavailable),
    }
    met = [
        error_for(status, at_home=at_home, where="host", detail="why", retry_after=None) for at_home in (True, False)
    ]
    assert expected.get(status, (Unavailable, Unavailable)) == tuple(type(error) for error in met)
    assert all(f"host answered {status}: why" in str(error) for error in met)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Twilio-Request-Id": "RQ" + "a" * 32, "x-request-id": "other"}, "RQ" + "a" * 32),
        ({"X-Request-Id": "720796a0-8ee9-4350-83bd-2d07a3121f1e"}, "720796a0-8ee9-4350-83bd-2d07a3121f1e"),
        ({"x-amz-request-id": "tx000_1.ab-default"}, "tx000_1.ab-default"),
        ({"twilio-request-id": "", "x-amz-request-id": "4442587FB7D0A2F9"}, "4442587FB7D0A2F9"),
        ({"x-request-id": "a b]\x1b[31m\u00e9<c>?d=e"}, "ab31mcde"),
        ({"x-request-id": "long" * 100}, "long" * 16),
        ({}, ""),
    ],
)
def test_a_services_name_for_a_request(headers: dict[str, str], expected: str) -> None:
    """Each service's request id is kept, plain and short, whatever it sends."""
    met = request_id(httpx.Headers([(name.encode(), said.encode("latin-1")) for name, said in headers.items()]))
    assert expected == met


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_an_error_names_the_request(status: int) -> None:
    """Every kind of error's message ends with the request id for the service's support."""
    for at_home in (True, False):
        error = error_for(status, at_home=at_home, where="host", detail="why", retry_after=None, request_id="RQ1")
        assert error.message == f"host answered {status}: why [request RQ1]"
        plain = error_for(status, at_home=at_home, where="host", detail="", retry_after=None)
        assert plain.message == f"host answered {status}"
