"""Check the chains of manifests and all that they list, on a copy of the bucket: without configuration or network.

The result describes the copy as it is. The check detects a removed or changed listed file, and a removed, changed or
reordered manifest that is followed by another. That the newest were removed with everything they list, or that the
newest was forged, is detected only with the hash of a head that was kept elsewhere.

What a tombstone names, with its SHA-256, is expected to be missing.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import BinaryIO, cast

from recvault.archive import ERASURES, RECORDS, SIDECAR_SUFFIX, Sidecar
from recvault.custody import buried, is_record, read_record
from recvault.errors import UnknownName
from recvault.ledger import KeySet
from recvault.models import JSON
from recvault.monitoring.report import PARTIAL
from recvault.operations.manifests import text
from recvault.operations.manifests.text import Entry, Manifest, Partition
from recvault.shutdown import Stop

SCHEMA = "recvault/evidence/v1"
MOST_TOLD = 1000
_LARGEST = 64 * 1024**2  # of a manifest or a sidecar: a larger file is neither
_TOGETHER = 1000
_CHUNK = 1024**2
_DEFAULT_ROOT = "recordings"

DIFFERENCES = ("missing", "different", "broken", "unknown")
"""How a copy can differ from its manifests. `orphan_media` and `not_covered` are reported, but are not faults."""


@dataclass(frozen=True, slots=True)
class CopyDifference:
    """One difference from the manifests."""

    kind: str
    path: str
    words: str


@dataclass(slots=True)
class CopyChecked:
    """The result of a check."""

    counts: Counter[str] = field(default_factory=Counter)
    differences: list[CopyDifference] = field(default_factory=list)  # at most MOST_TOLD
    chains: list[JSON] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        return PARTIAL if self.differences else 0

    @property
    def differences_total(self) -> int:
        return sum(self.counts[kind] for kind in DIFFERENCES)

    def found(self, kind: str, path: str, words: str) -> None:
        """Count a difference, and keep it if it is among the first."""
        self.counts[kind] += 1
        if len(self.differences) < MOST_TOLD:
            self.differences.append(CopyDifference(kind, path, words))

    def document(self) -> JSON:
        """Return the document that `recvault verify --manifests PATH --json` prints."""
        names = ("manifests", "checked", "ok", "erased", *DIFFERENCES, "orphan_media", "not_covered")
        return {
            "schema": SCHEMA,
            "command": "verify",
            "outcome": "partial" if self.differences else "ok",
            "counts": {name: self.counts[name] for name in names},
            "chains": self.chains,
            "differences": [
                {"kind": each.kind, "path": each.path, "message": each.words, "words": each.words}  # words: deprecated
                for each in self.differences
            ],
            "differences_total": self.differences_total,
        }


def check(root: Path, *, heads: Collection[str] = (), threads: int = 4, stop: Stop | None = None) -> CopyChecked:
    """Check the copy whose root contains `manifests/`. `heads` are hashes of manifests that must be in it.

    Raises UnknownName without such a directory, Interrupted on a stop.
    """
    if not (root / text.ROOT).is_dir():
        raise UnknownName(
            f"{root} contains no {text.ROOT}",
            "use the root of a copy of the bucket, or of a copy of its archive.prefix",
        )
    with KeySet() as listed, ThreadPoolExecutor(threads, thread_name_prefix="check") as readers:
        return _Check(root, set(heads), listed, readers, stop or Stop()).run()


class _Check:
    def __init__(self, root: Path, heads: set[str], listed: KeySet, readers: Executor, stop: Stop) -> None:
        self._root = root
        self._heads = heads  # not met yet
        self._listed = listed
        self._readers = readers
        self._stop = stop
        self._roots: set[str] = set()
        self._through: dict[Partition, date] = {}
        self._erased: defaultdict[str, list[str]] = defaultdict(list)  # keys by SHA-256
        self._checked = CopyChecked()

    def run(self) -> CopyChecked:
        records = list(self._records())
        for partition, numbers in sorted(self._places().items(), key=lambda pair: pair[0].path(1)):
            self._check_chain(partition, sorted(numbers))
        for path in records:
            if path not in self._listed:
                self._checked.counts["not_covered"] += 1
        for head in sorted(self._heads):
            self._checked.found("missing", head, "no manifest has this hash: manifests were removed or changed")
        with KeySet() as named:
            self._walk(SIDECAR_SUFFIX, lambda path: self._sidecar(path, named))
            self._walk("", lambda path: self._medium(path, named))
        return self._checked

    # -- chains --------------------------------------------------------------------------------------------------------

    def _places(self) -> dict[Partition, list[int]]:
        places: defaultdict[Partition, list[int]] = defaultdict(list)
        for path in self._files(text.ROOT.rstrip("/")):
            place = text.place_of(path)
            if place is None:
                self._checked.found("unknown", path, "this is not the name of a manifest")
            else:
                places[place[0]].append(place[1])
        return places

    def _records(self) -> Iterator[str]:
        """Yield the paths of custody's records; remember what tombstones name."""
        stones = []
        for beginning in RECORDS:
            for path in self._files(beginning.rstrip("/")):
                try:
                    record = read_record(path, self._read(path) or b"")
                except ValueError as error:
                    self._checked.found("unknown", path, str(error))
                    continue
                stones += [record] if beginning == ERASURES else []
                yield path
        for each in buried(stones):
            self._erased[str(each.get("sha256"))].append(str(each.get("key")))

    def _is_erased(self, entry: Entry) -> bool:
        """Whether a tombstone names it; keys begin with the archive's prefix, which a copy does not have."""
        return any(f"/{key}".endswith(f"/{entry.path}") for key in self._erased.get(entry.sha256, ()))

    def _check_chain(self, partition: Partition, numbers: Sequence[int]) -> None:
        before: tuple[int, str] | None = None
        for number in numbers:
            first = (before[0] if before else 0) + 1
            if count := number - first:
                missing = "manifest is" if count == 1 else f"{count} manifests are"
                self._checked.found("missing", partition.path(first), f"the {missing} missing before number {number}")
            before = (number, self._check_manifest(partition, number, before))
        number, sha256 = before or (0, "")
        through = self._through.get(partition)
        self._checked.chains.append(
            {
                "provider": partition.provider,
                "account_id": partition.account_id,
                "manifests": len(numbers),
                "number": number,
                "sha256": sha256,
                "through": str(through) if through else None,
            }
        )

    def _check_manifest(self, partition: Partition, number: int, before: tuple[int, str] | None) -> str:
        """Check a manifest, its link and all that it lists; return its hash."""
        path = partition.path(number)
        body = self._read(path) or b""
        sha256 = hashlib.sha256(body).hexdigest()
        self._heads.discard(sha256)
        self._checked.counts["manifests"] += 1
        try:
            manifest = text.read(body)
        except ValueError as error:
            self._checked.found("broken", path, f"it was changed: {error}")
            return sha256
        expected = Entry(partition.path(before[0]), before[1]) if before else None
        # If the previous one is missing, that is reported already, and the link cannot be compared.
        if (before[0] if before else 0) == number - 1 and manifest.before != expected:
            self._checked.found("broken", path, _broken(manifest, expected))
        self._through[partition] = manifest.through
        self._check_entries(path, manifest.entries)
        return sha256

    def _check_entries(self, manifest: str, entries: Sequence[Entry]) -> None:
        for start in range(0, len(entries), _TOGETHER):
            self._stop.check()
            some = entries[start : start + _TOGETHER]
            for entry, sha256 in zip(some, self._readers.map(self._sha256, some), strict=True):
                self._checked.counts["checked"] += 1
                if sha256 is None and self._is_erased(entry):
                    self._checked.counts["erased"] += 1
                elif sha256 is None:
                    self._checked.found("missing", entry.path, f"listed in {manifest}")
                elif sha256 != entry.sha256:
                    self._checked.found("different", entry.path, f"its SHA-256 is not the one listed in {manifest}")
                else:
                    self._checked.counts["ok"] += 1
            self._listed.add(entry.path for entry in some)
            self._roots |= {entry.path.partition("/")[0] for entry in some if not is_record(entry.path)}

    # -- what no manifest lists ----------------------------------------------------------------------------------------

    def _walk(self, suffix: str, judge: Callable[[str], None]) -> None:
        for root in sorted(self._roots or {_DEFAULT_ROOT}):
            for path in self._files(root):
                if path.endswith(suffix) and path not in self._listed:
                    judge(path)

    def _sidecar(self, path: str, named: KeySet) -> None:
        """Judge an unlisted sidecar: not covered yet if it was archived after the last day of its manifests."""
        said = _said(self._read(path))
        if said is None:
            self._checked.found("unknown", path, "no manifest lists it, and it is not a sidecar")
            named.add([path])
            return
        partition, archived_on, media = said
        folder, _, _ = path.rpartition("/")
        named.add([path, *(f"{folder}/{medium.rpartition('/')[2]}" for medium in media)])
        through = self._through.get(partition, max(self._through.values(), default=None))
        if through is not None and archived_on > through:
            self._checked.counts["not_covered"] += 1
        else:
            self._checked.found(
                "unknown", path, "no manifest lists it, although its date is before the last manifest's day"
            )

    def _medium(self, path: str, named: KeySet) -> None:
        if path not in named:
            self._checked.counts["orphan_media"] += 1

    # -- files ---------------------------------------------------------------------------------------------------------

    def _files(self, folder: str) -> Iterator[str]:
        """Yield the files below a folder, in order; links to folders are not followed."""
        for directory, folders, names in os.walk(self._root / folder):
            self._stop.check()
            folders.sort()
            for name in sorted(names):
                yield Path(directory, name).relative_to(self._root).as_posix()

    def _open(self, path: str) -> BinaryIO | None:
        """Open a file of the copy; None if there is none, or a link leads out of the copy."""
        file = self._root / path
        try:
            if file.is_file() and file.resolve().is_relative_to(self._root.resolve()):
                return cast("BinaryIO", file.open("rb", buffering=0))
        except OSError:
            pass
        return None

    def _read(self, path: str) -> bytes | None:
        file = self._open(path)
        if file is None:
            return None
        with file:
            return file.read(_LARGEST)

    def _sha256(self, entry: Entry) -> str | None:
        """Return a file's hash; None if it is missing."""
        file, digest = self._open(entry.path), hashlib.sha256()
        if file is None:
            return None
        with file:
            while chunk := file.read(_CHUNK):
                self._stop.check()
                digest.update(chunk)
        return digest.hexdigest()


def _broken(manifest: Manifest, expected: Entry | None) -> str:
    if expected is None:
        return "the first manifest names a previous one"
    if manifest.before is None or manifest.before.path != expected.path:
        return f"it does not name {expected.path} as the previous manifest"
    return f"{expected.path} differs from the manifest that it names: the SHA-256 does not match"


def _said(body: bytes | None) -> tuple[Partition, date, list[str]] | None:
    """Return a sidecar's account, the day it was archived, and its media's keys; None if it is not a sidecar."""
    try:
        sidecar = Sidecar.read(body or b"")
        if not sidecar.is_v1:
            return None
        provider, account_id, _ = sidecar.identity
        return Partition.of(provider, account_id), sidecar.archived_at.date(), [each.key for each in sidecar.media]
    except ValueError:
        return None
