"""Charts as inline SVG: drawn in a box that stretches to any width, so all words are HTML beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

from recvault.reporting.figures import Cell, Figures

COLOURS = 8  # series; further ones share the last
_LONG = 100  # days; beyond, bars touch, and ticks name months
_STATES = {
    Cell.PROVEN: "all proven",
    Cell.OPEN: "proven, not in a manifest yet",
    Cell.FLAGGED: "some flagged",
    Cell.GAP: "no recordings, although there usually are some",
    Cell.EMPTY: "no recordings",
}


_SHAPES = {
    # from the top, height, CSS class
    Cell.PROVEN: ((0, 100, "proven"),),
    Cell.OPEN: ((0, 100, "open"),),
    Cell.FLAGGED: ((0, 62, "proven"), (62, 38, "flagged")),
    Cell.GAP: ((3, 94, "gap"),),
    Cell.EMPTY: ((88, 12, "empty"),),
}


@dataclass(frozen=True, slots=True)
class Bars:
    """A name, its CSS class, and a value for each day."""

    name: str
    style: str
    values: Sequence[float]


def stacked(days: Sequence[date], series: Sequence[Bars], words: Callable[[float], str], most: float = 0) -> str:
    """Return bars a day, one series on the other, with a scale and ticks. `words` writes a value."""
    totals = [sum(each.values[index] for each in series) for index in range(len(days))]
    top = most or nice(max(totals, default=0))
    bars = "".join(_bar(index, days, series, words, top) for index in range(len(days)))
    lines = "".join(f'<line x1="0" x2="{len(days)}" y1="{y}" y2="{y}" class="grid"/>' for y in (0, 50, 100))
    scale = "".join(f"<span>{escape(words(top * part))}</span>" for part in (1, 0.5, 0))
    box = f'<svg viewBox="0 0 {len(days)} 100" preserveAspectRatio="none" role="img">{lines}{bars}</svg>'
    return f'<div class="plot"><div class="scale">{scale}</div><div class="area">{box}{ticks(days)}</div></div>'


def _bar(index: int, days: Sequence[date], series: Sequence[Bars], words: Callable[[float], str], top: float) -> str:
    drawn, y = [], 100.0
    for each in series:
        height = 100 * each.values[index] / top if top else 0
        if height:
            y -= height
            drawn.append(f'<rect {_across(index, len(days))} y="{y:.3f}" height="{height:.3f}" ')
            drawn.append(f'class="{each.style}"/>')
    told = [f"{each.name}: {words(each.values[index])}" for each in reversed(series) if each.values[index]]
    title = escape("\n".join([f"{days[index]:%a %d %b}", *(told or ["none"])]))
    # An invisible bar of full height makes also small and missing bars answer to the pointer.
    return (
        f'<g>{"".join(drawn)}<rect x="{index}" y="0" width="1" height="100" class="touch"/><title>{title}</title></g>'
    )


def lane(figures: Figures, source: str) -> str:
    """Return a cell for each day of a source. Height and outline tell the state too, not the colour alone."""
    cells = "".join(_cell(index, day, figures, source) for index, day in enumerate(figures.days))
    box = f'viewBox="0 0 {len(figures.days)} 100" preserveAspectRatio="none" role="img"'
    return f'<svg {box} class="lane">{cells}</svg>'


def _cell(index: int, day: date, figures: Figures, source: str) -> str:
    state = figures.cell(day, source)
    found = figures.sums.cells.get((day, source))
    count = f"{found.recordings:,} recordings, " if found else ""
    flagged = f" ({found.suspect:,})" if found and found.suspect else ""
    title = escape(f"{source}, {day:%a %d %b}: {count}{_STATES[state]}{flagged}")
    shape = "".join(
        f'<rect {_across(index, len(figures.days))} y="{y}" height="{height}" class="{style}"/>'
        for y, height, style in _SHAPES[state]
    )
    return f'<g>{shape}<rect x="{index}" y="0" width="1" height="100" class="touch"/><title>{title}</title></g>'


def _across(index: int, count: int) -> str:
    """Return where a day's bar begins, and its width."""
    return f'x="{index + 0.08:.2f}" width="0.84"' if count <= _LONG else f'x="{index}" width="1"'


def ticks(days: Sequence[date]) -> str:
    """Return four or five dates beneath a box of days."""
    return f'<div class="ticks">{"".join(_ticks(days))}</div>'


def _ticks(days: Sequence[date]) -> Iterator[str]:
    step = max(1, math.ceil(len(days) / (4 if len(days) > _LONG else 5)))
    for index in range(0, len(days), step):
        name = f"{days[index]:%b %Y}" if len(days) > _LONG else f"{days[index].day} {days[index]:%b}"
        yield f'<span style="left:{100 * (index + 0.5) / len(days):.2f}%">{name}</span>'


def nice(most: float) -> float:
    """Return the smallest round number that is not below a value."""
    if most <= 0:
        return 1
    tens = 10.0 ** math.floor(math.log10(most))
    return next(step * tens for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * tens >= most * 0.9999)


def colour(number: int) -> str:
    """Return the CSS class of a series by its place."""
    return f"s{min(number, COLOURS - 1)}"
