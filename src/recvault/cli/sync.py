"""`recvault sync`: one pass now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, clustered, print_json, verb
from recvault.errors import Interrupted, RecvaultError

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.monitoring.observer import Observer
    from recvault.monitoring.report import Report

_SOME_FAILED = 3  # the exit code if only recordings failed, not the pass


@click.command("sync")
@click.option("--source", "names", multiple=True, metavar="NAME", help="Only this source; repeatable.")
@clustered
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path),
    help="Write metrics for node_exporter's textfile collector to this file, NAME.prom.",
)
@verb
def command(app: App, names: tuple[str, ...], cluster: str | None, as_json: bool, metrics_file: Path | None) -> int:
    """Run one pass: discover new recordings, transfer everything that is due, exit."""
    from recvault.cli.reports import print_report, progress

    with app.signals(), app.runtime(transfers=True, cluster=cluster) as runtime:
        chosen = tuple(dict.fromkeys(names)) or tuple(source.name for source in runtime.settings.sources)
        for name in chosen:
            runtime.source(name)
        with progress(app.shows_progress) as shown, _pinged(runtime) as told:
            if metrics_file is None:
                report = runtime.sync("sync", chosen, shown)
                _tell(runtime)
            else:
                report = _metered(runtime, chosen, shown, metrics_file)
            told.append(report)
    if as_json:
        print_json(report.document())
    else:
        print_report(report, quiet=app.quiet)
    return app.exit_code(report.exit_code)


def _metered(runtime: Runtime, names: tuple[str, ...], shown: Observer, metrics_file: Path) -> Report:
    """Count a pass and write its metrics, whether it succeeds or not."""
    from recvault.monitoring.metrics import Metrics
    from recvault.monitoring.observer import Observers
    from recvault.operations.manifests import complete_at

    metrics = Metrics()
    metrics.continue_from(metrics_file)
    metrics.expect(names, runtime.settings.daemon.stale_after)
    if written := complete_at(runtime.ledger):
        metrics.manifests_since(written)
    metrics.observe_feeds(lambda: runtime.judged({}), runtime.clock)
    metrics.observe_verdict(runtime.verdict)
    metrics.observe_lines(runtime.line_facts)
    try:
        report = runtime.sync("sync", names, Observers(shown, metrics))
        _tell(runtime, metrics.notified)
        return report
    finally:
        metrics.write_textfile(metrics_file)


def _tell(runtime: Runtime, on_result: Callable[[str, str, int], None] = lambda channel, result, count: None) -> None:
    """Notify about changes if no daemon does. An error of it is a warning, not an error of the pass."""
    from recvault.app import notification
    from recvault.ledger import running_daemon
    from recvault.log.lines import get_logger

    teller = notification.teller(runtime, on_result)
    if teller is None or running_daemon(runtime.settings.ledger.path) is not None:
        return
    try:
        teller.look(runtime.judged({}), runtime.verdict())
        teller.deliver()
    except Interrupted:
        return  # the next pass sends what waits
    except RecvaultError as error:
        get_logger("recvault.alerts").warning("notify.look_failed", error=str(error))


@contextmanager
def _pinged(runtime: Runtime) -> Iterator[list[Report]]:
    """Ping ping_url about a pass if no daemon runs. A pass that raises has failed."""
    from recvault.app import wiring
    from recvault.http import Ping
    from recvault.ledger import running_daemon
    from recvault.monitoring.health import Condition

    is_told = running_daemon(runtime.settings.ledger.path) is not None
    ping = Ping("") if is_told else wiring.ping(runtime.settings.daemon)
    ping.start()
    told: list[Report] = []
    try:
        yield told
    except RecvaultError as error:
        ping.fail(str(error))
        raise
    [report] = told
    stale = [health.words for _, health in runtime.judged({}) if health.condition is Condition.STALE]
    errors = [row.error for row in report.accounts.values() if row.error]
    if stale or report.exit_code not in (0, _SOME_FAILED):
        ping.fail("\n".join([*errors, *stale]) or f"exit code {report.exit_code}")
    else:
        ping.success()
