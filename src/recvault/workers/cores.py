"""Choose the core for threads of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keep this thread, and those that it starts meanwhile, on one core.

    Threads of one interpreter take turns anyway: on one core each finds warm caches. Other processes are not affected.
    Worker processes use the lowest cores first, so this uses the highest.
    """
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    _run_on({max(before)})
    try:
        yield
    finally:
        _run_on(before)


def _run_on(cores: set[int]) -> None:
    with suppress(OSError):  # not permitted: only slower
        os.sched_setaffinity(0, cores)
