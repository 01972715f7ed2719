"""Memory stays constant: recordings are streamed, whatever their size and number."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.memory import MIB, MOST, bench

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("size", "count", "workers"),
    [(176 * MIB, 1, 8), (24 * MIB, 8, 8), (79 * MIB // 10, 24, 16)],  # each more than MOST
    ids=["one large", "eight at once", "as many as memory would hold"],
)
def test_peak_memory(tmp_path: Path, size: int, count: int, workers: int) -> None:
    """A `recvault sync` needs less than 150 MiB, and every byte is in the bucket."""
    with bench(tmp_path, workers=workers) as prepared:
        prepared.add(size, count)
        measured = prepared.sync()
        assert measured.exit_code == 0, measured.log[-2000:]
        assert prepared.wrong() == []
        assert 20 * MIB < measured.peak < MOST
        assert not list((tmp_path / "spool").iterdir())
