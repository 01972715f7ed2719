"""Find the line of a key in a TOML text, which tomllib does not report; and one problem of the configuration, with it.

tomllib must have read the text before: this scan relies on valid TOML, and only distinguishes statements, strings and
brackets. Contents of an inline table or an array have the line of their key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

Path = tuple[str | int, ...]

_PART = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_HEADER = re.compile(rf"(\[\[?)[ \t]*({_DOTTED})[ \t]*\]\]?")
_KEY = re.compile(rf"({_DOTTED})[ \t]*=")
_TOKEN = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^']|'(?!''))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|[\[{]|[\]}]|\n|.''',
    re.DOTALL,
)


class KeyLines:
    """The lines of one TOML text by key path."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # of the tables in each array of tables
        self._scan(text)

    def __call__(self, path: Path) -> int:
        """Return the line of that key, or of the nearest enclosing key or table; else 1."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _scan(self, text: str) -> None:
        table: Path = ()
        line, seen, at = 1, 0, _end(_BLANK, text, 0)
        while at < len(text):
            line, seen = line + text.count("\n", seen, at), at
            if header := _HEADER.match(text, at):
                table = self._open(_parts(header[2]), array=header[1] == "[[")
                self._mark(table, line)
                at = header.end()
            elif key := _KEY.match(text, at):
                self._mark((*table, *_parts(key[1])), line)
                at = _value_end(text, key.end())
            else:
                return  # valid TOML that this scan does not know: the rest gets the last known line
            at = _end(_BLANK, text, at)

    def _open(self, parts: tuple[str, ...], *, array: bool) -> Path:
        """Return the path that a header opens: `[[sources]]` starts a new table, `[sources.x]` continues the last."""
        path: Path = ()
        for depth, part in enumerate(parts, 1):
            path = (*path, part)
            if array and depth == len(parts):
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _mark(self, path: Path, line: int) -> None:
        for depth in range(1, len(path) + 1):
            self._lines.setdefault(path[:depth], line)


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(_plain(part) for part in re.findall(_PART, dotted))


def _plain(part: str) -> str:
    return str(tomllib.loads(f"key = {part}")["key"]) if part[0] in "\"'" else part


def _tokens(text: str, at: int) -> Iterator[re.Match[str]]:
    while match := _TOKEN.match(text, at):
        yield match
        at = match.end()


def _value_end(text: str, at: int) -> int:
    """Return where the value that starts here ends: at the first line end outside brackets and strings."""
    depth = 0
    for token in _tokens(text, at):
        depth += (token[0] in "[{") - (token[0] in "]}")
        if token[0] == "\n" and depth == 0:
            return token.start()
    return len(text)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """A path of keys and indexes, and a message that never repeats the value."""

    path: Path
    message: str

    @classmethod
    def unknown(cls, path: Path, known: Iterable[str]) -> ConfigProblem:
        """Report a key that does not exist, with the most similar that does."""
        near = get_close_matches(str(path[-1]), list(known), 1)
        return cls(path, f"unknown key (did you mean {near[0]}?)" if near else "unknown key")

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.path else self.message

    @property
    def place(self) -> str:
        """The path in the usual form: `sources[0].name`."""
        parts = [f"[{part}]" if isinstance(part, int) else f".{_seemly(part)}" for part in self.path]
        return "".join(parts).removeprefix(".")


def _seemly(key: str) -> str:
    return key if key.replace("-", "_").isidentifier() and len(key) <= 60 else repr(key[:60])
