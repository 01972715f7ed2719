"""Help is fast, complete, and agrees with the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands import bare
from recvault.cli import VERBS, main

README = Path(__file__).parents[2] / "README.md"
HEAVY = {"boto3", "botocore", "httpx", "pydantic", "rich", "sqlite_utils", "structlog", "moto"}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb: str) -> None:
    """`VERB --help` exits 0 with its usage, and each option is explained."""
    ran = CliRunner().invoke(main, [verb, "--help"], prog_name="recvault")
    assert ran.exit_code == 0
    assert ran.output.startswith(f"Usage: recvault {verb}")
    assert all(re.search(r"\s{2,}\S", line.strip()) for line in ran.output.splitlines() if line.startswith("  --"))


def test_every_verb_stands_in_the_readme_and_every_verb_of_the_readme_exists() -> None:
    """The README's table of commands and the program have the same verbs."""
    named = re.findall(r"^\| `recvault ([a-z-]+)", README.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(VERBS)


def test_the_readme_shows_every_option_of_a_verb() -> None:
    """Each option of each verb is in its README line."""
    lines = {match[1]: match[0] for match in re.finditer(r"^\| `recvault ([a-z-]+).*$", README.read_text(), re.M)}
    for verb in VERBS:
        shown = CliRunner().invoke(main, [verb, "--help"]).output
        options = set(re.findall(r"^\s+(--[a-z]+)", shown, re.M)) - {"--help"}
        missing = {option for option in options if option not in lines[verb]}
        assert not missing, (verb, missing)


def test_help_imports_nothing_heavy() -> None:
    """`--help` of the program and of every verb imports neither boto3 nor the like."""
    asked = [["--help"], *([verb, "--help"] for verb in sorted(VERBS))]
    code = (
        "import sys, contextlib\n"
        "from recvault.cli import main\n"
        f"for words in {asked!r}:\n"
        "    with contextlib.suppress(SystemExit): main(words)\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_process_answers_help(tmp_path: Path) -> None:
    """`python -m recvault --help` lists every verb, under the program's own name."""
    ran = bare(tmp_path, "--help")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("Usage: recvault ")
    assert all(re.search(rf"^  {verb} ", ran.stdout, re.M) for verb in VERBS)
