"""`recvault rebuild`: a new ledger from the bucket's sidecars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, print_json, read_by_cluster, verb
from recvault.workers.cores import on_one_core

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.operations.rebuild import Rebuild, Rebuilt

_SHOWN = 10  # problems in a table


@click.command("rebuild")
@click.option("--set-aside", is_flag=True, help="Keep a damaged ledger as ledger.db.damaged-DATE.")
@click.option(
    "--earlier-template",
    "earlier",
    multiple=True,
    metavar="TEMPLATE",
    help="A previous archive.key_template, under which some recordings were archived.",
)
@read_by_cluster
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@verb
def command(app: App, /, set_aside: bool, earlier: tuple[str, ...], cluster: str | None, as_json: bool) -> int:
    """Make a new ledger from the sidecars in the bucket. Afterwards `sync` downloads nothing that is archived.

    A sound ledger is never replaced. If interrupted, run the same command again to continue.
    """
    with app.signals(), app.runtime(cluster=cluster) as runtime, _progress(app) as on_read:
        with _placed(runtime, _made(runtime, on_read, earlier), cluster is not None) as rebuild:
            rebuilt = rebuild.run(set_aside=set_aside)
        if not rebuilt.interrupted:
            runtime.note_archive()
            runtime.honour_erasures()
    if as_json:
        print_json(rebuilt.document())
    else:
        _print(rebuilt)
    return app.exit_code(rebuilt.exit_code) if rebuilt.interrupted else rebuilt.exit_code


def _made(runtime: Runtime, on_read: Callable[[Rebuilt], None], earlier: Sequence[str] = ()) -> Rebuild:
    from recvault.archive import KeyTemplate
    from recvault.operations.rebuild import Rebuild

    settings = runtime.settings
    where = settings.archive
    try:
        templates = tuple(KeyTemplate(each, where.prefix) for each in earlier)
    except ValueError as error:
        raise click.UsageError(f"--earlier-template {error}") from error
    return Rebuild(
        path=settings.ledger.path,
        reader=runtime.store.reader(),
        records=runtime.records,
        keys=runtime.keys,
        bucket=runtime.store.where,
        sources=frozenset(source.name for source in settings.sources),
        threads=settings.transfer.workers,
        stop=runtime.stop,
        clock=runtime.clock,
        earlier=templates,
        on_read=on_read,
    )


@contextmanager
def _placed(runtime: Runtime, rebuild: Rebuild, by_cluster: bool) -> Iterator[Rebuild]:
    """Read sidecars by a cluster's workers, or by threads on one core."""
    if not by_cluster:
        with on_one_core():
            yield rebuild
        return
    from recvault.workers.executors import cluster_readers

    with cluster_readers(runtime, rebuild.reader, rebuild.work) as (readers, workers):
        yield replace(rebuild, elsewhere=readers, threads=rebuild.threads * workers)


@contextmanager
def _progress(app: App) -> Iterator[Callable[[Rebuilt], None]]:
    from recvault.cli.reports import live

    with live(app.shows_progress) as update:
        yield lambda rebuilt: update(f"{rebuilt.sidecars:,} sidecars read") if app.shows_progress else None


def _print(rebuilt: Rebuilt) -> None:
    """Print the new ledger's contents on stdout, notes about it on stderr."""
    from recvault.cli.tables import Size, cell, print_table

    rows = [(each.source, each.account_id, each.recordings, Size(each.bytes)) for each in rebuilt.accounts]
    if rows:
        print_table(("source", "account", "archived", "bytes"), rows)
    for name in dict.fromkeys(each.source for each in rebuilt.accounts if each.source not in rebuilt.configured):
        click.echo(
            cell(f"{name} is no longer in the configuration; its archived recordings are in the ledger all the same"),
            err=True,
        )
    for problem in rebuilt.problems[:_SHOWN]:
        click.echo(cell(f"{problem.key}: {problem.reason}"), err=True)
    not_taken = rebuilt.unreadable + rebuilt.seconds
    if not_taken:
        more = ": --json names more" if not_taken > _SHOWN else ""
        words = (
            f"sidecars skipped: {rebuilt.unreadable:,} unreadable, {rebuilt.seconds:,} of a recording that another "
            "sidecar describes"
        )
        click.echo(f"{words}{more}", err=True)
    if rebuilt.interrupted:
        click.echo(f"interrupted after {rebuilt.sidecars:,} sidecars: run the same command to continue", err=True)
        return
    if rebuilt.set_aside:
        click.echo(cell(f"the damaged ledger is kept as {rebuilt.set_aside}"), err=True)
    if rebuilt.pruned:
        click.echo(f"{rebuilt.pruned:,} recordings were deleted at their provider by `recvault prune`", err=True)
    words = f"{rebuilt.archived:,} recordings are in the new ledger {rebuilt.ledger}"
    click.echo(cell(f"{words}: `recvault sync` lists the rest"), err=True)
