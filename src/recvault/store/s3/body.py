"""A put's body, as what sends it takes it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

BODY_SHA256 = "BodySHA256"  # among a put's arguments: what its body is signed by, whatever sums are sent


def in_memory(body: Any) -> AbstractContextManager[memoryview | None]:
    """A body's bytes where they are, if they are in memory.

    Invariant: the view is released with the block, whoever still refers to it then: a traceback keeps the locals of its
    frames, and a BytesIO that is collected while a view of it is open cannot close.
    """
    view: memoryview | None = body.getbuffer() if hasattr(body, "getbuffer") else None
    return view if view is not None else nullcontext()
