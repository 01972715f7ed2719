"""`recvault browse`: find, hear and hand over recordings in a web browser, by the bucket alone."""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, service
from recvault.cli.archives import chosen_archive, of_archive
from recvault.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from recvault.config.settings import ArchiveSettings

PORT = 8477
_LIBRARIES = ("duckdb", "jinja2", "starlette", "uvicorn")
_WAIT_SECONDS = 0.2


@click.command("browse")
@of_archive
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any free port.")
@click.option("--name", metavar="NAME", help="Who listens, for the log; default: your user name on this machine.")
@service
def command(
    app: App, archive: str | None, endpoint_url: str | None, region: str | None, port: int, name: str | None
) -> int:
    """Search the archive in a web browser, listen, and save a recording with its evidence.

    It needs no more than the right to list and read the bucket, and the catalog that `recvault catalog` writes there.
    The pages are served on this machine alone, to whoever has the printed link, which works once. Whatever is played,
    downloaded or handed over is logged.
    """
    missing = [each for each in _LIBRARIES if importlib.util.find_spec(each) is None]
    if missing:
        raise ConfigError(f"browse needs {', '.join(missing)}", "install recvault[web]")
    where, catalog = chosen_archive(app, archive, endpoint_url, region)
    return _serve(app, where, catalog, port, name or getpass.getuser())


def _serve(app: App, where: ArchiveSettings, catalog: ArchiveSettings, port: int, who: str) -> int:
    from recvault.app.opened_store import opened
    from recvault.browse.holdings import Holdings
    from recvault.browse.serving import served
    from recvault.config.settings import TransferSettings

    store, other = (opened(each, TransferSettings(), app.stop, _nothing) for each in (where, catalog))
    holdings = Holdings(
        store.reader(),
        where=store.where,
        prefix=f"{where.prefix}/" if where.prefix else "",
        catalog=other.reader(),
        directory=catalog.directory,
    )
    try:
        with contextlib.suppress(UnknownName):  # without a catalog the first page says how to write one
            holdings.months()
        with app.signals(), served(holdings, port=port, who=who) as pages:
            click.echo(pages.link)
            if not app.quiet:
                click.echo("Open this link in a browser on this machine; it works once. Ctrl-C ends.", err=True)
            while not app.stop.asked.wait(_WAIT_SECONDS):
                pass
    finally:
        holdings.close()
        store.close()
        other.close()
    return app.exit_code(0)


def _nothing() -> Any:
    raise AssertionError("browse writes nothing to the archive")
