"""Secret values that no text may contain: registered once they are known, and masked in every text.

Invariant: a masked text contains no secret of at least 6 characters, neither as it is, nor as URLs, JSON and Python
escape it, nor any of its lines and words of at least 8 characters.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from urllib.parse import quote

HIDDEN = "[hidden]"
_SHORTEST = 6
_SHORTEST_PART = 8  # of a secret with spaces or line ends: a shorter one may be a common word, such as Bearer
_BETWEEN = re.compile(r"[\x00-\x20\x7f]+")


class Hidden:
    """A set of secrets. Thread-safe: readers use one complete pattern, writers replace it under a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Mask a secret from now on. One shorter than 6 characters is ignored: it would match in any text."""
        if len(secret) < _SHORTEST or secret in self._values:
            return
        with self._lock:
            self._values = self._values | {form for part in _parts(secret) for form in _forms(part)}
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(value) for value in longest_first))

    def mask(self, text: str) -> str:
        """Return the text with these secrets masked."""
        pattern = self._pattern
        return text if pattern is None else pattern.sub(HIDDEN, text)


_SECRETS = Hidden()


def hide(secret: str) -> None:
    """Mask this value from now on in every text."""
    _SECRETS.add(secret)


def mask(text: str) -> str:
    """Return the text with all known secrets masked."""
    return _SECRETS.mask(text)


def _parts(secret: str) -> set[str]:
    """Return a secret and its parts between spaces and control characters, as a library may quote single lines."""
    return {secret, *(part for part in _BETWEEN.split(secret) if len(part) >= _SHORTEST_PART)}


def _forms(text: str) -> set[str]:
    """Return a text as it is, and as URLs, JSON and Python escape it."""
    encoded = {text.encode("utf-8", "backslashreplace")}
    for encoding, errors in (("utf-8", "surrogateescape"), ("latin-1", "strict")):
        with contextlib.suppress(UnicodeEncodeError):
            encoded.add(text.encode(encoding, errors))
    forms = {text, repr(text)[1:-1], ascii(text)[1:-1], json.dumps(text)[1:-1]}
    forms |= {repr(each)[2:-1] for each in encoded}
    return forms | {quote(each, safe=safe) for each in encoded for safe in ("", "/")}
