"""`recvault check`: configuration, credentials, bucket; one line each."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, print_json, question

if TYPE_CHECKING:
    from recvault.probes import Probe

SCHEMA = "recvault/check/v1"


@click.command("check")
@click.option("--offline", "only_offline", is_flag=True, help="The configuration and its secrets alone.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@question
def command(app: App, only_offline: bool, as_json: bool) -> int:
    """Configuration; credentials, by one page per source; bucket: put, conditional put, get, delete of a probe."""
    from recvault import probes
    from recvault.report import worst

    with app.runtime() as runtime:
        asked = [probes.offline] if only_offline else [probes.offline, probes.online]
        found = []
        for ask in asked:
            for probe in ask(runtime):
                found.append(probe)
                if not as_json:
                    _print(probe)
    if as_json:
        print_json({"schema": SCHEMA, "ok": all(probe.ok for probe in found), "checks": [asdict(p) for p in found]})
    return worst(probe.exit_code for probe in found)


def _print(probe: Probe) -> None:
    from recvault.cli.tables import cell

    mark = "FAIL" if not probe.ok else "note" if probe.hint else "ok  "
    click.echo(cell(f"{mark}  {probe.name}: {probe.detail}{f' ({probe.hint})' if probe.hint else ''}"))
