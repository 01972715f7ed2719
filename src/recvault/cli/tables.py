"""How rows look: a table on a terminal, tab-separated lines elsewhere. Text from outside is shown, never obeyed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from recvault.observe import redact_text
from recvault.report import iso

NUMBERS = (int, float)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows on stdout."""
    listed: list[list[Any]] = [list(row) for row in rows]
    if not sys.stdout.isatty():
        for row in [list(columns), *listed]:
            click.echo("\t".join(cell(value) for value in row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        right = bool(listed) and all(isinstance(row[number], NUMBERS) for row in listed)
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in listed:
        table.add_row(*(Text(cell(value)) for value in row))
    Console().print(table)


def cell(value: object) -> str:
    """One cell's text."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return iso(value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return redact_text(str(value)).replace("\n", " ").replace("\t", " ")


def span(seconds: float | None) -> str:
    """A length of time in two units at most: `26 h`, `3 min 5 s`."""
    if seconds is None:
        return "-"
    left, parts = max(0, round(seconds)), []
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def size(count: float) -> str:
    """Bytes in the largest unit that keeps them above one."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
