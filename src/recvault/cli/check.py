"""`recvault check`: configuration, credentials, bucket; one line each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, clustered, print_json, question

if TYPE_CHECKING:
    from recvault.check import Probe

SCHEMA = "recvault/check/v1"


@click.command("check")
@click.option("--config-only", is_flag=True, help="Check only the configuration file; read no secret.")
@click.option("--offline", "only_offline", is_flag=True, help="Check only the configuration and its secrets.")
@click.option("--notify", "tells", is_flag=True, help="Also send a test event to everyone that [notify] names.")
@click.option("--as-service", is_flag=True, help="As the systemd unit: with its user, sandbox and credentials.")
@clustered
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@question
def command(
    app: App,
    /,
    config_only: bool,
    only_offline: bool,
    tells: bool,
    as_service: bool,
    cluster: str | None,
    as_json: bool,
) -> int:
    """Check the configuration, the credentials (lists one page per source) and the bucket (puts, reads and deletes a
    probe object)."""
    from recvault.monitoring.report import worst

    if tells and (config_only or only_offline):
        raise click.UsageError("--notify cannot be combined with --config-only or --offline")
    if as_service:
        given = {"--config-only": config_only, "--offline": only_offline, "--notify": tells, "--json": as_json}
        return _as_service(app, [flag for flag, is_set in given.items() if is_set], cluster)
    found = []
    for probe in [_configuration(app)] if config_only else _probes(app, only_offline, tells, cluster):
        found.append(probe)
        if not as_json:
            _print(probe)
    if as_json:
        print_json({"schema": SCHEMA, "ok": all(probe.ok for probe in found), "checks": [asdict(p) for p in found]})
    return worst(probe.exit_code for probe in found)


def _as_service(app: App, words: list[str], cluster: str | None) -> int:
    """The same check in the service's place. What it says is passed on."""
    from recvault.log.lines import redact_text
    from recvault.setup import as_service

    if app.config or cluster:
        raise click.UsageError("--as-service reads the configuration that the unit names: no --config, no --cluster")
    checked = as_service.run(words)
    click.echo(checked.stdout, nl=False)
    click.echo(checked.stderr, nl=False, err=True)
    if checked.trouble:
        click.echo(f"FAIL  service: systemd cannot start it: {redact_text(checked.trouble)}", err=True)
    return checked.exit_code


def in_effect(app: App) -> str:
    """Which file is in effect, and that it is valid. ConfigError names each problem."""
    from recvault import config

    path = config.find(app.config)
    count = len(config.load(path).sources)
    return f"{path.absolute()} is valid, {count} source{'s' if count > 1 else ''}"


def _configuration(app: App) -> Probe:
    from recvault.check import Probe

    return Probe(name="configuration", ok=True, detail=in_effect(app))


def _probes(app: App, only_offline: bool, tells: bool, cluster: str | None) -> Iterator[Probe]:
    from recvault import check

    yield _configuration(app)
    with app.runtime(cluster=cluster) as runtime:
        yield from check.offline(runtime)
        if not only_offline:
            yield from check.online(runtime)
        if tells:
            yield from check.test_event(runtime)


def _print(probe: Probe) -> None:
    from recvault.cli.tables import cell

    mark = "FAIL" if not probe.ok else "note" if probe.hint else "ok  "
    click.echo(cell(f"{mark}  {probe.name}: {probe.detail}{f' ({probe.hint})' if probe.hint else ''}"))
