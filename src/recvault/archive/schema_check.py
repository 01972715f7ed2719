"""Validate a document against a JSON Schema: the part of the language that the sidecar schema uses.

An unknown keyword is an error when the schema is read, never ignored. The complete library is a dependency of the
tests, and a test compares both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and its path from the document's root."""

    words: str
    way: tuple[str, ...] = ()

    def below(self, name: str) -> Fault:
        return Fault(self.words, (name, *self.way))

    def __str__(self) -> str:
        return f"{'.'.join(self.way) or 'it'} {self.words}"


Check = Callable[[Any], Fault | None]

_SAY_NOTHING = frozenset({"$schema", "$id", "$defs", "title", "description"})
_TYPES: Mapping[str, frozenset[type]] = {
    "object": frozenset({dict}),
    "array": frozenset({list}),
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
    "null": frozenset({type(None)}),
    "number": frozenset({int, float}),
    "integer": frozenset({int}),
}


class Shape:
    """A compiled schema. Raises ValueError for unknown keywords."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._defs: Mapping[str, Any] = schema.get("$defs", {})
        self._check = self._all(schema)

    def fault(self, document: Any) -> Fault | None:
        """Return the first fault of a document; None if it is valid."""
        return self._check(document)

    def _all(self, schema: Mapping[str, Any]) -> Check:
        checks = [self._one(word, value) for word, value in schema.items() if word not in _SAY_NOTHING]

        def check(value: Any) -> Fault | None:
            for each in checks:
                if (wrong := each(value)) is not None:
                    return wrong
            return None

        return checks[0] if len(checks) == 1 else check

    def _one(self, word: str, wanted: Any) -> Check:
        match word:
            case "$ref":
                return self._all(self._defs[str(wanted).removeprefix("#/$defs/")])
            case "anyOf":
                return _any([self._all(each) for each in wanted])
            case "properties":
                return _properties({name: self._all(each) for name, each in wanted.items()})
            case "items":
                return _items(self._all(wanted))
            case "type":
                return _type([wanted] if isinstance(wanted, str) else wanted)
            case "required":
                return _required(wanted)
        if word not in _SIMPLE:
            raise ValueError(f"{word} is a word of JSON Schema that is not known here")
        kinds, holds, words = _SIMPLE[word]
        return _simple(kinds, lambda value: holds(value, wanted), words.format(wanted))


def _any(checks: Sequence[Check]) -> Check:
    def check(value: Any) -> Fault | None:
        faults = [each(value) for each in checks]
        return None if None in faults else faults[0]

    return check


def _properties(known: Mapping[str, Check]) -> Check:
    def check(value: Any) -> Fault | None:
        if isinstance(value, dict):
            for name, each in known.items():
                if name in value and (wrong := each(value[name])) is not None:
                    return wrong.below(name)
        return None

    return check


def _items(check_item: Check) -> Check:
    def check(value: Any) -> Fault | None:
        if isinstance(value, list):
            for number, item in enumerate(value):
                if (wrong := check_item(item)) is not None:
                    return wrong.below(str(number))
        return None

    return check


def _type(names: Sequence[str]) -> Check:
    kinds = frozenset[type]().union(*(_TYPES[name] for name in names))
    wrong = Fault(f"is not {' or '.join(names)}")

    def check(value: Any) -> Fault | None:
        if type(value) in kinds:
            return None
        return None if "integer" in names and isinstance(value, float) and value.is_integer() else wrong

    return check


def _required(names: Sequence[str]) -> Check:
    def check(value: Any) -> Fault | None:
        lacks = [name for name in names if name not in value] if isinstance(value, dict) else []
        return Fault(f"lacks {', '.join(lacks)}") if lacks else None

    return check


def _simple(kinds: tuple[type, ...], holds: Callable[[Any], bool], words: str) -> Check:
    """Check a keyword, which applies only to values of these types; `true` is not a number."""
    wrong = Fault(words)

    def check(value: Any) -> Fault | None:
        asked = isinstance(value, kinds) and (object in kinds or not isinstance(value, bool))
        return wrong if asked and not holds(value) else None

    return check


_SIMPLE: Mapping[str, tuple[tuple[type, ...], Callable[[Any, Any], bool], str]] = {
    "const": ((object,), lambda value, wanted: value == wanted, "is not {}"),
    "enum": ((object,), lambda value, wanted: value in wanted, "is none of {}"),
    "minimum": ((int, float), lambda value, least: value >= least, "is less than {}"),
    "minItems": ((list,), lambda value, least: len(value) >= least, "has fewer items than {}"),
    "minLength": ((str,), lambda value, least: len(value) >= least, "is shorter than {}"),
    "pattern": ((str,), lambda value, form: re.search(form, value) is not None, "has another form than {}"),
}
