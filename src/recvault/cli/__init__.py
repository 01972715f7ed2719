"""The command line: one file per verb, each of which parses, calls, prints and returns an exit code.

A verb's module is imported only when the verb runs, so `--help` and typos are answered quickly.
"""

from __future__ import annotations

import difflib
import importlib
import os
from pathlib import Path
from typing import Any

import click

from recvault import __version__
from recvault.cli.app import App

VERBS = {
    "adopt": "Take over recordings that others laid into a bucket, each one proven.",
    "backup": "Write a copy of the ledger, for a restore or a downgrade.",
    "backfill": "Archive a source's history, a time range of it, or single calls, rooms or recordings.",
    "browse": "Search the archive in a web browser, listen, save recordings with their evidence.",
    "catalog": "Write the catalog: Parquet files of what the sidecars say, for SQL.",
    "check": "Check the configuration, the credentials and the bucket.",
    "config": "Print an example configuration or the one in effect, or check the file.",
    "cost": "Estimate what the providers still store, what it costs, what a prune would save.",
    "completion": "Print a shell's completion script: Tab completes verbs, options, sources, reasons.",
    "decrypt": "Decrypt an encrypted recording and verify the plaintext.",
    "demo": "Archive from simulated providers into a built-in S3 server.",
    "enrich": "Ask who called whom, for recordings that are archived already.",
    "erase": "Delete recordings for good, on request, so that they stay erased.",
    "export": "Write recordings into a folder to hand over: BagIt, WebDataset or Lhotse.",
    "failures": "List dead and failing recordings: why, since when, how many attempts.",
    "find": "Find recordings in the bucket: by number, call, time and source; no ledger is needed.",
    "gaps": "Compare the provider's calls with their recordings: never recorded, too short, too long.",
    "get": "Fetch a recording from the bucket and verify it.",
    "hold": "Keep recordings from being erased or pruned, and end that.",
    "init": "Set up an archive: ask, test, write the configuration, archive the first recordings.",
    "install": "Install the systemd service and start it.",
    "list": "List recordings that the ledger knows: by call, source, time and state.",
    "man": "Write the manual pages.",
    "manifest": "Write the manifests of the days that have ended.",
    "prune": "Delete at the provider what a fresh check of the bucket has proven to be archived.",
    "rebuild": "Make a new ledger from the sidecars in the bucket.",
    "reconcile": "List a time range again and register what polls missed.",
    "report": "Write a report as one HTML file: is everything here, what is missing, how much.",
    "retry": "Make failed recordings due now.",
    "run": "Run as a daemon: poll on schedule, transfer, reconcile.",
    "schema": "Print the sidecar's JSON Schema.",
    "show": "Show one recording: ledger row, attempts, keys, sidecar.",
    "status": "Show whether anything is at risk, and each source's watermark, lag and counts.",
    "support-bundle": "Gather what a report of a fault needs, without secrets; shown before it is written.",
    "sync": "Run one pass: discover new recordings, transfer everything that is due, exit.",
    "uninstall": "Stop and remove the systemd service; the archive stays.",
    "verify": "Compare the bucket with the ledger: missing, different and unknown objects.",
}


class _Verbs(click.Group):
    """Imports a verb's module only when the verb is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"recvault.cli.{cmd_name.replace('-', '_')}").command
        for each in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            if not any(param.name == _EVERYWHERE for param in each.params):
                each.params += [_after_the_verb(option) for option in _shared_options()]
        if _COMPLETES in os.environ:
            from recvault.cli.completion import complete_values

            complete_values(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest a similar verb for an unknown one."""
        if args and args[0] not in VERBS and (near := difflib.get_close_matches(args[0], VERBS, n=1)):
            ctx.fail(f"No such command '{args[0]}'. Did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))


_COMPLETES = "_RECVAULT_COMPLETE"  # set by a shell's completion script
_EVERYWHERE = "verbose"  # an option that is accepted before and after the verb


def _shared_options() -> list[click.Option]:
    return [
        # Whether it is readable is reported when the configuration is loaded, with its own message and exit code.
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path, readable=False),
            help="Configuration file; default: RECVAULT_CONFIG, ./config.toml, ~/.config/recvault/config.toml, "
            "/etc/recvault/config.toml.",
        ),
        click.Option(["-v", "--verbose"], count=True, help="Log debug messages too."),
        click.Option(["-q", "--quiet"], is_flag=True, help="Log only warnings and errors, show no progress."),
        click.Option(
            ["--log-format"],
            type=click.Choice(["json", "console"]),
            help="Log format; default: JSON unless stderr is a terminal.",
        ),
    ]


def _after_the_verb(option: click.Option) -> click.Option:
    """Accept the same option after the verb: it adds to the one before it."""

    def take(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        app = ctx.find_object(App)
        if value and app is not None and param.name:
            setattr(app, param.name, value)
        elif value and app is None:  # a shell asks for completions: nothing is run
            ctx.meta[f"recvault.{param.name}"] = value

    option.callback, option.expose_value, option.hidden = take, False, True
    return option


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]}, params=[*_shared_options()])
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context, /, **options: Any) -> None:
    """Archive call recordings from telephony providers in an S3 bucket, and verify each copy."""
    ctx.obj = App(**options)
