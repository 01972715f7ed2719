"""A bag by BagIt 1.0 (RFC 8493): media and sidecars with their sums, and the manifests that prove them.

bagit.txt, bag-info.txt, tagmanifest-sha256.txt
manifest-sha256.txt              for `sha256sum -c`: every file under data/
data/recordings/…                media and sidecars, under their paths in the archive
recordings.csv                   a line for each recording: who called whom, when, which file
manifests/provider=…/…           the archive's manifests, whole, from the first that lists one of these to the head
README.txt                       how to check it
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from recvault import __version__
from recvault.archive import MANIFESTS, escape
from recvault.errors import NotAsArchived
from recvault.exporting.export_folder import Exported
from recvault.exporting.spreadsheet import COLUMNS, spreadsheet_row
from recvault.reading.archive import Archive
from recvault.reading.recordings import ArchivedRecording

PAYLOAD = "data"
_SAFE = re.compile(r"[A-Za-z0-9_.%~=+@ -]+")
_NUMBER = re.compile(r"number=([0-9]{8})/manifest-sha256\.txt")
_HASH = 64  # characters of a SHA-256 in hex; a line of a manifest is the hash, two characters, and the path
_README = """\
{recordings} recordings out of the archive {archive}, taken at {now:%Y-%m-%d %H:%M:%S} UTC with recvault {version}
selected by: {selection}

Check every file, without a network and without recvault, in this folder:

    sha256sum -c manifest-sha256.txt

The sum of each medium is also in its sidecar, the .json file beside it, which was written when it was archived.
recordings.csv lists the recordings: who called whom, when, and which file.

manifests/ has the archive's own manifests of these accounts: {listed} of the recordings are listed there, with the same
sums, {unlisted} are too new to be. The first line of each manifest is the SHA-256 of the one before. Compare the
SHA-256 of the last one with the head that the archive's owner keeps elsewhere: then no line before it was changed.
"""


class _Bag:
    """A bag that is being filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sums: dict[str, str] = {}  # by path in the archive

    def take(self, archive: Archive, recording: ArchivedRecording) -> None:
        """Write a recording's media and sidecar, or nothing. Raises NotAsArchived."""
        paths = {key: archive.keys.path(key) for key in (recording.sidecar_key, *_keys(recording))}
        for path in paths.values():
            if not all(_SAFE.fullmatch(part) and part.strip(".") for part in path.split("/")):
                raise NotAsArchived(f"{path!r} cannot be the name of a file", "run `recvault verify`")
        written: list[Path] = []
        try:
            for medium in recording.media:
                written.append(medium.download(self._place(paths[medium.key])))
            body = recording.sidecar_body()
            written.append(self._place(paths[recording.sidecar_key]))
            written[-1].write_bytes(body)
        except NotAsArchived:
            for place in written:
                place.unlink()
            raise
        self.sums[paths[recording.sidecar_key]] = hashlib.sha256(body).hexdigest()
        self.sums |= {paths[medium.key]: medium.sha256 for medium in recording.media}

    def _place(self, path: str) -> Path:
        place = self.folder / PAYLOAD / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


def _keys(recording: ArchivedRecording) -> list[str]:
    return [medium.key for medium in recording.media]


def write_bag(
    archive: Archive, recordings: Iterable[ArchivedRecording], folder: Path, *, name: str, selection: str, now: datetime
) -> Exported:
    """Fill a folder. What is not as archived is left out and told. Raises NotAsArchived for a contradicting manifest.

    `name` of the archive and `selection`, in words, are told in the bag.
    """
    bag, done = _Bag(folder), Exported()
    accounts: dict[tuple[str, str], int | None] = {}
    table = io.StringIO()
    lines = csv.DictWriter(table, COLUMNS, lineterminator="\r\n")
    lines.writeheader()
    for recording in recordings:
        try:
            bag.take(archive, recording)
        except NotAsArchived as error:
            done.left_out(recording, error.message)
            continue
        done.wrote(recording, recording.media)
        lines.writerow(spreadsheet_row(recording.row))
        account = (recording.provider, recording.account_id)
        accounts[account] = _earlier(accounts.get(account, recording.row["manifest_number"]), recording)
    listed = {path for account, first in accounts.items() for path in _manifests(archive, account, first or 1, bag)}
    sidecars = {path for path in bag.sums if path.endswith(".json")}
    done.unlisted = len(sidecars - listed)
    about = {"archive": name, "selection": selection, "now": now, "version": __version__}
    _write_tags(bag, table.getvalue(), done, about)
    return done


