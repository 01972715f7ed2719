"""Print rows: as a table or paragraphs on a terminal, as tab-separated lines elsewhere. Control characters from outside
never reach a terminal.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from recvault.log.lines import redact_text, visible_text
from recvault.monitoring.report import iso
from recvault.timefmt import span

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_NAME_LEAST = 8  # least characters of a shortened name
_SKEW_SECONDS = 60  # difference between two clocks up to which a future time counts as past
_PROSE_LEAST = 30  # least width of a long text


class Size(int):
    """Bytes: `1.2 MiB` for people, a plain number for scripts."""


class Span(int):
    """Seconds: `1 d 2 h` for people, a plain number for scripts."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A time relative to now: `3 min ago` or `in 2 h` for people, absolute for scripts. An `awaited` time in the past
    is due.
    """

    moment: datetime
    now: datetime
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Unmasked:
    """Text that was asked for, such as a phone number: shown without masking."""

    text: str


@dataclass(frozen=True, slots=True)
class Styled:
    """Text with a rich style for terminals."""

    text: str
    style: str


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, seldom: Collection[str] = (), prose: Collection[str] = ()
) -> None:
    """Print rows on stdout: on a terminal by `show_table`, else as tab-separated lines."""
    listed: list[list[Any]] = [list(row) for row in rows]
    if sys.stdout.isatty():
        show_table(console(), columns, listed, seldom=seldom, prose=prose)
        return
    for row in [list(columns), *listed]:
        click.echo("\t".join(plain(value) for value in row))


def show_table(
    screen: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    seldom: Collection[str] = (),
    prose: Collection[str] = (),
    heads: int = 2,
    names: Collection[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Show rows in the fullest form that fits the terminal's width.

    If a table is too wide, it omits empty `seldom` columns; then shortens `names`, but keeps them distinct; then omits
    `spare` columns, the first one first. If it still is, each row becomes a paragraph, beginning with the first `heads`
    columns. A `prose` column may be folded.
    """
    empty = {name for number, name in enumerate(columns) if name in seldom and not any(row[number] for row in rows)}
    short = _with_short_names(columns, rows, names)
    forms = [(set[str](), rows), (empty, rows)]
    forms += [(empty | set(spare[:count]), short) for count in range(len(spare) + 1)]
    for left_out, shown in forms:
        kept = [number for number, name in enumerate(columns) if name not in left_out]
        chosen, cells = [columns[number] for number in kept], [[row[number] for number in kept] for row in shown]
        if _least_width(chosen, cells, prose) <= screen.width:
            screen.print(_table(chosen, cells, prose))
            return
    for row in rows:
        pairs = [(name, value) for name, value in zip(columns, row, strict=True) if value or name not in seldom]
        for line in _paragraph(pairs, heads, screen.width):
            screen.print(line, soft_wrap=False, overflow="fold")


def _with_short_names(columns: Sequence[str], rows: Sequence[Sequence[Any]], names: Collection[str]) -> list[list[Any]]:
    """Return the rows with long names in these columns shortened."""
    found = [list(row) for row in rows]
    for number, column in enumerate(columns):
        if column in names:
            short = shortened([str(row[number]) for row in rows])
            for row in found:
                row[number] = short[str(row[number])]
    return found


def shortened(names: Iterable[str]) -> dict[str, str]:
    """Shorten long names to prefixes that are still distinct, at least eight characters."""
    known = set(names)
    length = _NAME_LEAST
    while len({each[:length] for each in known}) < len(known):
        length += 1
    return {each: each if len(each) <= length + 3 else f"{each[:length]}..." for each in known}


def console(*, stderr: bool = False) -> Console:
    """Return the terminal, without colour if NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[Any]], prose: Collection[str]) -> int:
    """Return the width at which only prose is folded."""
    from rich.cells import cell_len

    total = 2 * (len(columns) - 1)
    for number, column in enumerate(columns):
        heads = column.split() if _is_measure(rows, number) else [column]
        width = max(map(cell_len, [*heads, *(cell(row[number]) for row in rows)]))
        total += min(width, _PROSE_LEAST) if column in prose else width
    return total


def _is_measure(rows: Sequence[Sequence[Any]], number: int) -> bool:
    """Whether a column has numbers or ages: it is right-aligned, with one word of its heading per line."""
    return bool(rows) and all(isinstance(row[number], int | Beside | None) for row in rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], prose: Collection[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        right = _is_measure(rows, number)
        table.add_column(
            Text(column.replace(" ", "\n") if right else column),
            justify="right" if right else "left",
            vertical="bottom",
            overflow="fold",
            no_wrap=column not in prose,
        )
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    return table


def _paragraph(pairs: Sequence[tuple[str, Any]], heads: int, width: int) -> Iterator[Text]:
    """Yield a row as `name value` pairs, as many per line as fit; values that are None are omitted."""
    from rich.text import Text

    yield Text("  ").join(_text(value, "bold") for _, value in pairs[:heads])
    line = Text("  ")
    for name, value in pairs[heads:]:
        if value is None:
            continue
        pair = Text.assemble((name, "dim"), " ", _text(value))
        if line.plain.strip() and len(line) + len(pair) > width:
            yield line
            line = Text("  ")
        line.append_text(pair).append("   ")
    if line.plain.strip():
        yield line


def _text(value: object, style: str = "") -> Text:
    from rich.text import Text

    return Text(cell(value), value.style if isinstance(value, Styled) else style)


def cell(value: object) -> str:
    """Format a cell on one line, without anything that a terminal would interpret."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return iso(value) or "-"
    if isinstance(value, Beside):
        seconds = (value.moment - value.now).total_seconds()
        if seconds > (0 if value.awaited else _SKEW_SECONDS):
            return f"in {_roughly(seconds)}"
        return "due" if value.awaited else f"{_roughly(max(0, -seconds))} ago"
    if isinstance(value, Styled):
        return cell(value.text)
    if isinstance(value, Unmasked):
        return visible_text(value.text)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Size):
        return size(value)
    if isinstance(value, Span):
        return span(value)
    if isinstance(value, int):
        return f"{value:,}"
    return redact_text(str(value)).replace("\n", " ").replace("\t", " ")


def _roughly(seconds: float) -> str:
    """Format a duration: to the hour from a day on, to the minute from an hour on."""
    step = 3600 if seconds >= 86400 else 60 if seconds >= 3600 else 1
    return span(seconds // step * step)


def plain(value: object) -> str:
    """Format a cell for scripts: numbers without separators and units, times in full."""
    if isinstance(value, Beside):
        return cell(value.moment)
    return f"{value:d}" if isinstance(value, int) and not isinstance(value, bool) else cell(value)


def size(count: float) -> str:
    """Format bytes in the largest unit of which there is at least one."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def say(name: str, value: object, width: int | None) -> None:
    """Print a name, and beside it a value folded at words in its column."""
    text = cell(value)
    lines = [text] if width is None else textwrap.wrap(text, width - len(name), break_on_hyphens=False) or [""]
    click.echo("\n".join([f"{name}{lines[0]}", *(f"{'':<{len(name)}}{line}" for line in lines[1:])]))
