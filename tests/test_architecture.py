"""The structure holds: imports point down only, each library has one owner, files and functions are limited in size."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import recvault
from recvault import archive
from recvault.cli import VERBS

ROOT = Path(recvault.__file__).parent
FLOORS = {
    "__main__": 12,
    "cli": 11,
    "setup": 10,
    "check": 9,
    "daemon": 9,
    "operations": 8,
    "workers": 8,
    "app": 7,
    "dispatch": 6,
    "alerts": 5,
    "discovery": 5,
    "exporting": 5,
    "browse": 4,
    "custody": 4,
    "monitoring": 4,
    "reading": 4,
    "reporting": 4,
    "transfer": 4,
    "config": 3,
    "http": 3,
    "store": 3,
    "catalog": 2,
    "ledger": 2,
    "media": 2,
    "providers": 2,
    "shutdown": 2,
    "transport": 2,
    "archive": 1,
    "errors": 1,
    "log": 0,
    "models": 0,
    "timefmt": 0,
}
SHIPPED = {"simulator", "testing"}  # beside the structure: only the demo uses them
FORBIDDEN = {
    # module: what it may not import although the floors allow it
    "transfer": {"ledger", "discovery"},
    "discovery": {"transfer", "store"},
    "http": {"ledger", "store", "config", "media"},
    "store": {"http", "ledger", "config"},
    "ledger": {"http", "store", "config"},
    "media": {"http", "store", "ledger", "config"},
    "config": {"http", "store", "ledger", "media"},
    "providers": {"http", "store", "ledger"},
}
OWNERS = {
    "sqlite_utils": {"ledger"},
    "sqlite3": {"ledger"},
    "boto3": {"store"},
    "botocore": {"store"},
    "apscheduler": {"daemon"},
    "prometheus_client": {"monitoring"},
    "waitress": {"daemon"},
    "httpcore": {"transport"},
    "httpx": {"http", "providers", "testing", "transport"},
    "pycurl": {"transport"},
    "structlog": {"log"},
    "starlette": {"browse"},
    "uvicorn": {"browse"},
    "jinja2": {"browse"},
    "pydantic": {"config"},
    "defusedxml": {"providers", "store"},
    "click": {"cli"},
    "rich": {"cli"},
    "moto": {"cli"},
    "apprise": {"alerts"},
    "av": {"media"},
    "cryptography": {"media", "providers", "simulator"},  # decrypt, verify, encrypt and sign
    "dask": {"workers"},
    "duckdb": {"browse", "catalog", "reading", "reporting"},
    "distributed": {"workers"},
}
LOADS = {
    # importing each of these, with all its imports, loads none of those
    "workers.process_worker": {
        "ledger",
        "app.runtime",
        "cli",
        "monitoring.metrics",
        "daemon",
        "sqlite_utils",
        "click",
        "rich",
    },
    "app.source_status": {
        "http",
        "store",
        "transfer",
        "monitoring.metrics",
        "daemon",
        "httpx",
        "boto3",
        "botocore",
        "rich",
        "click",
    },
    "__main__": {"cli", "config", "click"},
}
ERRORS = frozenset({"error", "exc", "e", "refusal", "cause", "problem", "fault", "failure", "wrong"})  # by name
WORDS_OF_OTHERS = {
    # if a library states what is needed only in a message: the file, and what it reads
    "ledger/trouble.py": "SQLite's code is one for a damaged schema and a wrong statement, and Python's own has none",
    "transport/guarded.py": "httpcore has one class for a proxy's refusals, and one for broken connections and framing",
}
SHARED_NAMES = {
    # a class or a file with a shared name, and why
    "Answer": "recvault.testing's, as a plug-in writes it; the other receives what S3 answers",
    "base.py": "what each provider, or each transport, meets: the base of its room",
    "Request": "recvault.testing's, of the simulator; the other is what goes out, of transport",
    "Sink": "what takes a body: media's of http may begin again where it broke off, an object's of store only anew",
}
SMALL, SHORT = (
    40,
    {
        # a shorter file that is no verb's, and why it is separate
        "check/proof.py": "a kind of question of check's, as each of its files is",
        "config/prices.py": "facts of others with their dates, to be renewed without touching anything else",
        "cli/screen.py": "what a terminal is told, apart from what is shown on it",
        "ledger/reasons.py": "it reads a ledger without opening it, as nothing else may",
        "discovery/endless.py": "lists of calls and lists of accounts end by it",
        "exporting/spreadsheet.py": "the bag and `find` tell the same columns",
        "http/aside.py": "it is what keeps a list of calls from slowing down recordings",
        "ledger/database.py": "each other file of the room has sqlite-utils from it",
        "log/lean_imports.py": "it must run before any library is loaded, and load none",
        "operations/prune/guards.py": "the one place that knows what stands against a deletion",
        "providers/calendar.py": "a fact of all rooms, which would load a provider's module for it otherwise",
        "reading/proven_file.py": "commands and readers write files by it; it loads nothing",
        "setup/shipped.py": "the one place that knows where shipped files are; it loads nothing",
        "store/local/attributes.py": "the one place that knows how a file system keeps what is known of a file",
        "store/local/local_remover.py": "what custody deletes by, apart from the store, which never does",
        "store/local/local_replacer.py": "what replaces files, apart from the store, which never does",
        "store/s3/error_xml.py": "a store's wire format",
        "timefmt.py": "at the root: words of all rooms",
        "transport/making.py": "the choice of a transport, apart from the two, of which only one may be loaded",
        "workers/cores.py": "what the operating system is told of threads",
        "workers/preload.py": "what a fork server loads by its name",
    },
)
REASONED: dict[str, str] = {}  # a file beyond the limit, and why
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    """Return the top-level module or package of a file."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@dataclass(frozen=True)
class Facts:
    """What these tests need of a file, parsed once, as all syntax trees together are large."""

    lines: int
    charter: str | None
    imports: tuple[str, ...]
    loads: tuple[str, ...]  # at its import: not what functions or type checkers import
    functions: tuple[tuple[str, int, int], ...]  # name, first line, how many


