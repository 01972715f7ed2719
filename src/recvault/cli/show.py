"""`recvault show`: all that is known of one recording."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, print_json, question, say_error
from recvault.errors import RecvaultError

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.app.source_status import Inquiry

SCHEMA = "recvault/show/v1"


@click.command("show")
@click.argument("recording_id", metavar="ID")
@click.option("--no-sidecar", is_flag=True, help="Show what the ledger knows, and do not ask the bucket.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@question
def command(app: App, recording_id: str, no_sidecar: bool, as_json: bool) -> int:
    """Show one recording: ledger row, attempts, keys, sidecar. An ID is the provider's own, or SOURCE:ID."""
    with app.inquiry() as inquiry:
        documents = [_document(inquiry, row) for row in inquiry.find(recording_id)]
    if not no_sidecar:
        _add_sidecars(app, documents)
    if as_json:
        print_json({"schema": SCHEMA, "recordings": documents})
        return 0
    for document in documents:
        _print(document)
    return 0


def _document(inquiry: Inquiry, row: dict[str, Any]) -> dict[str, Any]:
    names = [name for name in row if name not in ("id", "recording", "media", "lease", "may_have_put", "looks")]
    document = {name: row[name] for name in names}
    document["in_transfer"] = bool(row["lease"])
    if row["lease"]:
        document["next_attempt_at"] = None  # it is under way: what the row holds is when it would be given up
    document["media"] = json.loads(row["media"]) if row["media"] else []
    document["earlier_editions"] = inquiry.ledger.ask.editions(row["id"])
    document["listed"] = json.loads(row["recording"]) if row["recording"] else None
    document["sidecar"] = None
    return document


def _add_sidecars(app: App, documents: list[dict[str, Any]]) -> None:
    """Add their sidecars from the bucket, if any of these is archived."""
    archived = [document for document in documents if document["sidecar_key"]]
    if archived:
        with app.runtime() as runtime:
            for document in archived:
                document["sidecar"] = _sidecar(runtime, document["sidecar_key"])


def _sidecar(runtime: Runtime, key: str) -> Any:
    """Return the sidecar from the bucket; without an answer of the bucket, the rest is still shown."""
    from recvault.archive import Sidecar

    try:
        body = runtime.store.get(key)
    except RecvaultError as error:
        say_error(error)
        return None
    try:
        return None if body is None else Sidecar.read(body).document
    except ValueError as error:
        click.echo(f"{key}: {error} (`recvault verify` says more)", err=True)
        return None


def _print(document: dict[str, Any]) -> None:
    from recvault.cli.tables import cell

    for name, value in document.items():
        if name in ("media", "listed", "sidecar", "earlier_editions") or value is None:
            continue
        click.echo(f"{name.replace('_', ' '):<18}{cell(value)}")
    for medium in document["media"]:
        click.echo(f"{'media':<18}{cell(medium['key'])}")
        click.echo(f"{'':<18}{medium['bytes']:,} bytes, sha256 {medium['sha256']}, check {medium['check']['status']}")
    for edition in document["earlier_editions"]:
        click.echo(f"{'earlier edition':<18}{cell(edition['sidecar_key'])}")
        for medium in edition["media"]:
            click.echo(f"{'':<18}{cell(medium['key'])}  {medium['bytes']:,} bytes, check {medium['check']['status']}")
    for name in ("sidecar", "listed"):
        if document[name] is not None:
            click.echo(f"{name}:")
            click.echo(json.dumps(document[name], ensure_ascii=True, indent=2))
            return
