"""Reduce a test matrix to the few cells in which every two values of different columns meet.

    @pytest.mark.parametrize(*pairs(page=PAGES, write=WRITES, sender=SENDERS))

A fault in a single cell is nearly always caused by two values that do not go together.
RECVAULT_TEST_PAIRS=all runs whole matrices.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any

IS_WHOLE = os.environ.get("RECVAULT_TEST_PAIRS") == "all"

Cell = tuple[Any, ...]


def pairs(**columns: Iterable[Any]) -> tuple[str, list[Cell]]:
    """Return the arguments of `parametrize`: the columns' names, and the cells."""
    values = [list(column) for column in columns.values()]
    numbers = list(itertools.product(*map(range, map(len, values)))) if IS_WHOLE else covering(list(map(len, values)))
    cells = [tuple(column[number] for column, number in zip(values, row, strict=True)) for row in numbers]
    return ",".join(columns), cells


def covering(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return rows of numbers below `sizes` in which every pair of columns has every pair of numbers; deterministic."""
    both = list(itertools.combinations(range(len(sizes)), 2))
    missing = {(a, b, x, y) for a, b in both for x in range(sizes[a]) for y in range(sizes[b])}
    rows = []
    while missing:
        a, b, x, y = min(missing)
        row = {a: x, b: y}
        for column in sorted(set(range(len(sizes))) - {a, b}, key=lambda each: -sizes[each]):
            row[column] = max(range(sizes[column]), key=lambda number: _news(row, column, number, missing))
        rows.append(tuple(row[column] for column in range(len(sizes))))
        missing -= {(a, b, rows[-1][a], rows[-1][b]) for a, b in both}
    return sorted(rows)


def _news(row: dict[int, int], column: int, number: int, missing: set[tuple[int, int, int, int]]) -> int:
    """Count the new pairs that a number in a column would add."""
    return sum(
        ((other, column, there, number) if other < column else (column, other, number, there)) in missing
        for other, there in row.items()
    )