@functools.cache
def facts(path: Path) -> Facts:
    text = path.read_text()
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    top = [each for each in tree.body if isinstance(each, ast.With | ast.Import | ast.ImportFrom)]
    functions = [each for each in nodes if isinstance(each, ast.FunctionDef)]
    return Facts(
        lines=text.count("\n"),
        charter=ast.get_docstring(tree),
        imports=tuple(_names(nodes)),
        loads=tuple(name for each in top for name in _names(ast.walk(each))),
        functions=tuple((each.name, each.lineno, (each.end_lineno or 0) - each.lineno) for each in functions),
    )


def imports(path: Path) -> tuple[str, ...]:
    return facts(path).imports


def _names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "recvault":
                yield from (f"recvault.{each.name}" for each in node.names)


def inner(name: str) -> str | None:
    """Return the room of a dotted name of ours."""
    parts = name.split(".")
    return (
        parts[1] if parts[0] == "recvault" and len(parts) > 1 and (parts[1] in FLOORS or parts[1] in SHIPPED) else None
    )


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path: Path) -> None:
    """No module imports from its own floor or above, or what the table forbids."""
    here = room(path)
    for name in imports(path):
        there = inner(name)
        if there is None or there == here:
            continue
        if here in SHIPPED:
            assert there != "cli", f"{path} imports {name}"
            continue
        if there in SHIPPED:
            assert here == "cli", f"{path} imports {name}"
            continue
        if here == "__init__":
            assert there in {"errors", "reading"}, f"the package itself imports {name}"
            assert name not in facts(path).loads, f"the package itself loads {name}"
            continue
        assert FLOORS[there] < FLOORS[here], f"{path} imports {name}"
        assert there not in FORBIDDEN.get(here, set()), f"{path} imports {name}"


def closure(name: str) -> set[str]:
    """Return all modules that importing one of ours loads."""
    found, left = set[str](), [f"recvault.{name}"]
    while left:
        each = left.pop()
        if each in found:
            continue
        found.add(each)
        path = ROOT.parent / each.replace(".", "/")
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            left += facts(file).loads if each.startswith("recvault") and file.exists() else ()
    return found


