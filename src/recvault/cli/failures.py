"""`recvault failures`: what is dead or failing, and what could not be read."""

from __future__ import annotations

from typing import Any

import click

from recvault.cli.app import App, print_json, question

SCHEMA = "recvault/failures/v1"
TIMES = ("failing_since", "next_attempt_at", "first_seen_at")


@click.command("failures")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@question
def command(app: App, as_json: bool) -> int:
    """What is dead or failing, why, since when, how often tried; and rows in quarantine, with their bodies."""
    from recvault.cli.tables import print_table

    with app.runtime() as runtime:
        known = runtime.has_ledger
        failures = runtime.ledger.ask.failures() if known else []
        quarantined = runtime.ledger.ask.quarantined() if known else []
    if as_json:
        print_json({"schema": SCHEMA, "failures": failures, "quarantined": quarantined})
        return 0
    if failures:
        columns = (
            "source",
            "recording_id",
            "state",
            "reason",
            "attempts",
            "failing_since",
            "next_attempt_at",
            "message",
        )
        print_table(
            [name.replace("_", " ") for name in columns],
            [[_shown(row, name) for name in columns] for row in failures],
            prose=("message",),
        )
    if quarantined:
        names = ("source", "account_id", "recording_id", "reason", "first_seen_at", "body")
        print_table(
            ["quarantined in", "account", "recording id", "reason", "first seen at", "body"],
            [[_shown(row, name) for name in names] for row in quarantined],
            prose=("reason", "body"),
        )
    if not failures and not quarantined:
        click.echo("nothing is failing, dead or in quarantine")
    return 0


def _shown(row: dict[str, Any], name: str) -> Any:
    """A value for people: times to the second."""
    from recvault.models import unstamp

    return unstamp(row[name]) if name in TIMES and row[name] else row[name]
