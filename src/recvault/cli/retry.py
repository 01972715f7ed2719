"""`recvault retry`: make failed recordings due now."""

from __future__ import annotations

import click

from recvault.cli.app import App, now, print_json, question, say_error

SCHEMA = "recvault/retry/v1"


@click.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Failed and dead recordings of this source.")
@click.option(
    "--reason", "reasons", multiple=True, metavar="REASON", help="Failed and dead recordings with this reason."
)
@click.option("--all", "everything", is_flag=True, help="All recordings that are failing, dead, not ready or delayed.")
@click.option(
    "--suspect", is_flag=True, help="All archived recordings that are flagged or lack a format; fetch them again."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@question
def command(
    app: App,
    /,
    ids: tuple[str, ...],
    sources: tuple[str, ...],
    reasons: tuple[str, ...],
    everything: bool,
    suspect: bool,
    as_json: bool,
) -> int:
    """Make recordings due now and reset their attempts; the next pass transfers them.

    An ID is the provider's own; if two sources share one, SOURCE:ID. By ID, gone and external recordings are tried
    again too. A recording that is archived as suspect, or lacks a format, is fetched again; better media are stored
    beside the first.
    """
    if bool(ids) + bool(sources or reasons) + everything + suspect != 1:
        raise click.UsageError("give IDs, or --source and --reason, or --all, or --suspect")
    from recvault.cli.hints import check_reasons
    from recvault.ledger import running_daemon

    with app.inquiry() as inquiry:
        for name in sources:
            inquiry.source(name)
        rows: list[int] | None = [row["id"] for text in ids for row in inquiry.find(text)] or None
        if reasons:
            check_reasons(reasons, {row["reason"] for row in inquiry.ledger.ask.failure_reasons()})
        if sources or reasons:
            rows = inquiry.ledger.ask.failing_ids(sources or None, reasons or None)
        stranded = inquiry.stranded(dead=True)
        apart = [(each.source, each.account_id) for each in stranded]
        count = 0 if suspect else inquiry.ledger.retry(rows, now(), apart)
        if ids or suspect:
            count += inquiry.ledger.ask_again(rows, now())
    if as_json:
        left = {"stranded": sum(each.waiting for each in stranded)} if stranded else {}
        print_json({"schema": SCHEMA, "made_due": count, **left})
    else:
        daemon = running_daemon(inquiry.settings.ledger.path)
        taker = "the running daemon" if daemon else "the next `recvault sync`"
        click.echo(f"{count} due now: {taker} takes them")
    for each in stranded:
        say_error(each.error)
    return 0
