"""`recvault run`: the daemon."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading

import click

from recvault.cli.app import App, now, print_json, service


@click.command("run")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document at the end.")
@service
def command(app: App, as_json: bool) -> int:
    """Run as a daemon until SIGTERM or SIGINT: poll on schedule, transfer what is due, reconcile. SIGHUP reloads the
    configuration."""
    from recvault.cli.reports import print_report
    from recvault.daemon import Daemon

    faulthandler.enable()  # the watchdog's SIGABRT leaves every thread's stack in the journal
    reload = threading.Event()
    with app.signals(reload):
        daemon = Daemon(app.settings, clock=now, stop=app.stop, reload=reload, environment=os.environ)
        report = daemon.run()
        if as_json:
            print_json(report.document())
        elif sys.stdout.isatty():
            print_report(report, resume="unfinished recordings are due again at the next start")
        code = app.exit_code(report.exit_code)
        if daemon.lingers:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # all is committed: a listing that waits for an answer need not hold up the end
    return code
