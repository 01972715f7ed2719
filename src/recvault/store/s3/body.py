"""The body of a put, as its sender needs it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

BODY_SHA256 = "BodySHA256"  # put argument: SHA-256 for signing the body, whichever checksums are sent


def in_memory(body: Any) -> AbstractContextManager[memoryview | None]:
    """Return a view of a body's bytes if they are in memory, else None.

    Invariant: the view is released at the end of the block, even if still referenced: a traceback keeps the locals of
    its frames, and a BytesIO that is collected while a view of it is open cannot close.
    """
    view: memoryview | None = body.getbuffer() if hasattr(body, "getbuffer") else None
    return view if view is not None else nullcontext()
