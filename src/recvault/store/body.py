"""A put's body, as what sends it takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BODY_SHA256 = "BodySHA256"  # among a put's arguments: what its body is signed by, whatever sums are sent


@contextmanager
def in_memory(body: Any) -> Iterator[memoryview | None]:
    """A body's bytes where they are, if they are in memory.

    Invariant: the view is released with the block, whoever still refers to it then: a traceback keeps the locals of its
    frames, and a BytesIO that is collected while a view of it is open cannot close.
    """
    if not hasattr(body, "getbuffer"):
        yield None
        return
    with body.getbuffer() as view:
        yield view
