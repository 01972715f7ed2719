"""One problem of the configuration: where, and what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from recvault.config.locate import Path


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """The path of keys and indexes, and a message that never repeats the value."""

    path: Path
    message: str

    @classmethod
    def unknown(cls, path: Path, known: Iterable[str]) -> ConfigProblem:
        """A key that does not exist, and the nearest that does."""
        near = get_close_matches(str(path[-1]), list(known), 1)
        return cls(path, f"unknown key (did you mean {near[0]}?)" if near else "unknown key")

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.path else self.message

    @property
    def place(self) -> str:
        """The path as people write it: `sources[0].name`."""
        parts = [f"[{part}]" if isinstance(part, int) else f".{_seemly(part)}" for part in self.path]
        return "".join(parts).removeprefix(".")


def _seemly(key: str) -> str:
    return key if key.replace("-", "_").isidentifier() and len(key) <= 60 else repr(key[:60])
