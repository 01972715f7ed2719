"""Pages that no provider should send: golden replies with values swapped, rows cut, texts and bytes changed.

Each change is drawn from numbers, so that a shrinking generator finds the smallest failing one.
"""

from __future__ import annotations

import copy
import json
import random
import re
from functools import cache
from typing import Any
from xml.sax.saxutils import quoteattr

from providers.bodies import sample

SAMPLES = {
    "twilio": (
        "twilio_voice_recordings_list.json",
        "twilio_voice_recordings_list_real_2011.json",
        "twilio_voice_recordings_include_soft_deleted.json",
    ),
    "twilio-legacy": ("twilio_2008_recordings_list.xml",),
    "twilio-video": ("twilio_video_recordings_list.json", "twilio_video_room_recordings_list.json"),
    "telnyx": (
        "telnyx_recordings_list_current_spec_shape.json",
        "telnyx_recordings_list_2024_docs_double_nested.json",
    ),
    "signalwire": ("signalwire_recordings_list_real_2018.json",),
    "plivo": ("plivo_recordings_list.json",),
    "bandwidth": ("bandwidth_recordings_list.json",),
}
DATES = (
    "",
    " ",
    "now",
    "0",
    "1e9",
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999-23:59",
    "99999-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-10-01T24:00:00Z",
    "2026-10-01T12:00:00+99:99",
    "2026-10-01",
    "20261001T120000Z",
    "2026-W40-4",
    "Thu, 01 Oct 2026 25:61:61 +0000",
    "Thu, 99 Foo 2026 00:00:00 GMT",
    "Sat, 01 Jan 0000 00:00:00 +0000",
    "Thu, 01 Oct 2026 00:00:00 -9999",
    "Thu, 01 Oct 2026 00:00:00 +99999999999999999999",
    "Thu, 01 Oct 99999999999999999999 00:00:00 +0000",
    "".join(chr(0x660 + int(c)) if c.isdecimal() else c for c in "2026-10-01") + "T00:00:00Z",
    "2026-10-01T12:00:00Z\x00",
    "2026-10-01T12:00:00Z\n",
    "2026-10-01T12:00:00.1234567890123456789Z",
    "-2026-10-01T12:00:00Z",
)
IDS = (
    ".",
    "..",
    "../../../etc/passwd",
    "/",
    "a/b",
    "a%2Fb",
    "%",
    "%~",
    "%2e%2e",
    "..\\..",
    "RE1?x=1#y",
    "RE1\x00",
    "RE1\r\nX-Injected: 1",
    "\x1b[2J",
    "\u202eEVIL",
    "\ud800",
    "é",
    "e\u0301",
    " RE1 ",
    "x" * 70_000,
    "schemas/sidecar-v1",
    "json",
    "RE1.json",
    "=",
)
URLS = (
    "http://169.254.169.254/latest/meta-data",
    "http://[::1",
    "https://user:pass@host/?X-Amz-Signature=abcdef123456",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "s3://bucket/key",
    "//evil.example/x",
    "https://" + "a" * 70_000,
    "http://\ud800/",
    "https://host:99999999/",
    "https://host:port/",
    "https://xn--a/",
    "\x00",
)
NUMBERS = (0, -1, 1, 2**63, -(2**63) - 1, 10**400, 1e308, 5e-324, 1.5, True, False)
HOSTILE = (*DATES, *IDS, *URLS, *NUMBERS, None, [], {}, [[]], {"": ""}, {"data": {"data": {}}}, "json", "completed")


def spoilt(name: str, seed: int) -> bytes:
    """Return a page of that provider, damaged in one or more ways."""
    draw = random.Random(f"{name} {seed}")
    text = draw.choice(SAMPLES[name])
    page = _xml(text, draw) if text.endswith("xml") else _json(text, draw)
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2))):
        page = _turned(page, draw)
    return page


