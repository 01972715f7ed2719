"""Reduced test matrices: every two values of different columns still meet."""

from __future__ import annotations

import itertools

import pytest

import pairs


@pytest.mark.parametrize("sizes", [(3, 2), (6, 4, 4, 3), (4, 3, 3), (4, 2, 3), (11, 3, 3), (5, 1, 2, 2, 2, 2)])
def test_every_two_values_meet(sizes: tuple[int, ...]) -> None:
    """No pair is left out, with hardly more cells than pairs of the two longest columns."""
    rows = pairs.covering(sizes)
    for a, b in itertools.combinations(range(len(sizes)), 2):
        assert {(row[a], row[b]) for row in rows} == set(itertools.product(range(sizes[a]), range(sizes[b])))
    assert [set(column) for column in zip(*rows, strict=True)] == [set(range(size)) for size in sizes]
    longest, second = sorted((1, *sizes))[-1:-3:-1]
    assert longest * second <= len(rows) <= longest * second * 1.5


def test_a_matrix_can_be_run_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """RECVAULT_TEST_PAIRS=all keeps every cell."""
    monkeypatch.setattr(pairs, "IS_WHOLE", True)
    assert pairs.pairs(a="xy", b=(1, 2), c="z") == (
        "a,b,c",
        [("x", 1, "z"), ("x", 2, "z"), ("y", 1, "z"), ("y", 2, "z")],
    )
