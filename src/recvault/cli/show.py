"""`recvault show`: all that is known of one recording."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, now, print_json, question, say_error
from recvault.errors import RecvaultError
from recvault.models import State, unstamp

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.app.source_status import Inquiry

SCHEMA = "recvault/show/v1"
_NAME_WIDTH = 18


@click.command("show")
@click.argument("recording_id", metavar="ID")
@click.option("--no-sidecar", is_flag=True, help="Show what the ledger knows, and do not ask the bucket.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@question
def command(app: App, recording_id: str, no_sidecar: bool, as_json: bool) -> int:
    """Show one recording: its state and why, attempts, keys, sidecar. An ID is the provider's own, or SOURCE:ID."""
    with app.inquiry() as inquiry:
        documents = [_document(inquiry, row) for row in inquiry.find(recording_id)]
    if not no_sidecar:
        _add_sidecars(app, documents)
    if as_json:
        print_json({"schema": SCHEMA, "recordings": documents})
        return 0
    for document in documents:
        _print(document, app.typed)
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


def _print(document: dict[str, Any], typed: Callable[[str], str]) -> None:
    from recvault.cli.tables import cell

    for name, value in _facts(document, now(), typed):
        click.echo(f"{name:<{_NAME_WIDTH}}{cell(value)}")
    for name in ("sidecar", "listed"):
        if document[name] is not None:
            click.echo(f"{name}:")
            click.echo(json.dumps(document[name], ensure_ascii=True, indent=2))
            return


def _facts(document: dict[str, Any], moment: datetime, typed: Callable[[str], str]) -> Iterator[tuple[str, object]]:
    """Yield what the ledger knows as names and values, without empty ones. A second line of a fact has no name."""
    yield "recording", document["recording_id"]
    yield "source", f"{document['source']} ({', '.join(filter(None, (document['provider'], document['api'])))})"
    yield "account", document["account_id"]
    if document["call_id"]:
        yield "call", document["call_id"]
    yield "created", unstamp(document["created_at"])
    yield "registered", unstamp(document["registered_at"])
    yield from _state(document, moment, typed)
    for medium in document["media"]:
        yield "media", medium["key"]
        yield "", f"{medium['bytes']:,} bytes, sha256 {medium['sha256']}, check {medium['check']['status']}"
    if document["sidecar_key"]:
        yield "sidecar", document["sidecar_key"]
    for edition in document["earlier_editions"]:
        yield "earlier edition", edition["sidecar_key"]
        for medium in edition["media"]:
            yield "", f"{medium['key']}  {medium['bytes']:,} bytes, check {medium['check']['status']}"


def _state(document: dict[str, Any], moment: datetime, typed: Callable[[str], str]) -> Iterator[tuple[str, object]]:
    """Yield the state, why it is so, what was tried, and what comes next."""
    from recvault.cli.hints import hint
    from recvault.cli.tables import Beside, cell

    since = document["settled_at"] or document["failing_since"]
    yield "state", f"{document['state']} since {cell(unstamp(since))}" if since else document["state"]
    if document["reason"]:
        yield "reason", f"{document['reason']}: {document['message']}" if document["message"] else document["reason"]
    elif document["state"] == State.NOT_READY and document["listed"]:
        yield "reason", f"the provider's status is {document['listed']['status']}: read again until it is final"
    if document["in_doubt"] and not document["is_proven"]:
        yield "", "perhaps the service's fault, not the recording's: such attempts do not count towards max_attempts"
    attempts, counted = document["attempts"], document["faults"]
    if attempts:
        yield "attempts", f"{attempts:,}{f', {counted:,} of them count towards max_attempts' if counted else ''}"
    if document["in_transfer"]:
        yield "next attempt", "in transfer now"
    elif document["next_attempt_at"]:
        due = unstamp(document["next_attempt_at"])
        yield "next attempt", f"{cell(due)}, {cell(Beside(due, moment, awaited=True))}"
    advice = hint(document, typed) if document["state"] in (State.FAILING, State.DEAD) else ""
    if advice:
        yield "what to do", advice
