"""`recvault adopt`: take over recordings that others laid into a bucket."""

from __future__ import annotations

import click

from recvault.cli.app import App, now, print_json, verb

_SHOWN = 20


@click.command("adopt")
@click.option("--source", "name", required=True, metavar="NAME", help="The source whose recordings they are.")
@click.option("--dry-run", is_flag=True, help="Match and prove, and say what would be adopted; write nothing.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most this many recordings; default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@click.argument("origin", metavar="s3://BUCKET/PREFIX")
@verb
def command(app: App, name: str, dry_run: bool, limit: int | None, as_json: bool, origin: str) -> int:
    """Take over recordings that a script, or the provider's own export, laid into a bucket.

    Each object is matched to a recording of the source, proven to be it by its format, its length and samples of the
    provider's media, and copied inside the store. The other bucket is only read.
    """
    bucket, prefix = _place(origin)
    from recvault.custody.events import tell
    from recvault.operations.adopt import Adopt

    with app.signals(), app.runtime() as runtime:
        runtime.source(name)
        if not dry_run:
            runtime.prepare_store()
            tell(runtime.records, "adopt", now=now(), facts=[{"source": name, "from": f"s3://{bucket}/{prefix}"}])
        adopted = Adopt(runtime, name, bucket, prefix, dry_run=dry_run, limit=limit).run()
    if as_json:
        print_json(adopted.document())
        return app.exit_code(adopted.exit_code)
    would = "would be adopted" if dry_run else "adopted"
    click.echo(
        f"{adopted.objects:,} objects: {adopted.adopted:,} recordings {would}, {adopted.already_archived:,} archived "
        f"before, {adopted.copies:,} copies, {adopted.named_total:,} not adopted; {adopted.provider_bytes:,} bytes "
        "from the provider"
    )
    for each in sorted(adopted.named, key=lambda named: named.key)[:_SHOWN]:
        from recvault.cli.tables import cell

        click.echo(cell(f"not adopted: {each.key}: {each.message} ({each.reason})"))
    if adopted.named_total > _SHOWN:
        click.echo(f"and {adopted.named_total - _SHOWN:,} more: --json lists up to 1,000")
    return app.exit_code(adopted.exit_code)


def _place(origin: str) -> tuple[str, str]:
    """Return bucket and prefix. UsageError if it is no such address."""
    scheme, _, rest = origin.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise click.UsageError(f"{origin} is not the address of a bucket, such as s3://bucket/prefix/")
    return bucket, prefix
