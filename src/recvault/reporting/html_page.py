"""The page: HTML without scripts, fonts or requests. Everything that comes from data is escaped here or in charts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from html import escape
from importlib import resources

from recvault import __version__
from recvault.reporting.charts import COLOURS, Bars, colour, lane, stacked, ticks
from recvault.reporting.figures import Figures
from recvault.reporting.sums import Sum
from recvault.timefmt import span, when

_CODE = re.compile(r"`([^`]*)`")
_TYPED = r"<code>\1</code>"
_MOST = 40  # rows of a list; the number of the rest is told
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_GLYPHS = {
    True: '<svg class="glyph" viewBox="0 0 24 24" aria-hidden="true"><path d="M5 12.5l4.5 4.5L19 7.5"/></svg>',
    False: '<svg class="glyph" viewBox="0 0 24 24" aria-hidden="true"><path d="M12 5v9M12 18v.5"/></svg>',
}
_KEY = (
    ("proven", "all proven"),
    ("open", "not in a manifest yet"),
    ("flagged", "some flagged"),
    ("gap", "none, although there usually are some"),
    ("empty", "none"),
)


_NOTE = (
    "Days are UTC, by the time at which the provider created the recording. Proven: the media were checked when they "
    "were archived, and their SHA-256 is in a chain of manifests. This report reads the catalog, not the media. To "
    "read every byte again: <code>recvault verify --deep</code>, or <code>sha256sum --check</code> on a copy of it."
)


def page(figures: Figures) -> str:
    """Return the report as one HTML document."""
    style = resources.files("recvault.reporting").joinpath("report.css").read_text()
    title = escape(f"{figures.archive}: {_range(figures)}")
    parts = (
        _verdict(figures),
        _tiles(figures),
        _lanes(figures),
        _charts(figures),
        _speed(figures),
        _by_source(figures),
        _lists(figures),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title}</title><style>{style}</style></head>'
        f"<body><main>{_head(figures)}{''.join(parts)}{_foot()}</main></body></html>\n"
    )


def _head(figures: Figures) -> str:
    return (
        f'<header><div><p class="brand">Call recordings</p><h1>{escape(figures.archive)}</h1></div>'
        f'<p class="range">{escape(_range(figures))}<br><span>as of {when(figures.made_at)}</span></p></header>'
    )


def _verdict(figures: Figures) -> str:
    concerns = figures.concerns
    if concerns:
        said = "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in concerns) + "</ul>"
    else:
        said = f"<p>{escape(_reassurance(figures))}</p>"
    unknown = "" if figures.ledger else f"<p class='unknown'>{escape(_UNKNOWN)}</p>"
    state = "good" if not concerns else "bad"
    return (
        f'<section class="verdict {state}">{_GLYPHS[not concerns]}<div><h2>{escape(figures.headline)}</h2>'
        f"{said}{unknown}</div></section>"
    )


_UNKNOWN = (
    "Made from the bucket alone. Which recordings could not be archived, only the ledger of the machine that archives "
    "them knows."
)


def _reassurance(figures: Figures) -> str:
    total = figures.total
    listed = f"all but the {total.unlisted:,} newest are" if total.unlisted else "each is"
    unchecked = (
        f" {total.unchecked:,} are encrypted or of a format whose content cannot be checked." if total.unchecked else ""
    )
    return (
        f"{total.recordings:,} recordings were checked when they were archived, and {listed} listed by SHA-256 in a "
        f"manifest.{unchecked} No source has a gap."
    )


def _tiles(figures: Figures) -> str:
    total, sums = figures.total, figures.sums
    ever = f"{sums.ever_recordings:,} since {sums.ever_since:%b %Y}" if sums.ever_since else ""
    passed = total.recordings - total.suspect - total.unchecked
    failed = f"{total.suspect:,} flagged" + (f", {total.unchecked:,} not checkable" if total.unchecked else "")
    tiles = (
        ("Recordings", f"{total.recordings:,}", ever),
        ("Hours", _hours(total.seconds), f"{_mean(total)} a recording" if total.recordings else ""),
        ("Size", size(total.bytes), f"{size(sums.ever_bytes)} in all" if sums.ever_bytes else ""),
        ("Checks passed", _share(passed, total.recordings), failed),
        ("From call to archive", _span(total.median), f"95 % within {_span(total.slow)}" if total.recordings else ""),
    )
    drawn = (
        f"<div><dt>{name}</dt><dd>{escape(value)}</dd><small>{escape(beside)}</small></div>"
        for name, value, beside in tiles
    )
    return f'<dl class="tiles">{"".join(drawn)}</dl>'


def _lanes(figures: Figures) -> str:
    if not figures.sources:
        return ""
    key = "".join(
        f'<li><svg viewBox="0 0 10 10" class="key"><rect class="{style}" x="1" y="1" width="8" height="8"/></svg>'
        f"{words}</li>"
        for style, words in _KEY
    )
    rows = "".join(
        f'<div class="source" title="{escape(each)}">{escape(each)}</div><div>{lane(figures, each)}</div>'
        for each in figures.sources
    )
    return _section(
        "Each day", f'<div class="lanes">{rows}<div></div>{ticks(figures.days)}</div><ul class="legend">{key}</ul>'
    )


def _charts(figures: Figures) -> str:
    if not figures.sums.cells:
        return ""
    charts: tuple[tuple[str, Callable[[Sum], float], Callable[[float], str]], ...] = (
        (
            "Recordings a day",
            lambda each: each.recordings,
            lambda value: f"{value:,.0f}" if value >= 10 else f"{value:g}",
        ),
        (
            "Hours a day",
            lambda each: each.seconds / 3600,
            lambda value: f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}",
        ),
        ("Size a day", lambda each: each.bytes / _unit(figures)[0], lambda value: f"{value:,.3g} {_unit(figures)[1]}"),
    )
    drawn = "".join(
        f"<figure><figcaption>{name}</figcaption>{stacked(figures.days, _series(figures, read), words)}</figure>"
        for name, read, words in charts
    )
    names = _names(figures)
    legend = "".join(f'<li><i class="{colour(number)}"></i>{escape(name)}</li>' for number, name in enumerate(names))
    return _section("How much", f'<ul class="legend">{legend}</ul><div class="charts">{drawn}</div>')


def _names(figures: Figures) -> list[str]:
    """Return the names of series: the largest sources, and one for the rest."""
    names = [each for each in figures.sources if each in figures.sums.sources]
    return names if len(names) <= COLOURS else [*names[: COLOURS - 1], f"{len(names) - COLOURS + 1} others"]


def _series(figures: Figures, read: Callable[[Sum], float]) -> list[Bars]:
    sources = [each for each in figures.sources if each in figures.sums.sources]
    groups = (
        [[each] for each in sources]
        if len(sources) <= COLOURS
        else [
            *([each] for each in sources[: COLOURS - 1]),
            sources[COLOURS - 1 :],
        ]
    )
    cells = figures.sums.cells
    return [
        Bars(
            name,
            colour(number),
            [sum(read(cells[day, each]) for each in group if (day, each) in cells) for day in figures.days],
        )
        for number, (name, group) in enumerate(zip(_names(figures), groups, strict=True))
    ]


def _speed(figures: Figures) -> str:
    if not figures.sums.cells:
        return ""
    shares = (("within an hour", "f0", "within_hour"), ("within a day", "f1", "within_day"), ("later", "f2", "later"))
    days = figures.sums.days
    series = [
        Bars(
            name,
            style,
            [100 * getattr(each, field) / each.recordings if (each := days.get(day)) else 0 for day in figures.days],
        )
        for name, style, field in shares
    ]
    legend = "".join(f'<li><i class="{style}"></i>{name}</li>' for name, style, _ in shares)
    chart = stacked(figures.days, series, lambda value: f"{value:.0f} %", most=100)
    inside = f'<ul class="legend">{legend}</ul><figure>{chart}</figure>'
    return _section("From the end of the call to the archive", inside)


def _by_source(figures: Figures) -> str:
    rows = [[each, *_row(figures.sums.sources[each])] for each in figures.sources if each in figures.sums.sources]
    heads = ("source", "recordings", "hours", "size", "flagged", "median delay", "95 % within")
    return _section("By source", _table(heads, rows)) if rows else ""


def _row(found: Sum) -> tuple[str, ...]:
    delays = (_span(found.median), _span(found.slow))
    return f"{found.recordings:,}", _hours(found.seconds), size(found.bytes), f"{found.suspect:,}", *delays


def _lists(figures: Figures) -> str:
    found = []
    if figures.ledger and figures.ledger.failing:
        failing = [(e.source, e.reason, e.state, f"{e.count:,}", e.advice) for e in figures.ledger.failing]
        found.append(
            _section(
                "Not archived yet", _table(("source", "reason", "state", "recordings", "what to do"), failing, " prose")
            )
        )
    if figures.gaps:
        gaps = [(f"{each.day:%a %d %b %Y}", each.source, f"{each.usual:,}") for each in figures.gaps]
        found.append(_section("Gaps", f"<p>{_GAPS}</p>{_table(('day', 'source', 'usually'), gaps)}"))
    if figures.sums.flagged:
        flagged = [(source, reason or "-", f"{count:,}") for source, reason, count in figures.sums.flagged]
        found.append(_section("Flagged", f"<p>{_FLAGGED}</p>{_table(('source', 'reason', 'recordings'), flagged)}"))
    return "".join(found)


_GAPS = (
    "Days without any recording of a source that has some on most of the same weekdays. Ask the provider again with "
    "<code>recvault reconcile</code>."
)
_FLAGGED = (
    "They are archived exactly as the provider served them, but are short, damaged or cannot be decrypted. "
    "<code>recvault retry --suspect</code> fetches them again."
)


def _foot() -> str:
    return f"<footer><p>{_NOTE}</p><p>recvault {escape(__version__)}</p></footer>"


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], style: str = "") -> str:
    every = [list(row) for row in rows]
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in every[:_MOST])
    more = f"<p class='more'>and {len(every) - _MOST:,} more</p>" if len(every) > _MOST else ""
    return f'<div class="table{style}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'


def _cells(row: list[str]) -> Iterator[str]:
    for value in row:
        number = ' class="number"' if value[:1].isdigit() else ""
        yield f"<td{number}>{_CODE.sub(_TYPED, escape(value))}</td>"


def _range(figures: Figures) -> str:
    if not figures.days:
        return "no days"
    first, last = figures.days[0], figures.days[-1]
    year = "" if first.year == last.year else f" {first.year}"
    return f"{first.day} {first:%B}{year} to {last.day} {last:%B} {last.year}"


def _unit(figures: Figures) -> tuple[float, str]:
    most = max((each.bytes for each in figures.sums.days.values()), default=0)
    return (1 << 30, "GiB") if most >= 1 << 30 else (1 << 20, "MiB") if most >= 1 << 20 else (1 << 10, "KiB")


def size(count: float) -> str:
    """Write a number of bytes with three digits."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1000 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.3g} {unit}" if count < 1000 else f"{count:,.0f} {unit}"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:,.1f}"


def _mean(total: Sum) -> str:
    return span(total.seconds / total.recordings)


def _span(seconds: float | None) -> str:
    return span(seconds)


def _share(part: int, whole: int) -> str:
    """Write a share; 100 % only for all."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    return "100 %" if part == whole else f"{min(percent, 99.99):.2f} %"
