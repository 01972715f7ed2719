"""The library-free check of sidecars, compared with the jsonschema library."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from operations.verify.stage import CREATED, a_recording, sidecar_of
from recvault import archive
from recvault.archive import Sidecar
from recvault.archive.schema_check import Fault, Shape
from recvault.models import Check, MediaObject, Receipt

JUNK: list[Any] = [None, True, False, 0, -1, 1.0, 1.5, "", "x", "ab" * 32, "2026-10-01T09:00:00Z", [], [{}], {}, "ok"]


def ways(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every path in a document, except in the provider's row."""
    yield way
    if way[:1] == ("raw",):
        return
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        yield from ways(each, (*way, name))


def changed(document: Any, way: tuple[Any, ...], value: Any) -> Any:
    """Return the document with another value at the path; `...` removes it."""
    if not way:
        return value
    copied = copy.deepcopy(document)
    there = copied
    for name in way[:-1]:
        there = there[name]
    if value is ...:
        del there[way[-1]]
    else:
        there[way[-1]] = value
    return copied


@pytest.fixture(scope="module")
def document() -> Any:
    """A sidecar with two media."""
    check = Check(status="ok", method="wav sizes")
    facts: Any = {"codec": None, "sample_rate": 8000, "channels": 1, "duration_seconds": 1.0, "check": check}
    media = tuple(
        MediaObject(
            key=f"RE1.{each}", media_format=each, bytes=4, sha256="ab" * 32, content_type=f"audio/{each}", **facts
        )
        for each in ("wav", "mp3")
    )
    receipt = Receipt(
        source="main", recording=a_recording("RE1"), sidecar_key="RE1.json", media=media, archived_at=CREATED
    )
    return json.loads(sidecar_of(receipt))


def fault(document: Any) -> Fault | None:
    return Sidecar(document, sha256="").fault


def test_it_judges_as_the_library_does(document: Any) -> None:
    """With each value replaced or removed, both checks reject the same documents."""
    library = jsonschema.Draft202012Validator(json.loads(archive.schema_bytes()))
    wrong = 0
    for way in ways(document):
        for junk in [*JUNK, *([...] if way else [])]:
            spoiled = changed(document, way, junk)
            assert (fault(spoiled) is None) == library.is_valid(spoiled), (way, junk)
            wrong += not library.is_valid(spoiled)
    assert wrong > 300
    assert fault(document) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((("media", 0, "bytes"), "many"), "media.0.bytes is not integer"),
        ((("schema",), "recvault/sidecar/v2"), "schema is not recvault/sidecar/v1"),
        ((("archive", "attempts"), ...), "archive lacks attempts"),
        (((), []), "it is not object"),
        ((("created_at",), "yesterday"), "created_at has another form than "),
    ],
    ids=["type", "const", "required", "root", "pattern"],
)
def test_it_says_what_is_wrong_and_where(document: Any, change: tuple[Any, Any], words: str) -> None:
    """A fault states its path and what is wrong."""
    assert str(fault(changed(document, *change))).startswith(words)


def test_a_word_that_is_not_known_is_an_error() -> None:
    """An unknown keyword in a schema is an error, never silently ignored."""
    with pytest.raises(ValueError, match="maximum"):
        Shape({"properties": {"a": {"maximum": 3}}})
