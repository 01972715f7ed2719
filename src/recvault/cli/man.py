"""`recvault man`: manual pages, made from what `--help` knows: one for the program, one for each verb."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from recvault import __version__
from recvault.cli.app import App, question

_EXIT_CODES = (
    ("0", "Done: everything due is archived, cannot be archived, or is not ready yet."),
    ("1", "Unexpected error."),
    ("2", "Wrong usage."),
    ("3", "Finished, but recordings failed, are dead or quarantined: see recvault failures."),
    ("75", "Temporary: provider or bucket unreachable, or ledger locked. Try again later."),
    ("77", "Credentials refused by the bucket or by an account's list."),
    ("78", "The configuration is wrong or the ledger is damaged."),
    ("130, 143", "Stopped by SIGINT or SIGTERM after a clean drain."),
)
_Below = list[tuple[str, click.Context]]
_FILES = (
    ("/etc/recvault/config.toml", "The configuration, unless --config, RECVAULT_CONFIG or ./config.toml is used."),
    ("/var/lib/recvault/ledger.db", "The ledger, unless ledger.path names another."),
)


@click.command("man")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@question
def command(app: App, directory: Path) -> int:
    """Write the manual pages into DIRECTORY: recvault.1, and one for each verb.

    To read them with man, write them into man1 of a manual path: recvault man ~/.local/share/man/man1
    """
    directory.mkdir(parents=True, exist_ok=True)
    root = click.get_current_context().find_root()
    for name, page in pages(root.command):
        (directory / f"{name}.1").write_text(page)
    return 0


def pages(program: click.Command) -> Iterator[tuple[str, str]]:
    """Yield each page's name and text."""
    yield from _pages(program, click.Context(program, info_name="recvault"))


def _pages(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, str]]:
    name = ctx.command_path.replace(" ", "-")
    verbs = command.list_commands(ctx) if isinstance(command, click.Group) else []
    below = [(each, _child(ctx, each)) for each in verbs]
    yield name, "\n".join(_page(command, ctx, name, below)) + "\n"
    for _, child in below:
        yield from _pages(child.command, child)


def _child(ctx: click.Context, name: str) -> click.Context:
    assert isinstance(ctx.command, click.Group)  # noqa: S101
    command = ctx.command.get_command(ctx, name)
    assert command is not None  # noqa: S101 - it was listed
    return click.Context(command, info_name=name, parent=ctx)


def _page(command: click.Command, ctx: click.Context, name: str, below: _Below) -> Iterator[str]:
    yield f'.TH {name.upper()} 1 "" "recvault {__version__}" "recvault"'
    yield from (".SH NAME", rf"{_text(name)} \- {_text(command.get_short_help_str(200))}")
    usage = " ".join(command.collect_usage_pieces(ctx))
    yield from (".SH SYNOPSIS", rf"\fB{_text(ctx.command_path)}\fR {_text(usage)}")
    yield from (".SH DESCRIPTION", *_paragraphs(command.help or ""))
    records = [record for param in command.get_params(ctx) if (record := param.get_help_record(ctx)) and record[1]]
    yield from _list("OPTIONS", records)
    yield from _list("COMMANDS", [(each, child.command.get_short_help_str(200)) for each, child in below])
    if ctx.parent is None:
        yield from (*_list("EXIT STATUS", _EXIT_CODES), *_list("FILES", _FILES))
    others = [each for each in (ctx.parent, *(child for _, child in below)) if each]
    yield from (".SH SEE ALSO", ", ".join(rf"\fB{_text(each.command_path.replace(' ', '-'))}\fR(1)" for each in others))


def _list(heading: str, rows: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    if rows:
        yield f".SH {heading}"
    for name, words in rows:
        yield from (".TP", rf"\fB{_text(name)}\fR", _text(words))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        yield from ((".PP",) if number else ())
        yield _text(" ".join(paragraph.replace("\b", "").split()))


def _text(words: str) -> str:
    """Escape text for roff: no backslash, hyphen or leading dot in it acts as a command."""
    words = words.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return rf"\&{words}" if words.startswith((".", "'")) else words
