"""The archive that a reader's command reads: of the configuration, or of a URL on the command line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

import click

from recvault.cli.app import App
from recvault.cli.backfill import Moment

if TYPE_CHECKING:
    from recvault.config.settings import ArchiveSettings
    from recvault.reading.archive import Archive

_OPTIONS = (
    click.option("--archive", metavar="URL", help="s3://BUCKET/PREFIX or file:///DIRECTORY, without a configuration."),
    click.option(
        "--endpoint-url", envvar="AWS_ENDPOINT_URL", metavar="URL", help="With --archive: a store other than AWS."
    ),
    click.option("--region", envvar="AWS_REGION", metavar="NAME", help="With --archive: the bucket's region."),
)


_SELECTION = (
    click.option("--number", metavar="NUMBER", help="A phone number in any form: found in any leg of the call."),
    click.option("--call", "call_id", metavar="ID", help="Only recordings of this call."),
    click.option("--source", metavar="NAME", help="Only this source."),
    click.option("--since", type=Moment(), help="Only recordings created at or after this date or time."),
    click.option("--until", type=Moment(), help="Only recordings created before this date or time."),
)


def of_selection(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select recordings, by the names that `Archive.recordings` has for them."""
    for option in reversed(_SELECTION):
        function = option(function)
    return function


def of_archive(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name an archive without a configuration: `archive`, `endpoint_url`, `region`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def given_archive(url: str, endpoint_url: str | None, region: str | None) -> ArchiveSettings:
    """Return the archive that the command line names."""
    from recvault.config.settings import ArchiveSettings

    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/") if scheme == "s3" else (url, "", "")
    others = {"endpoint_url": endpoint_url, "region": region} if scheme == "s3" else {}
    values = {"bucket": bucket, "prefix": prefix.strip("/"), **others}
    try:
        if scheme not in ("s3", "file"):
            raise ValueError("it is neither")
        return ArchiveSettings.model_validate({name: value for name, value in values.items() if value})
    except ValueError as error:
        raise click.UsageError(f"--archive: write s3://BUCKET/PREFIX or file:///DIRECTORY ({_first(error)})") from None


def chosen_archive(
    app: App, url: str | None, endpoint_url: str | None, region: str | None
) -> tuple[ArchiveSettings, ArchiveSettings]:
    """Return the archive of the command line or the configuration, and where its catalog is."""
    if url:
        where = given_archive(url, endpoint_url, region)
        return where, where
    settings = app.settings()
    where, other = settings.archive, settings.catalog.bucket
    return where, where.model_copy(update={"bucket": other}) if other else where


def open_archive(app: App, where: ArchiveSettings, catalog: ArchiveSettings) -> Archive:
    """Open an archive to be read. Makes no request."""
    from recvault.app.opened_store import opened
    from recvault.archive import KeyTemplate
    from recvault.config.settings import TransferSettings
    from recvault.reading.archive import Archive

    transfer = TransferSettings()
    with ExitStack() as stack:
        store = opened(where, transfer, app.stop, _nothing)
        stack.callback(store.close)
        other = opened(catalog, transfer, app.stop, _nothing) if catalog is not where else None
        archive = Archive.over(
            store,
            KeyTemplate(where.key_template, where.prefix),
            catalog_store=other,
            threads=transfer.workers,
            stop=app.stop,
        )
        stack.pop_all()
        return archive


def shown_url(where: ArchiveSettings) -> str:
    """Return an archive's address as people write it."""
    name = where.bucket if where.directory is not None else f"s3://{where.bucket}"
    return f"{name}/{where.prefix}" if where.prefix else name


def _first(error: ValueError) -> str:
    """Return what is wrong, from several lines of pydantic's."""
    lines = str(error).splitlines()
    return lines[2].strip().partition(" [")[0] if len(lines) > 2 else str(error)


def _nothing() -> NoReturn:
    raise AssertionError("a reader writes nothing to the archive")
