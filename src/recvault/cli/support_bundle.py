"""`recvault support-bundle`: what a report of a fault needs, without anything secret, shown before it is written."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, now, question
from recvault.cli.outputs import unwritable
from recvault.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from recvault.app.source_status import Inquiry
    from recvault.operations.support import Document


@click.command("support-bundle")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write; default: a new one here.")
@click.option("--show", "names", multiple=True, metavar="FILE", help="Print this file of the bundle, write nothing.")
@click.option("--yes", is_flag=True, help="Write it without asking.")
@question
def command(app: App, output: Path | None, names: tuple[str, ...], yes: bool) -> int:
    """Gather versions, configuration, state and last errors for a report, without secrets or phone numbers.

    The files are listed before anything is written. On a terminal it asks; elsewhere --yes writes. To read one of them
    first, use --show FILE. The bundle is a tar.gz that only its owner can read.
    """
    documents = _gathered(app)
    if names:
        for name in names:
            click.echo(_named(documents, name).text, nl=False)
        return 0
    place = output or Path(f"recvault-support-{now():%Y%m%dT%H%M%SZ}.tar.gz")
    for each in documents:
        click.echo(f"{each.name:<15}{len(each.text.encode()):>9,} bytes  {each.about}", err=True)
    if not yes and not _agreed(documents, place):
        return 0
    _write(place, documents)
    click.echo(str(place))
    return 0


def _gathered(app: App) -> list[Document]:
    from recvault import config
    from recvault.operations import support

    with ExitStack() as opened:
        settings, problem, inquiry = None, None, None
        try:
            settings = app.settings()
            inquiry = opened.enter_context(app.inquiry())
        except ConfigError as error:
            problem = str(error)
        return support.gather(
            settings,
            problem,
            settings.ledger.path if settings else config.ledger_path(app.config),
            inquiry,
            lambda: _status(inquiry),
        )


def _status(inquiry: Inquiry | None) -> object:
    from recvault.cli.overview import look
    from recvault.cli.status_document import document

    return None if inquiry is None else document(look(inquiry, now()), None)


def _named(documents: Sequence[Document], name: str) -> Document:
    for each in documents:
        if each.name == name:
            return each
    raise UnknownName(f"the bundle has no file {name}", f"it has {', '.join(each.name for each in documents)}")


def _agreed(documents: Sequence[Document], place: Path) -> bool:
    """Ask on a terminal, again after each file that is read first; elsewhere say how to write it."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        click.echo("nothing is written yet: --show FILE prints one of these, --yes writes the bundle", err=True)
        return False
    while True:
        answer = click.prompt(f"write {place}? y, n, or a file to read", default="n", err=True).strip()
        if answer.lower() in ("y", "yes", "n", "no", "q"):
            return answer.lower() in ("y", "yes")
        try:
            click.echo(_named(documents, answer).text, nl=False)
        except UnknownName as error:
            click.echo(f"{error.message}: {error.hint}", err=True)


def _write(place: Path, documents: Sequence[Document]) -> None:
    """Write a new file of mode 0600; remove it if it cannot be completed."""
    try:
        number = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise click.UsageError(f"{place} exists: give another --output") from None
    except OSError as error:
        raise unwritable(place, error) from error
    try:
        with os.fdopen(number, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for each in documents:
                body = each.text.encode()
                member = tarfile.TarInfo(f"recvault-support/{each.name}")
                member.size, member.mtime, member.mode = len(body), int(now().timestamp()), 0o600
                archive.addfile(member, io.BytesIO(body))
    except OSError as error:
        place.unlink(missing_ok=True)
        raise unwritable(place, error) from error
