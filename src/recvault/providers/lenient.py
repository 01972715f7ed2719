"""Read partly invalid JSON: an invalid part is marked, and affects only the row that contains it.

A page is first parsed strictly, and leniently only if that fails. A body that is not JSON at all remains an error.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Iterator
from typing import Any

from recvault.providers.urls import DEEPEST

LARGEST = 512 << 10  # characters of a row: no provider sends more than a few thousand
_MARK = "\0"  # no repr of a text contains it
_AROUND = 8  # levels of a page above its rows
# Strings and brackets. A string is matched possessively: backtracking would cost memory for each character.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)


class Unreadable(str):
    """Replaces an unreadable value and holds the reason."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _MARK


def parse(body: bytes) -> Any:
    """Parse the body as JSON. Raises ValueError or RecursionError if it is not JSON.

    NaN and infinities, which are not valid JSON, become text.
    """
    try:
        return json.loads(body, parse_constant=str, parse_float=_finite)
    except (ValueError, RecursionError):
        return _parse_again(body)


def check_row(row: Any) -> None:
    """Raise ValueError for a row that is too deep, too large or unreadable for the ledger, a worker or a sidecar."""
    if _is_modest(row):
        return
    size, depth, level = 0, 0, [row]
    while level:
        if depth == DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
        depth += 1
        below = []
        for value in _values(level):
            kind = value.__class__
            if kind is str:
                size += len(value)
            elif kind is dict or kind is list:
                below.append(value)
            elif kind is Unreadable:
                raise ValueError(value)
        if size > LARGEST:
            raise ValueError(f"more than {LARGEST >> 10} KiB of text")
        level = below


def _is_modest(row: Any) -> bool:
    """Whether a row is clearly within the limits, as nearly all are: the walk takes five times as long as its repr."""
    try:
        shown = repr(row)
    except (RecursionError, ValueError):  # nested too deep, or a number too long to be written
        return False
    return len(shown) <= LARGEST and shown.count("{") + shown.count("[") < DEEPEST and _MARK not in shown


def _values(level: list[Any]) -> Iterator[Any]:
    for each in level:
        if each.__class__ is dict:
            yield from each
            yield from each.values()
        elif each.__class__ is list:
            yield from each
        else:
            yield each


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _whole(text: str) -> int | Unreadable:
    try:
        return int(text)
    except ValueError:
        return Unreadable(f"a number of {len(text):,} digits")


def _parse_again(body: bytes) -> Any:
    """Parse leniently: mark values nested too deep and numbers with too many digits.

    Invalid bytes become lone surrogates, which no field of a recording may hold; control characters in strings stay.
    """
    text = body.decode(json.detect_encoding(body), "surrogateescape")
    mark = secrets.token_hex(8)
    flat = "".join(_flattened(text.removeprefix("\ufeff"), mark))
    return _marked(json.loads(flat, strict=False, parse_constant=str, parse_float=_finite, parse_int=_whole), mark)


def _flattened(text: str, mark: str) -> Iterator[str]:
    """Yield the text in pieces, with a string in place of each value that is nested too deep."""
    depth, kept = 0, 0
    for token in _TOKENS.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
                if depth == DEEPEST + _AROUND:
                    yield text[kept : token.start()]
                    kept = token.start()
            case "]" | "}":
                if depth == DEEPEST + _AROUND:
                    yield f'"{mark}nested more than {DEEPEST} deep: {token.end() - kept:,} characters"'
                    kept = token.end()
                depth -= 1
    yield text[kept:]


def _marked(value: Any, mark: str) -> Any:
    """Replace each string that begins with the mark, which is random, by the `Unreadable` it describes."""
    if isinstance(value, dict):
        return {key: _marked(below, mark) for key, below in value.items()}
    if isinstance(value, list):
        return [_marked(below, mark) for below in value]
    return Unreadable(value.removeprefix(mark)) if isinstance(value, str) and value.startswith(mark) else value
