"""The blocks of the document for readers."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "src/recvault/reading/README.md"
_FENCE = re.compile(r"^(?:#+ ([^\n]*)|```(\w+)\n(.*?)^```)$", re.M | re.S)


def blocks() -> list[tuple[str, str, str]]:
    """Return the document's blocks: heading, language, text."""
    found, heading = [], ""
    for title, language, block in _FENCE.findall(README.read_text()):
        heading = title or heading
        if language:
            found.append((heading, language, block))
    return found
