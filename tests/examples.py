"""How many examples Hypothesis tries. RECVAULT_TEST_EXAMPLES=10 is ten times as many."""

from __future__ import annotations

import os

from hypothesis import settings

FACTOR = int(os.environ.get("RECVAULT_TEST_EXAMPLES", "1"))


def examples(count: int) -> settings:
    """Return the settings for so many, as a decorator. No example is wrong for being slow on a busy machine."""
    return settings(deadline=None, max_examples=count * FACTOR)
