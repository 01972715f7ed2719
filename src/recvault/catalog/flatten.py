"""A sidecar becomes a row: every value has its column's type, or is null.

Invariant: no sidecar, however odd, makes a row that the file cannot hold, and one odd value costs that value alone. A
sidecar without identity or `created_at` makes no row: ValueError.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import unquote

from recvault.archive import Sidecar
from recvault.catalog.columns import SCALARS
from recvault.models import JSON, stamp, unstamp

IDENTITY = ("provider", "account_id", "recording_id")
_INTEGERS = range(-(1 << 63), 1 << 63)
_MOST = 1e300  # beyond, a sum over a column would be infinite
_SIP = re.compile(r"^sips?:([^@;]*)@?.*$", re.IGNORECASE | re.DOTALL)
_BRACKETS = re.compile(r"<([^<>]*)>")  # of an address after a name
_USER = re.compile(r"^\s*[a-z][a-z0-9.+-]*:", re.IGNORECASE)  # sip:, tel:, client:
_BEYOND = re.compile(r"[@;:]|\bext\b|(?<=[0-9])\s*x(?=[0-9])", re.IGNORECASE)  # a host, parameters, a password
_LETTER = re.compile(r"[^\W\d_]")
_NO_DIGIT = re.compile(r"[^0-9]")
EARLIER_KEY = "earlier_key"  # of a row, and no column: the sidecar of the edition before
_CALL = ("from_number", "to_number", "direction", "numbers")
_ESCAPED = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))
_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the catalog holds of phone numbers: `plain`, `hmac` (with a key), or `none`."""

    mode: str = "plain"
    key: bytes = b""

    def shown(self, text: str | None) -> str | None:
        """Return a party of a call as the catalog shows it."""
        if text is None or self.mode == "none":
            return None
        return self._hashed(dialled(text) or text) if self.mode == "hmac" else text

    def found_by(self, texts: Iterator[str]) -> list[str] | None:
        """Return by what a call is found; None if nothing is known."""
        if self.mode == "none":
            return None
        known = sorted({number for each in texts if (number := dialled(each))})
        return ([self._hashed(each) for each in known] if self.mode == "hmac" else known) or None

    def _hashed(self, text: str) -> str:
        return hmac.new(self.key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


PLAIN = Numbers()


def digits(text: str) -> str:
    """Return the digits of a number, or of a SIP address before its host."""
    return _NO_DIGIT.sub("", _SIP.sub(r"\1", text))


def dialled(text: str) -> str:
    """Return the digits of a party of a call; empty if it has a name, such as `client:alice2024`, and no number."""
    address = _BRACKETS.search(text)
    user = _USER.sub("", unquote(address[1] if address else text), count=1)
    number = _BEYOND.split(user, maxsplit=1)[0]
    return "" if _LETTER.search(number) else _NO_DIGIT.sub("", number)


def row(body: bytes, key: str, *, numbers: Numbers = PLAIN, manifest_number: int | None = None) -> JSON:
    """Return the row of a sidecar. Raises ValueError if it is not JSON, or says not which recording it is of."""
    try:
        return _row(Sidecar.read(body), key, numbers, manifest_number)
    except RecursionError as error:
        raise ValueError(f"its JSON is nested too deeply: {error}") from error


def facts_rows(body: bytes, *, numbers: Numbers = PLAIN) -> Iterator[JSON]:
    """Yield identity and call facts of each line of an object under `calls/`. What is not such a line is skipped."""
    for line in body.splitlines():
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(document, dict) or not isinstance(document.get("call"), dict):
            continue
        identity = {name: _text(document.get(name)) for name in IDENTITY}
        if all(identity.values()):
            yield {**identity, **_call(document["call"], numbers), "told_at": _time(document["call"].get("told_at"))}


def encoded(values: JSON) -> bytes:
    """Return a row as a line of JSON, in ASCII."""
    return _ESCAPED.encode(values).encode() + b"\n"


def month_of(values: JSON) -> str:
    """Return the month of a row: YYYY-MM."""
    return str(values["created_at"])[:7]


def _row(sidecar: Sidecar, key: str, numbers: Numbers, manifest_number: int | None) -> JSON:
    document = sidecar.document
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    values: JSON = {each.name: _READ[each.type](document.get(each.name)) for each in SCALARS}
    if not all(values[name] for name in (*IDENTITY, "created_at")):
        raise ValueError("it lacks a field of its identity, or created_at")
    media = [_medium(each) for each in _list(document.get("media")) if isinstance(each, dict)]
    archive = _dict(document.get("archive"))
    return {
        **values,
        "day": values["created_at"][:10],
        **_call(_call_of(document), numbers),
        **_first(media[0] if media else {}),
        "media": media,
        "encrypted": document.get("encryption") is not None,
        "archived_at": _time(archive.get("archived_at")),
        "attempts": _integer(archive.get("attempts")),
        "sidecar_key": _text(key),
        "sidecar_sha256": sidecar.sha256,
        "manifest_number": manifest_number,
        "raw": _json(document.get("raw")) if numbers.mode == "plain" else None,
        EARLIER_KEY: _text(_dict(archive.get("earlier")).get("sidecar_key")),
    }


def _call_of(document: JSON) -> JSON:
    """Return the call facts of a sidecar; if it has none, what its provider's row says."""
    call = document.get("call")
    if isinstance(call, dict):
        return call
    raw = _dict(document.get("raw"))
    return {name: raw[name] for name in ("from", "to", "direction") if isinstance(raw.get(name), str)}


def _call(call: JSON, numbers: Numbers) -> JSON:
    legs = [each for each in _list(call.get("legs")) if isinstance(each, dict)]
    parties = [call.get("from"), call.get("to"), call.get("forwarded_from")]
    parties += [each.get(side) for each in legs for side in ("from", "to")]
    found = numbers.found_by(text for each in parties if (text := _text(each)))
    shown = [numbers.shown(_text(call.get(side))) for side in ("from", "to")]
    return dict(zip(_CALL, (*shown, _text(call.get("direction")), found), strict=True))


def _medium(medium: JSON) -> JSON:
    checked = _dict(medium.get("checked"))
    return {
        **{name: _text(medium.get(name)) for name in ("key", "media_format", "sha256", "content_type", "codec")},
        **{name: _integer(medium.get(name)) for name in ("bytes", "sample_rate", "channels")},
        "duration_seconds": _number(medium.get("duration_seconds")),
        "checked": _text(checked.get("status")),
        "checked_reason": _text(checked.get("reason")),
    }


def _first(medium: JSON) -> JSON:
    names = ("key", "format", "bytes", "sha256", "codec", "sample_rate", "channels")
    values = {f"media_{name}": medium.get("media_format" if name == "format" else name) for name in names}
    seconds = {"media_seconds": medium.get("duration_seconds")}
    return {**values, **seconds, **{name: medium.get(name) for name in ("checked", "checked_reason")}}


def _text(value: Any) -> str | None:
    """Return a text that every reader can hold: without NUL and half characters."""
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _integer(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and value in _INTEGERS else None


def _number(value: Any) -> float | None:
    if type(value) not in (int, float):
        return None
    return float(value) if -_MOST < value < _MOST and math.isfinite(value) else None


def _time(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        moment = unstamp(value)
        return stamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _json(value: Any) -> str | None:
    """Return JSON text that every reader can parse: no NaN, and half characters as escapes."""
    if value is None:
        return None
    try:
        text = _COMPACT.encode(value)
    except ValueError:
        text = _COMPACT.encode(json.loads(json.dumps(value), parse_constant=lambda _: None))
    return text.encode("utf-8", "backslashreplace").decode()


def _dict(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_READ = {"VARCHAR": _text, "BIGINT": _integer, "DOUBLE": _number, "TIMESTAMPTZ": _time}
