"""Check one recording: read its sidecar and check each media file, whatever a listing said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from recvault.archive import Sidecar
from recvault.errors import Cold, TooLarge
from recvault.ledger import Expected, ExpectedMedium
from recvault.models import State
from recvault.operations.verify.differences import Difference, DifferenceKind, about
from recvault.operations.verify.scope import Sample
from recvault.store import Described, Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result for one recording."""

    row: Expected
    differences: tuple[Difference, ...] = ()
    media: tuple[ExpectedMedium, ...] = ()  # from the sidecar, or from the ledger if that cannot be read
    read_bytes: int | None = None  # None: not read
    unproven: int = 0
    unproven_sidecar: bool = False  # the ledger has no hash to compare it with
    restored: bool = False  # its sidecar was restored from the ledger, without what only the provider knew
    cold: int = 0
    unkept: tuple[ExpectedMedium, ...] = ()  # there, though the store keeps no SHA-256 of its own for them
    sidecar: Sidecar | None = None  # as read; None: it is not the archived one, or cannot be read

    @property
    def is_ok(self) -> bool:
        return not self.differences

    @property
    def is_missing(self) -> bool:
        """Whether objects are missing and nothing else is wrong: then they can be restored."""
        return bool(self.differences) and all(each.kind is DifferenceKind.MISSING for each in self.differences)


class _Wrong(Exception):
    """A sidecar that is not the archived one."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(reason, words)
        self.reason, self.words = reason, words


@dataclass(slots=True)
class _Tally:
    read_bytes: int = 0
    unproven: int = 0
    unproven_sidecar: bool = False
    restored: bool = False
    cold: int = 0
    unkept: list[ExpectedMedium] = field(default_factory=list)
    sidecar: Sidecar | None = None


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks recordings by requests to the bucket. Thread-safe."""

    reader: Reader
    sample: Sample

    def __call__(self, row: Expected) -> Checked:
        """Check one recording."""
        tally = _Tally()
        deep = row.identity in self.sample
        found, media = self._sidecar(row, tally)
        for medium in () if row.is_replaced else media:
            found += self._medium(row, medium, tally, deep=deep)
        return Checked(
            row=row,
            differences=tuple(_with_outlook(row, found)),
            media=media,
            read_bytes=tally.read_bytes if deep else None,
            unproven=tally.unproven,
            unproven_sidecar=tally.unproven_sidecar,
            restored=tally.restored,
            cold=tally.cold,
            unkept=tuple(tally.unkept),
            sidecar=tally.sidecar,
        )

    def _sidecar(self, row: Expected, tally: _Tally) -> tuple[list[Difference], tuple[ExpectedMedium, ...]]:
        """Return what is wrong with the sidecar, and the expected media."""
        try:
            body = self.reader.get(row.sidecar_key)
            if body is None:
                message = "its sidecar is missing"
                return [about(row, DifferenceKind.MISSING, row.sidecar_key, "sidecar.missing", message)], row.media
            sidecar = read(body.content, body.noted)
            media = _compared(row, sidecar)
            _hold(row, sidecar.sha256)
            tally.unproven_sidecar = row.sidecar_sha256 is None
            tally.restored, tally.sidecar = sidecar.is_restored, sidecar
            return [], media
        except TooLarge as error:
            return [
                about(row, DifferenceKind.DIFFERENT, row.sidecar_key, "sidecar.too_large", error.message)
            ], row.media
        except Cold:
            tally.cold += 1
            return self._cold_sidecar(row, tally), row.media
        except _Wrong as wrong:
            return [about(row, DifferenceKind.DIFFERENT, row.sidecar_key, wrong.reason, wrong.words)], row.media

    def _cold_sidecar(self, row: Expected, tally: _Tally) -> list[Difference]:
        """Check a sidecar that cannot be read by the store's own hash and the one in its metadata."""
        found = self.reader.describe(row.sidecar_key)
        told = found and (found.kept or found.noted)
        tally.unproven_sidecar = row.sidecar_sha256 is None or not told
        if found is not None and row.sidecar_sha256 is not None:
            for sha256 in (found.kept, found.noted):
                if sha256 not in (None, row.sidecar_sha256):
                    words = _not_archived(row.sidecar_sha256, sha256)
                    return [about(row, DifferenceKind.DIFFERENT, row.sidecar_key, "sidecar.changed", words)]
        return []

    def _medium(self, row: Expected, medium: ExpectedMedium, tally: _Tally, *, deep: bool) -> list[Difference]:
        found = self.reader.describe(medium.key)
        if found is None:
            return [about(row, DifferenceKind.MISSING, medium.key, "media.missing", "it is not there")]
        wrong = list(_wrong(medium, found))
        if found.kept is None:
            tally.unkept.append(medium)
        if deep and not wrong:
            wrong += self._read(medium, tally)
        elif not (found.kept or found.noted):
            tally.unproven += 1
        return [about(row, DifferenceKind.DIFFERENT, medium.key, reason, words) for reason, words in wrong[:1]]

    def _read(self, medium: ExpectedMedium, tally: _Tally) -> Iterator[tuple[str, str]]:
        """Read every byte of a medium; yield what is wrong."""
        try:
            found = self.reader.digest(medium.key)
        except Cold:
            tally.cold += 1
            return
        size, sha256 = found or (0, "")
        tally.read_bytes += size
        if size != medium.bytes:
            yield "media.size", f"{size:,} bytes were read, but its sidecar says {medium.bytes:,}"
        elif sha256 != medium.sha256:
            yield "media.hash", f"its bytes have the SHA-256 {sha256}, but its sidecar says {medium.sha256}"


