"""`recvault sync`: one pass now."""

from __future__ import annotations

import click

from recvault.cli.app import App, print_json, verb


@click.command("sync")
@click.option("--source", "names", multiple=True, metavar="NAME", help="Only this source; may be given again.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON document on stdout.")
@verb
def command(app: App, names: tuple[str, ...], as_json: bool) -> int:
    """One pass now: discover from each watermark, transfer all that is due, exit."""
    from recvault.cli.reports import print_report, progress

    with app.signals(), app.runtime() as runtime:
        chosen = tuple(dict.fromkeys(names)) or tuple(source.name for source in runtime.settings.sources)
        for name in chosen:
            runtime.source(name)
        with progress(app.shows_progress) as on_change:
            report = runtime.sync("sync", chosen, on_change)
    if as_json:
        print_json(report.document())
    else:
        print_report(report)
    return app.exit_code(report.exit_code)
