"""Secret values that no text may contain: registered once they are known, and masked in every text.

Invariant: whatever a secret's bytes are, a masked text contains it neither as it is, nor as URLs, JSON and Python
escape it, nor its longer lines and words.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from urllib.parse import quote

HIDDEN = "[hidden]"
_SHORTEST = 6
_SHORTEST_PART = 8  # of a secret with spaces or line ends in it: a shorter one may be any word, such as Bearer
_BETWEEN = re.compile(r"[\x00-\x20\x7f]+")


class Hidden:
    """A set of secrets. Thread-safe: readers take the pattern whole; writers replace it under a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Mask it from now on. A too short one is ignored: it would match in any text."""
        if len(secret) < _SHORTEST or secret in self._values:
            return
        with self._lock:
            self._values = self._values | {form for part in _parts(secret) for form in _forms(part)}
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(value) for value in longest_first))

    def mask(self, text: str) -> str:
        """The text without any of them."""
        pattern = self._pattern
        return text if pattern is None else pattern.sub(HIDDEN, text)


_SECRETS = Hidden()


def hide(secret: str) -> None:
    """Mask this value from now on, wherever it occurs."""
    _SECRETS.add(secret)


def mask(text: str) -> str:
    """The text without any secret that is known."""
    return _SECRETS.mask(text)


def _parts(secret: str) -> set[str]:
    """A secret, and its parts between spaces and control characters, because a library may quote it by line."""
    return {secret, *(part for part in _BETWEEN.split(secret) if len(part) >= _SHORTEST_PART)}


def _forms(text: str) -> set[str]:
    """As it is, and as URLs, JSON and Python write it."""
    encoded = {text.encode("utf-8", "backslashreplace")}
    for encoding, errors in (("utf-8", "surrogateescape"), ("latin-1", "strict")):
        with contextlib.suppress(UnicodeEncodeError):
            encoded.add(text.encode(encoding, errors))
    forms = {text, repr(text)[1:-1], ascii(text)[1:-1], json.dumps(text)[1:-1]}
    forms |= {repr(each)[2:-1] for each in encoded}
    return forms | {quote(each, safe=safe) for each in encoded for safe in ("", "/")}
