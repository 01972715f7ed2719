"""Manual pages: one per verb, made from its help, and valid for the programs that show them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from real_s3.fixtures import LACKS
from recvault.cli import VERBS, main
from recvault.cli.man import pages

README = (Path(__file__).parents[2] / "README.md").read_text()
PAGES = dict(pages(main))


def plain(page: str) -> str:
    """Return a page's words without roff's commands."""
    return page.replace(r"\-", "-").replace(r"\&", "").replace(r"\e", "\\")


def test_each_verb_has_a_page(tmp_path: Path) -> None:
    """Every verb and subcommand has a page, written into a new directory."""
    done = CliRunner().invoke(main, ["man", str(tmp_path / "share/man1")], prog_name="recvault")
    assert (done.exit_code, done.output) == (0, "")
    written = {path.name for path in (tmp_path / "share/man1").iterdir()}
    assert {"recvault.1", "recvault-failures-accept.1", *(f"recvault-{verb}.1" for verb in VERBS)} <= written
    assert (tmp_path / "share/man1/recvault-sync.1").read_text() == PAGES["recvault-sync"]


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_page_holds_all_that_the_help_says(verb: str) -> None:
    """A page has every option with its text."""
    shown = CliRunner().invoke(main, [verb, "--help"], prog_name="recvault").output
    page = plain(PAGES[f"recvault-{verb}"])
    assert [name for name in re.findall(r"^  (--[a-z-]+)", shown, re.M) if f"{name}" not in page] == []
    assert f".SH NAME\nrecvault-{verb} - " in page


def test_the_programs_page_has_the_readmes_exit_codes() -> None:
    """The program's page has the exit codes of the README's table."""
    table = README.split("| exit code | means |\n")[1].split("\n\n")[0]
    codes = [code.strip() for row in table.splitlines()[1:] for code in row.split("|")[1].split(",")]
    shown = PAGES["recvault"].split(".SH EXIT STATUS\n")[1].split(".SH ")[0]
    named = [code for line in re.findall(r"\\fB(.*)\\fR", shown) for code in line.split(", ")]
    assert sorted(named) == sorted(codes)


def test_no_word_of_a_page_is_a_command_to_roff() -> None:
    """Every line that begins with a dot is one of our commands."""
    lines = [line for page in PAGES.values() for line in page.splitlines() if line.startswith((".", "'"))]
    assert {line.split()[0] for line in lines} == {".TH", ".SH", ".TP", ".PP"}


@pytest.mark.parametrize("command", [["mandoc", "-T", "lint", "-W", "error"], ["man", "--warnings", "-l"]])
def test_what_shows_pages_finds_them_sound(tmp_path: Path, command: list[str]) -> None:
    """mandoc and man report no problem in any page."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{LACKS}{command[0]}: apt-get install {command[0]}")
    for name, page in PAGES.items():
        (tmp_path / f"{name}.1").write_text(page)
    files = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run([*command, *files], capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin"})
    assert (done.returncode, done.stderr) == (0, "")
