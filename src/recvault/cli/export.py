"""`recvault export`: recordings as a folder to hand over, by the bucket alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, now, print_json, verb
from recvault.cli.archives import chosen_archive, of_archive, of_selection, open_archive, shown_url
from recvault.cli.backfill import check_window
from recvault.cli.outputs import unwritable
from recvault.errors import NotAsArchived, UnknownName
from recvault.models import JSON

if TYPE_CHECKING:
    from recvault.exporting.export_folder import Exported
    from recvault.reading.archive import Archive
    from recvault.reading.recordings import ArchivedRecording

SCHEMA = "recvault/export/v1"
_SHOWN = 5
_PARTIAL = 3  # exit code: something that was selected is not in the folder


@click.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--bagit", "form", flag_value="bagit", help="A bag (RFC 8493), with sidecars and manifests: evidence.")
@click.option("--webdataset", "form", flag_value="webdataset", help="Tar shards for WebDataset.")
@click.option("--lhotse", "form", flag_value="lhotse", help="Audio with manifests for Lhotse.")
@of_selection
@click.option("--recording", "recording_ids", multiple=True, metavar="ID", help="Only this recording; repeatable.")
@click.option("--allow-missing", is_flag=True, help="Keep the folder even if something is not as archived.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@of_archive
@verb
def command(
    app: App,
    /,
    folder: Path,
    form: str | None,
    allow_missing: bool,
    as_json: bool,
    archive: str | None,
    endpoint_url: str | None,
    region: str | None,
    **chosen: Any,
) -> int:
    """Write recordings and what proves them into a new folder DIR, to hand over or to train with.

    DIR appears only when it is complete: every medium has the size and SHA-256 of its sidecar. If one has not, nothing
    is left and the exit code is 3, unless such recordings may be left out. Encrypted recordings are exported as
    ciphertext. It needs the right to list and read the bucket, and no ledger.
    """
    check_window(chosen["since"], chosen["until"])
    if form is None:
        raise click.UsageError("give --bagit, --webdataset or --lhotse")
    where, catalog = chosen_archive(app, archive, endpoint_url, region)
    with open_archive(app, where, catalog) as opened, app.signals():
        try:
            done = _export(opened, folder, form, shown_url(where), allow_missing, chosen)
        except OSError as error:
            raise unwritable(folder, error) from error
        _tell(app, opened, folder, done, as_json)
        complete = not (done.failed or opened.unreadable)
        return app.exit_code(0 if complete else _PARTIAL)


def _export(
    archive: Archive, folder: Path, form: str, name: str, allow_missing: bool, chosen: dict[str, Any]
) -> Exported:
    """Fill the folder. Raises NotAsArchived, and leaves no folder, if something is missing and must not be."""
    from recvault.exporting.bag import write_bag
    from recvault.exporting.export_folder import new_folder
    from recvault.exporting.lhotse import write_lhotse
    from recvault.exporting.shards import write_shards

    with new_folder(folder) as made:
        recordings = _recordings(archive, chosen)
        if form == "bagit":
            done = write_bag(archive, recordings, made, name=name, selection=_words(chosen), now=now())
        else:
            done = (write_shards if form == "webdataset" else write_lhotse)(recordings, made)
        if not done.recordings and not done.failed and not archive.unreadable:
            raise UnknownName("no recordings are selected: nothing was written", "`recvault find` lists what is there")
        if not allow_missing and (lost := _lost(archive, done)):
            more = f", and {len(lost) - 1:,} more" if len(lost) > 1 else ""
            raise NotAsArchived(
                f"not exported: {lost[0]}{more}; nothing was written", "--allow-missing exports what is proven"
            )
    return done


def _lost(archive: Archive, done: Exported) -> list[str]:
    unread = [f"{each.key}: {each.reason}" for each in archive.unreadable]
    return [f"{each.recording_id}: {each.reason}" for each in done.failed] + unread


def _recordings(archive: Archive, chosen: dict[str, Any]) -> Iterator[ArchivedRecording]:
    """Return the recordings that are selected, once each."""
    ids = chosen["recording_ids"] or (None,)
    others = {name: value for name, value in chosen.items() if name != "recording_ids"}
    try:
        found = [archive.recordings(recording_id=each, **others) for each in dict.fromkeys(ids)]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return (recording for each in found for recording in each)


def _words(chosen: dict[str, Any]) -> str:
    """Return the selection as people read it."""
    names = {"recording_ids": "recordings", "call_id": "call"}
    told = (
        f"{names.get(name, name)} {', '.join(value) if isinstance(value, tuple) else value}"
        for name, value in chosen.items()
        if value
    )
    return "; ".join(told) or "everything in the archive"


def _tell(app: App, archive: Archive, folder: Path, done: Exported, as_json: bool) -> None:
    from recvault.cli.tables import size

    if as_json:
        unread: list[JSON] = [{"key": each.key, "reason": each.reason} for each in archive.unreadable]
        print_json({"schema": SCHEMA, "folder": str(folder), **done.document(), "unreadable": unread})
    elif not app.quiet:
        click.echo(f"{folder}: {done.recordings:,} recordings, {done.media:,} files, {size(done.bytes)}", err=True)
        if done.encrypted:
            click.echo(f"{done.encrypted:,} of them are encrypted, and exported as ciphertext", err=True)
        if done.unlisted:
            click.echo(f"{done.unlisted:,} of them are in no manifest yet", err=True)
    for line in (lost := _lost(archive, done))[:_SHOWN]:
        click.echo(f"left out: {line}", err=True)
    if len(lost) > _SHOWN:
        click.echo(f"and {len(lost) - _SHOWN:,} more: --json lists all", err=True)