def _earlier(first: int | None, recording: ArchivedRecording) -> int | None:
    """Return the number of the first manifest to read; None if it is not known."""
    number = recording.row["manifest_number"]
    return None if first is None or number is None else min(first, int(number))


def _manifests(archive: Archive, account: tuple[str, str], first: int, bag: _Bag) -> set[str]:
    """Copy an account's manifests, from the first that lists a file of the bag on; return what they list of it."""
    provider, account_id = account
    root = f"{MANIFESTS}provider={escape(provider)}/account={escape(account_id)}/"
    listed, reader = set[str](), archive.access.reader
    for found in reader.listed(archive.keys.prefix + root):
        number = _NUMBER.fullmatch(found.key.removeprefix(archive.keys.prefix + root))
        body = reader.get(found.key) if number and int(number[1]) >= first else None
        if body is None:
            continue
        ours = _lines(body.content, bag.sums)
        for path, sha256 in ours.items():
            if bag.sums[path] != sha256:
                raise NotAsArchived(f"{found.key} lists another SHA-256 of {path}", "run `recvault verify --deep`")
        listed |= ours.keys()
        if listed:
            place = bag.folder / archive.keys.path(found.key)
            place.parent.mkdir(parents=True)
            place.write_bytes(body.content)
    return listed


def _lines(content: bytes, paths: Mapping[str, str]) -> dict[str, str]:
    """Return the sums that a manifest states of these paths."""
    lines = (line for line in content.decode("utf-8", "replace").splitlines() if not line.startswith("#"))
    return {line[_HASH + 2 :]: line[:_HASH] for line in lines if line[_HASH + 2 :] in paths}


def _write_tags(bag: _Bag, table: str, done: Exported, about: Mapping[str, object]) -> None:
    payload = sum((bag.folder / PAYLOAD / path).stat().st_size for path in bag.sums)
    info = {
        "Bag-Software-Agent": f"recvault {about['version']}",
        "Bagging-Date": f"{about['now']:%Y-%m-%d}",
        "External-Description": f"{done.recordings} recordings out of {about['archive']}, by {about['selection']}",
        "Payload-Oxum": f"{payload}.{len(bag.sums)}",
        "Recvault-Encrypted": str(done.encrypted),
        "Recvault-Left-Out": str(len(done.failed)),
        "Recvault-Not-In-A-Manifest": str(done.unlisted),
    }
    words = _README.format(
        recordings=done.recordings, listed=done.recordings - done.unlisted, unlisted=done.unlisted, **about
    )
    left_out = "".join(f"\nleft out, {each.recording_id}: {each.reason}" for each in done.failed)
    (bag.folder / PAYLOAD).mkdir(exist_ok=True)
    tags = {
        "bagit.txt": "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": "".join(f"{label}: {' '.join(value.split())}\n" for label, value in info.items()),
        "manifest-sha256.txt": "".join(f"{sha256}  {PAYLOAD}/{path}\n" for path, sha256 in sorted(bag.sums.items())),
        "recordings.csv": table,
        "README.txt": f"{words}{left_out}",
    }
    for name, text in tags.items():
        (bag.folder / name).write_bytes(text.encode("utf-8", "backslashreplace"))
    files = sorted(path for path in bag.folder.rglob("*") if path.is_file())
    sums = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(bag.folder)}\n"
        for path in files
        if path.relative_to(bag.folder).parts[0] != PAYLOAD
    )
    tag_sums = "".join(sums)
    (bag.folder / "tagmanifest-sha256.txt").write_text(tag_sums)
