"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def proven_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when the block ends without an error, readable only by its owner.

    After an error nothing is left, and a file that had the name stays as it was. Raises OSError.
    """
    number, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)  # mode 0600
    made = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(number)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
