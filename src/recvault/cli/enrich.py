"""`recvault enrich`: who called whom, for recordings that are archived already."""

from __future__ import annotations

from datetime import datetime

import click

from recvault.cli.app import App, print_json, verb
from recvault.cli.backfill import Moment, check_window


@click.command("enrich")
@click.option("--source", "name", required=True, metavar="NAME", help="The source whose archive is enriched.")
@click.option("--since", type=Moment(), help="Recordings created at or after this date or time; default: all.")
@click.option("--until", type=Moment(), help="Recordings created before this date or time; default: now.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@verb
def command(app: App, name: str, since: datetime | None, until: datetime | None, as_json: bool) -> int:
    """Ask the provider who called whom, for archived recordings whose sidecar does not tell.

    The answers are put into the bucket under calls/. No sidecar is changed.
    """
    from recvault.models import Window
    from recvault.operations.enrich import Enrich

    check_window(since, until)
    with app.signals(), app.runtime() as runtime:
        runtime.source(name)
        runtime.prepare_store()
        enriched = Enrich(runtime, name, Window(since, until)).run()
    if as_json:
        print_json(enriched.document())
    else:
        click.echo(
            f"{enriched.sidecars:,} sidecars read: {enriched.told:,} calls told now, {enriched.known:,} known before, "
            f"{enriched.unknown:,} not known to the provider, {enriched.unreadable:,} unreadable; "
            f"{enriched.requests:,} requests to the list of calls"
        )
    return app.exit_code(enriched.exit_code)
