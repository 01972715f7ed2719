"""Read the configuration, and raise every problem in it at once."""

from __future__ import annotations

import os
import re
import stat
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from recvault.config.locate import ConfigProblem, KeyLines
from recvault.config.places import missing, unreadable
from recvault.config.settings import Config
from recvault.config.source_tables import sort_source
from recvault.errors import ConfigError

_WORDS = {
    "missing": "is missing",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "is_instance_of": "must be text",
    "too_short": "must contain at least one",
    "string_too_short": "must not be empty",
}


def load(path: Path) -> Config:
    """Read and check that file. ConfigError holds every problem, a line each: `FILE:LINE: path: what`."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            _refuse_open(path, os.fstat(file.fileno()).st_mode)
            text = file.read()
    except FileNotFoundError:
        raise missing((path,)) from None
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}:1: is not UTF-8 text at byte {error.start}") from None
    return read(text, str(path))


def _refuse_open(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        raise ConfigError(f"{path} is writable by everyone on this machine", f"chmod o-w {path}")


def read(text: str, origin: str) -> Config:
    """Read and check a configuration's text, which came from `origin`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax(origin, str(error))) from None
    except RecursionError:
        raise ConfigError(f"{origin}:1: is nested too deeply") from None
    problems, config = _check(document)
    if config is None or problems:
        line = KeyLines(text)
        numbered = sorted((line(each.path), number, str(each)) for number, each in enumerate(problems))
        raise ConfigError("\n".join(f"{origin}:{number}: {message}" for number, _, message in numbered))
    return config


def _check(document: dict[str, Any]) -> tuple[list[ConfigProblem], Config | None]:
    problems: list[ConfigProblem] = []
    tables = document.get("sources")
    if isinstance(tables, list):
        sources = []
        for index, table in enumerate(tables):
            shaped, found = sort_source(index, table) if isinstance(table, dict) else (table, [])
            sources.append(shaped)
            problems += found
        problems += _same_names(tables)
        document = {**document, "sources": sources}
    try:
        return problems, Config.model_validate(document)
    except ValidationError as error:
        return problems + [_problem(each) for each in error.errors(include_url=False, include_input=False)], None


def _same_names(tables: list[Any]) -> Iterator[ConfigProblem]:
    seen: dict[str, int] = {}
    for index, table in enumerate(tables):
        name = table.get("name") if isinstance(table, dict) else None
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            yield ConfigProblem(("sources", index, "name"), f"is already the name of sources[{seen[name]}]")


def _problem(error: ErrorDetails) -> ConfigProblem:
    path, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        return ConfigProblem.unknown(path, _keys(path[:-1]))
    if path == ("sources",):
        return ConfigProblem(
            path, "at least one [[sources]] is needed" if kind in ("missing", "too_short") else "must be tables"
        )
    if kind == "value_error":
        return ConfigProblem(path, str(error.get("ctx", {}).get("error", error["msg"])))
    return ConfigProblem(path, _WORDS.get(kind) or error["msg"].replace("Input should", "must", 1))


def _keys(path: tuple[str | int, ...]) -> Iterator[str]:
    """The keys of the table at that path."""
    model: type[BaseModel] = Config
    for part in path:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation))
    yield from model.model_fields


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _syntax(origin: str, message: str) -> str:
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if place is None:
        return f"{origin}:1: is not valid TOML: {message}"
    what = message[: place.start()]
    if place[1] is None:
        return f"{origin}: is not valid TOML: {what} at the end of the file"
    return f"{origin}:{place[1]}: is not valid TOML: {what} (column {place[2]})"