def _json(text: str, draw: random.Random) -> bytes:
    page = _page(text)
    for _ in range(draw.choice((0, 1, 1, 2, 3, 8))):
        _swap(page, draw)
    written = json.dumps(page, ensure_ascii=draw.random() < 0.7, allow_nan=True)
    for _ in range(draw.choice((0, 0, 1))):
        written = _rewritten(written, draw)
    return written.encode(draw.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32-be")), "surrogatepass")


def _page(text: str) -> Any:
    return copy.deepcopy(_parsed(text))


@cache
def _parsed(text: str) -> Any:
    page = json.loads(sample(text))
    if isinstance(page, dict) and isinstance(meta := page.get("meta"), dict) and "page_number" in meta:
        meta["page_number"] = 1  # the requested one
    return page


def _swap(page: Any, draw: random.Random) -> None:
    """Replace, remove or duplicate one value."""
    inner, key = draw.choice(list(_places(page)))
    match draw.randrange(6):
        case 0:
            del inner[key]
        case 1:
            inner[key] = _deep(draw)
        case 2 if isinstance(inner, list):
            inner.insert(key, copy.deepcopy(inner[key]))
        case 3 if isinstance(inner, dict):
            inner[draw.choice((*IDS[:12], "sid", "id", "data", "status", "date_created"))] = inner[key]
        case 4:
            inner[key] = [inner[key]]
        case _:
            inner[key] = copy.deepcopy(draw.choice(HOSTILE))


def _places(value: Any, depth: int = 0) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    below = [place for key in keys for place in _places(value[key], depth + 1) if depth < 12]
    return [*[(value, key) for key in keys], *below] or [([None], 0)]


def _deep(draw: random.Random) -> Any:
    """Nest more deeply than any row."""
    value: Any = draw.choice(("x", 1, None))
    for _ in range(draw.choice((10, 70, 300))):
        value = {"a": value} if draw.random() < 0.5 else [value]
    return value


def _rewritten(text: str, draw: random.Random) -> str:
    """Write what a parsed page cannot contain: invalid numbers, a duplicate key, an unfinished escape."""
    match draw.randrange(6):
        case 0:
            number = draw.choice(("NaN", "-Infinity", "1e999", "9" * 5000, "0x1"))
            return text.replace('": "', f'": {number}, "x": "', 1)
        case 1:
            return text.replace("{", '{"sid": "RE1", "sid": "RE2", ', draw.randint(1, 3))
        case 2:
            return text.replace('"', "'")
        case 3:
            return text.replace('"completed"', r'"\ud83d"')
        case 4:
            return "[" * 100_000 + text
        case _:
            return text + draw.choice((text, "\x00", " // done", "]"))


def _xml(text: str, draw: random.Random) -> bytes:
    page = sample(text).decode().replace('end="15"', 'end="1"')  # the docs omit fourteen rows
    for _ in range(draw.choice((0, 1, 1, 2, 4))):
        page = _rewritten_xml(page, draw)
    return page.encode(draw.choice((*["utf-8"] * 7, "utf-16", "latin-1")), "replace")


def _rewritten_xml(page: str, draw: random.Random) -> str:
    value = str(draw.choice(HOSTILE)).encode("ascii", "xmlcharrefreplace").decode()
    field = draw.choice(("Sid", "AccountSid", "DateCreated", "Duration", "CallSid"))
    match draw.choice((0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)):
        case 0:
            plain = value.replace("<", "").replace("\\", "")
            return re.sub(f"<{field}>[^<]*", f"<{field}>{plain}", page, count=draw.randint(1, 2))
        case 1:
            return page.replace(f"<{field}>", f"<{field}><b>{field}</b>", 1)
        case 2:
            return page.replace(f"<{field}>", "", 1)
        case 3:
            return page.replace("<Recordings", f"<Recordings {draw.choice(('page', 'total'))}={quoteattr(value)}", 1)
        case 4:
            return page.replace("<Recording>", "<Recording/><Recording>", 1)
        case 5:
            return '<!DOCTYPE a [<!ENTITY b "c">]>' + page.replace("?>", "?><!-- x -->", 1)
        case 6:
            return page.replace("<Recording>", f'<Recording xmlns="{value[:20].replace(chr(34), "")}">', 1)
        case 7:
            return page.replace("<Recording>", "<x>" * 500 + "<Recording>", 1)
        case _:
            return page.replace("utf-8", draw.choice(("utf-7", "ebcdic", "x-none", "utf-16"))).replace("UTF-8", "x")


def _turned(page: bytes, draw: random.Random) -> bytes:
    """Damage bytes: cut, flip, double, or change the encoding."""
    where = draw.randrange(len(page) or 1)
    match draw.randrange(5):
        case 0:
            return page[:where]
        case 1:
            return page[:where] + bytes([draw.randrange(256)]) + page[where + 1 :]
        case 2:
            return page[:where] + draw.randbytes(draw.randint(1, 8)) + page[where:]
        case 3:
            return page[where:]
        case _:
            return b"\xef\xbb\xbf" + page
