"""The command line: one file per verb, each of which parses, calls, prints and returns an exit code.

A verb's module is imported when it is run, so that `--help` and a typo answer at once.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from recvault import __version__
from recvault.cli.app import App

VERBS = {
    "backfill": "Bring home a window of a source's history, or only what is named of it.",
    "check": "Check the configuration, the credentials and the bucket.",
    "decrypt": "Write an encrypted recording's plaintext, once it is proven.",
    "demo": "Show the main job on built-in simulated providers and an embedded S3.",
    "failures": "List what is dead or failing: why, since when, how often tried.",
    "manifest": "Write the manifests of what was archived on days that have ended.",
    "rebuild": "A new ledger from the bucket's sidecars.",
    "reconcile": "List a window again, and register what polls have missed.",
    "retry": "Make failed recordings due now.",
    "run": "The daemon: poll on schedule, transfer, reconcile.",
    "schema": "Print the sidecar's JSON Schema.",
    "show": "Show one recording: ledger row, attempts, keys, sidecar.",
    "status": "Show each source: watermark, lag, counts, oldest pending.",
    "sync": "One pass now: discover from each watermark, transfer all that is due, exit.",
    "verify": "The bucket against the ledger: what is missing, different, or nobody's.",
}


class _Verbs(click.Group):
    """Imports a verb's module only when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"recvault.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; also from RECVAULT_CONFIG.")
@click.option("-v", "--verbose", count=True, help="Say more: debug lines in the log.")
@click.option("-q", "--quiet", is_flag=True, help="Say less: warnings and errors alone, no progress.")
@click.option("--log-format", type=click.Choice(["json", "console"]), help="JSON unless on a terminal.")
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context, /, **options: Any) -> None:
    """Copy every call recording a company owns into a bucket it owns, and prove each copy right."""
    ctx.obj = App(**options)
