"""The table of what an answer's status means, and parsers for what providers add to it.

Services answer `{code, message}`, `{"errors": […]}`, `{"error": …}` or XML with a Code and a Message, gateways HTML:
the status decides, the body only helps the operator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from recvault.errors import CredentialsRefused, MediaExpired, NotFound, RecvaultError, Refused, Unavailable

_AT_HOME: dict[int, type[RecvaultError]] = {
    400: Refused,
    401: CredentialsRefused,
    403: CredentialsRefused,
    404: NotFound,
    405: Refused,
    410: NotFound,
    416: Refused,
    422: Refused,
}
_ELSEWHERE: dict[int, type[RecvaultError]] = {
    400: MediaExpired,
    401: MediaExpired,
    403: MediaExpired,
    404: NotFound,
    410: NotFound,
}

_XML_FIELDS = re.compile(r"<(Code|Message)>([^<]{1,200})</\1>")
_HTML = re.compile(r"\s*<(!doctype html|html)\b", re.IGNORECASE)
_QUERY = re.compile(r"\?\S*=\S*")  # of a URL in the answer, which may be signed
_NO_DATE = (ValueError, TypeError, IndexError, OverflowError)  # what email.utils raises for an invalid date
_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_ID = 64
_EPOCH_LEAST = 1_000_000  # seconds; x-ratelimit-reset may be a Unix time: even one service's documents differ


def error_for(
    status: int, *, at_home: bool, where: str, detail: str, retry_after: float | None, request_id: str = ""
) -> RecvaultError:
    """Return the error for an unsuccessful answer. An unknown status means: retry, a bounded number of times."""
    kind = (_AT_HOME if at_home else _ELSEWHERE).get(status, Unavailable)
    message = f"{where} answered {status}{f': {detail}' if detail else ''}{request_mark(request_id)}"
    if kind is Unavailable:
        return Unavailable(message, retry_after=retry_after, status=status)
    if kind is Refused:
        return Refused(message, status=status)
    if kind is CredentialsRefused:
        return CredentialsRefused(message, "check the source's credentials and their permissions").answered(status)
    return kind(message).answered(status)


def describe(body: bytes) -> str:
    """Return the provider's own error message as one short line; empty if there is none."""
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        if _HTML.match(text):
            return "an HTML page, probably from a proxy or firewall in between"
        found = dict(_XML_FIELDS.findall(text))
        return _line(found.get("Code"), found.get("Message"))
    if not isinstance(document, dict):
        return ""
    errors = document.get("errors")
    if isinstance(errors, list) and errors:
        first = errors[0]
        return (
            _line(first.get("code"), first.get("detail") or first.get("title"))
            if isinstance(first, dict)
            else _line(first)
        )
    if isinstance(inner := document.get("error"), dict):
        document = inner
    told = (document.get(name) for name in ("message", "detail", "title", "error"))
    return _line(document.get("code"), next(filter(None, told), None))


def request_id(headers: Mapping[str, str]) -> str:
    """Return the service's request id, for its support; empty if there is none."""
    named = [name for name, said in headers.items() if said and name.lower().endswith("request-id")]
    said = headers[min(named, key=_how_common)] if named else ""
    return _NOT_OF_AN_ID.sub("", said)[:_LONGEST_ID]


def _how_common(name: str) -> int:
    """Rank a header's name: a service's own is better than one that any proxy may set."""
    return 0 if not name.lower().startswith("x-") else 1 if name.lower() == "x-request-id" else 2


def request_mark(request_id: str) -> str:
    """Return the end of a message with the request id; empty without one."""
    return f" [request {request_id}]" if request_id else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the provider asks to wait: by Retry-After in both forms, or else a rate limit's reset."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    if said is not None:
        return _number(said) if _number(said) is not None else _until(said, headers.get("date"))
    reset = _number(headers.get("x-ratelimit-reset"))
    if reset is None or headers.get("x-ratelimit-remaining") not in ("0", None):
        return None
    return _since_epoch(reset, headers.get("date")) if reset > _EPOCH_LEAST else reset


def _line(*parts: object) -> str:
    return " ".join(_clean(str(part))[:200] for part in parts if part not in (None, ""))


def _clean(text: str) -> str:
    """Return one printable line, without the queries of URLs."""
    printable = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(_QUERY.sub("", printable).split())


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < float("inf") else None


def _until(moment: str, now: str | None) -> float | None:
    """Return the seconds until a date, by the answer's own Date header, because our clock may be wrong."""
    try:
        return max(0.0, (parsedate_to_datetime(moment) - parsedate_to_datetime(now or "")).total_seconds())
    except _NO_DATE:
        return None


def _since_epoch(reset: float, now: str | None) -> float | None:
    try:
        return max(0.0, reset - parsedate_to_datetime(now or "").timestamp())
    except _NO_DATE:
        return None
