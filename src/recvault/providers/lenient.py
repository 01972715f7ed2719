"""Read partly invalid JSON: the invalid part is marked, and affects only the row that contains it.

A page is read as it is first; only one that cannot be is read again here. What is no JSON at all stays an error.
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
_AROUND = 8  # levels of a page above its rows
# Strings and brackets. A string is taken whole and never given back: else each of its characters would cost memory.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)


class Unreadable(str):
    """Replaces an unreadable value and holds the reason."""

    __slots__ = ()


def parse(body: bytes) -> Any:
    """The body as JSON. ValueError or RecursionError where it is none.

    NaN and infinities, which JSON has not, are text.
    """
    try:
        return json.loads(body, parse_constant=str, parse_float=_finite)
    except (ValueError, RecursionError):
        return _parse_again(body)


def check_row(row: Any) -> None:
    """ValueError for a row that a ledger, a worker process and a sidecar cannot all hold."""
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
    """Marks what is nested too deep, and what is too long a number. Bytes that are no text become lone surrogates,
    which no field of a recording may hold; control characters in strings are taken as they are."""
    text = body.decode(json.detect_encoding(body), "surrogateescape")
    mark = secrets.token_hex(8)
    flat = "".join(_flattened(text.removeprefix("\ufeff"), mark))
    return _marked(json.loads(flat, strict=False, parse_constant=str, parse_float=_finite, parse_int=_whole), mark)


def _flattened(text: str, mark: str) -> Iterator[str]:
    """The text in pieces, with a string in place of each value that is nested too deep."""
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
    """Turn strings that begin with the mark, which nobody could foretell, into what they stand for."""
    if isinstance(value, dict):
        return {key: _marked(below, mark) for key, below in value.items()}
    if isinstance(value, list):
        return [_marked(below, mark) for below in value]
    return Unreadable(value.removeprefix(mark)) if isinstance(value, str) and value.startswith(mark) else value