def read(content: bytes, noted: str | None) -> Sidecar:
    """Read a sidecar. Raises _Wrong if it is invalid or differs from the hash in its metadata."""
    try:
        sidecar = Sidecar.read(content)
    except ValueError as error:
        raise _Wrong("sidecar.content", str(error)) from error
    if (fault := sidecar.fault) is not None:
        raise _Wrong("sidecar.schema", f"it does not match the schema: {fault}")
    if noted not in (None, sidecar.sha256):
        raise _Wrong("sidecar.hash", f"its content does not match the SHA-256 in its metadata, {noted}")
    return sidecar


def _compared(row: Expected, sidecar: Sidecar) -> tuple[ExpectedMedium, ...]:
    """Return the media of a sidecar that agrees with the ledger. Raises _Wrong for any other."""
    identity = sidecar.identity
    media = tuple(ExpectedMedium(key=each.key, bytes=each.bytes, sha256=each.sha256) for each in sidecar.media)
    if identity != row.identity:
        raise _Wrong("sidecar.identity", f"it belongs to another recording: {' '.join(identity)}")
    if row.media and set(media) != set(row.media):
        raise _Wrong("sidecar.not_the_ledgers", _unlike(media, row.media))
    return media


def _hold(row: Expected, sha256: str) -> None:
    """Raise _Wrong if the sidecar's hash is not the archived one, even though all compared fields agree."""
    if row.sidecar_sha256 not in (None, sha256):
        raise _Wrong("sidecar.changed", _not_archived(row.sidecar_sha256, sha256))


def _not_archived(archived: str | None, found: str) -> str:
    return f"it has the SHA-256 {found}, but was archived with {archived}"


def _unlike(sidecars: tuple[ExpectedMedium, ...], ledgers: tuple[ExpectedMedium, ...]) -> str:
    """Describe the first difference between two lists of media."""
    known = {each.key: each for each in ledgers}
    for each in sidecars:
        if each.key not in known:
            return f"it names {each.key}, but the ledger does not"
        if each != known[each.key]:
            theirs = known[each.key]
            return (
                f"it names {each.key} with {each.bytes:,} bytes and SHA-256 {each.sha256}, "
                f"the ledger with {theirs.bytes:,} and {theirs.sha256}"
            )
    return f"it does not name {min(known.keys() - {each.key for each in sidecars})}, but the ledger does"


def _wrong(medium: ExpectedMedium, found: Described) -> Iterator[tuple[str, str]]:
    if found.bytes != medium.bytes:
        yield "media.size", f"it has {found.bytes:,} bytes, but its sidecar says {medium.bytes:,}"
    for where, sha256 in (
        ("according to the store its SHA-256 is", found.kept),
        ("according to its metadata its SHA-256 is", found.noted),
    ):
        if sha256 not in (None, medium.sha256):
            yield "media.hash", f"{where} {sha256}, but its sidecar says {medium.sha256}"


def _with_outlook(row: Expected, found: list[Difference]) -> Iterator[Difference]:
    """Add what can be done about missing objects, by the ledger and the other differences."""
    beside = any(each.kind is not DifferenceKind.MISSING for each in found)
    for each in found:
        yield replace(each, outlook=_outlook(row, beside)) if each.kind is DifferenceKind.MISSING else each


def _outlook(row: Expected, beside: bool) -> str | None:
    if beside:
        return "missing.beside"
    if row.is_earlier:
        return "missing.earlier"
    if row.is_pruned:
        return "missing.pruned"
    if row.is_due:
        return "missing.due"
    return {State.GONE: "missing.lost", State.EXTERNAL: "missing.lost", State.DEAD: "missing.dead"}.get(row.state)
