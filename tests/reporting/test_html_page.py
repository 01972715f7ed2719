"""The page: one file without scripts or requests, in which every text of others is only text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from recvault.reporting.charts import COLOURS, nice
from recvault.reporting.figures import Failing, FromLedger
from recvault.reporting.html_page import page, size
from reporting.made import FULL, judged, month, sums, weeks_before

HOSTILE = """<script>alert(1)</script><img src=x onerror="alert('2')">&amp;"' </style></title>\u202e"""
VOID = {"meta", "rect", "line", "path", "br", "img", "link"}


class Parsed(HTMLParser):
    """The elements and attributes of a page, and its text; fails if an element is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def everything() -> str:
    """A page with all sections, and hostile text wherever text comes from data."""
    cells = {**month("voice"), **month(HOSTILE, each=replace(FULL, suspect=1))}
    cells.pop(next(where for where in cells if where[1] == "voice" and where[0].day == 14))
    flagged = ((HOSTILE, HOSTILE, 31),)
    failing = Failing(source=HOSTILE, reason=HOSTILE, state="dead", count=3, advice=f"`{HOSTILE}`")
    ledger = FromLedger(failing=(failing,), risks=(HOSTILE,))
    found = judged(sums(cells, weeks_before("voice", HOSTILE), flagged=flagged), ledger=ledger)
    return page(replace(found, archive=HOSTILE))


def test_hostile_text_stays_text() -> None:
    """Names and reasons with markup add no element, no attribute and no style, and are shown as they are."""
    parsed = Parsed(everything())
    assert not parsed.tags & {"script", "img", "iframe", "object", "embed", "link", "a", "form", "base"}
    assert [name for name, _ in parsed.attributes if name.startswith("on") or name in ("src", "href", "srcset")] == []
    assert parsed.text.count(HOSTILE) > 8


def test_it_loads_nothing() -> None:
    """No address is in the page but the policy's, which forbids all loading and scripts."""
    text = everything()
    assert re.findall(r"https?://|@import|url\(", text) == []
    assert "default-src 'none'; style-src 'unsafe-inline'" in text


def test_it_is_for_light_and_dark_wide_and_narrow() -> None:
    """The page has colours for both schemes, and rules for small screens."""
    text = everything()
    for rule in ("prefers-color-scheme: dark", "max-width: 560px", "width=device-width", "color-scheme"):
        assert rule in text


def test_it_shows_the_numbers() -> None:
    """Verdict, sums and usual counts are in its words."""
    text = re.sub(r"\s+", " ", Parsed(page(judged(sums(month("voice")), ledger=FromLedger()))).text)
    for words in ("Everything is here and proven", "1,240", "62.0", "31 GiB", "100 %", "10 min", "50 min"):
        assert words in text, words


def test_an_empty_range_has_a_page() -> None:
    """Without any recording the page says so."""
    assert "no recording in these days" in Parsed(page(judged(sums({})))).text


def test_unchecked_ones_are_not_called_passed() -> None:
    """A format that cannot be checked lowers the share of passed checks, and is named in the verdict."""
    cells = month("voice", each=replace(FULL, unchecked=4))
    text = Parsed(page(judged(sums(cells), ledger=FromLedger()))).text
    assert "90.00 %" in text
    assert "124 are encrypted or of a format whose content cannot be checked" in text


def test_many_sources_are_shown_in_few_colours() -> None:
    """The largest sources have colours of their own, the rest share one; each has its lane."""
    names = [f"source-{number:02}" for number in range(12)]
    text = Parsed(page(judged(sums(month(*names))))).text
    assert f"{len(names) - COLOURS + 1} others" in text
    assert all(name in text for name in names)


def test_long_lists_are_cut() -> None:
    """A list of hundreds names its beginning, and how many more there are."""
    flagged = tuple((f"source-{number}", "short", 1) for number in range(100))
    assert "and 60 more" in Parsed(page(judged(sums(month("voice"), flagged=flagged)))).text


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (1 << 30, "1 GiB"),
        (1023 << 30, "0.999 TiB"),
        (1 << 52, "4,096 TiB"),
    ],
)
def test_sizes(count: int, words: str) -> None:
    """Bytes are written with three digits."""
    assert size(count) == words


@pytest.mark.parametrize(
    ("most", "top"), [(0, 1), (1, 1), (224, 300), (3.1, 4), (10, 10), (0.7, 0.8), (101_000, 200_000)]
)
def test_scales_end_at_round_numbers(most: float, top: float) -> None:
    """A scale ends at the next round number."""
    assert nice(most) == pytest.approx(top)