@pytest.mark.parametrize("name", LOADS)
def test_what_a_process_does_not_need_it_does_not_load(name: str) -> None:
    """A worker loads no ledger and no command line; a query of the ledger loads no client."""
    loaded = {each.removeprefix("recvault.") for each in closure(name)}
    assert {each for each in loaded for barred in LOADS[name] if f"{each}.".startswith(f"{barred}.")} == set()
    assert len(loaded) > 1


@pytest.mark.parametrize("library", OWNERS)
def test_each_library_has_one_owner(library: str) -> None:
    """A third-party library is imported only by its owner."""
    users = {room(path) for path in modules() if any(name.split(".")[0] == library for name in imports(path))}
    assert users <= OWNERS[library]


def test_every_module_states_its_charter() -> None:
    """A file's first lines say what it is for."""
    silent = [str(path.relative_to(ROOT)) for path in modules() if not facts(path).charter]
    assert silent == []


def test_files_and_functions_stay_of_a_size() -> None:
    """Files and functions exceed their limits only with a reason given here."""
    too_long = []
    for path in modules():
        if facts(path).lines > LONGEST_FILE:
            too_long.append(f"{path.relative_to(ROOT)}: {facts(path).lines} lines")
        for name, first, length in facts(path).functions:
            if length >= LONGEST_FUNCTION:
                too_long.append(f"{path.relative_to(ROOT)}:{first} {name}")
    assert [each for each in too_long if each.split(":")[0] not in REASONED] == []


def _is_words(node: ast.AST) -> bool:
    """Whether it is an error's text, or a part of it."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in ("str", "repr") and ast.unparse(node.args[0]) in ERRORS
    return (
        isinstance(node, ast.Attribute)
        and node.attr in ("message", "hint", "args")
        and (node.attr != "args" or ast.unparse(node.value) in ERRORS)
    )


def _reads_words(node: ast.AST) -> bool:
    """Whether an expression decides by a text for people."""
    if isinstance(node, ast.Compare):
        return any(map(_is_words, (node.left, *node.comparators)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in ("search", "match", "fullmatch"):
            return any(map(_is_words, node.args))
        return node.func.attr in ("startswith", "endswith", "partition", "split") and _is_words(node.func.value)
    return isinstance(node, ast.Subscript) and _is_words(node.value)


def test_no_code_reads_what_is_written_for_people() -> None:
    """Code reads an error's data, never its message, which may be reworded at any time."""
    found = {
        str(path.relative_to(ROOT))
        for path in modules()
        if any(map(_reads_words, ast.walk(ast.parse(path.read_text()))))
    }
    assert found == set(WORDS_OF_OTHERS)


def test_one_room_knows_what_a_sidecar_holds() -> None:
    """Only archive names a document's fields and the reserved keys."""
    known = ("formats_wanted", "formats_missing", "restored_from", "keys_taken", *archive.RESERVED)
    found = {
        (room(path), each.value)
        for path in modules()
        if room(path) not in SHIPPED
        for each in ast.walk(ast.parse(path.read_text()))
        if isinstance(each, ast.Constant) and each.value in known
    }
    assert {where for where, _ in found} == {"archive"}
    assert {value for _, value in found} == set(known)


def _repeated(names: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, path in names:
        found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_a_class_has_a_name_of_its_own() -> None:
    """No two public classes share a name without a reason."""
    classes = (
        (node.name, path)
        for path in modules()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert set(_repeated(classes)) == {name for name in SHARED_NAMES if not name.endswith(".py")}


def test_a_file_has_a_name_of_its_own() -> None:
    """No two files share a name, except cli's verbs and what the simulator imitates."""
    repeated = _repeated((path.name, path) for path in modules() if not path.name.startswith("__"))
    beside = {
        name: [path for path in paths if not path.startswith(("cli/", "simulator/"))]
        for name, paths in repeated.items()
    }
    assert {name for name, paths in beside.items() if len(paths) != 1} == {
        name for name in SHARED_NAMES if name.endswith(".py")
    }


def test_a_short_file_has_a_reason() -> None:
    """A short file has a reason given here; a verb has its own file."""
    verbs = {f"cli/{name.replace('-', '_')}.py" for name in VERBS}
    short = {
        str(path.relative_to(ROOT))
        for path in modules()
        if room(path) not in SHIPPED and not path.name.startswith("__") and path.read_text().count("\n") < SMALL
    }
    assert short - verbs == set(SHORT)
