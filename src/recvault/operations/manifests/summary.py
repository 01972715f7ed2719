"""The result of writing manifests: written ones, heads of chains, and problems."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime

from recvault.ledger import Chain
from recvault.log.lines import get_logger
from recvault.models import JSON
from recvault.monitoring.report import PARTIAL, iso

SCHEMA = "recvault/manifests/v1"
MOST_TOLD = 100

log = get_logger("recvault.operations.manifests")

TROUBLES = {
    "missing": "its sidecar is not in the bucket: run `recvault verify` for details",
    "different": "its sidecar differs from what was archived: run `recvault verify` for details",
    "refused": "the bucket denies access to its sidecar: check this key's policy and owner",
    "foreign": "it, or a media file that it names, is under a key of another recording: no manifest lists it",
    "unreadable": "it was not written by recvault, or was changed: no manifest lists it",
    "manifest_missing": "the newest manifest that this ledger knows is no longer in the bucket",
    "manifest_changed": "the manifest differs from what this ledger knows: compare it with an earlier version",
    "chain_broken": "the manifest does not name the previous one: run `recvault verify --manifests` on a copy for "
    "details",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestWritten:
    """A manifest that was written."""

    chain: Chain  # of which it is the end
    key: str
    recordings: int
    files: int


@dataclass(slots=True, kw_only=True)
class Summary:
    """The summary of one run."""

    started_at: datetime
    through: date
    finished_at: datetime | None = None
    written: list[ManifestWritten] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    troubles: list[tuple[str, str]] = field(default_factory=list)  # kind and key, at most MOST_TOLD
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def exit_code(self) -> int:
        return PARTIAL if self.counts else 0

    def wrote(self, written: ManifestWritten) -> None:
        """Record and log a written manifest."""
        self.written.append(written)
        log.info(
            "manifest.written",
            key=written.key,
            sha256=written.chain.sha256,
            recordings=written.recordings,
            through=str(written.chain.through),
        )

    def trouble(self, kind: str, key: str) -> None:
        """Count a problem; the first ones are kept and logged."""
        self.counts[kind] += 1
        if len(self.troubles) < MOST_TOLD:
            self.troubles.append((kind, key))
            log.error("manifest.trouble", kind=kind, key=key, message=TROUBLES[kind], words=TROUBLES[kind])

    def document(self) -> JSON:
        """Return the document that `recvault manifest --json` prints."""
        return {
            "schema": SCHEMA,
            "command": "manifest",
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "outcome": "partial" if self.counts else "ok",
            "through": str(self.through),
            "written": [
                {**_told(each.chain), "key": each.key, "recordings": each.recordings, "files": each.files}
                for each in self.written
            ],
            "heads": [_told(each) for each in self.chains],
            "errors": (errors := [_trouble(kind, key) for kind, key in self.troubles]),
            "troubles": errors,  # deprecated: errors
            "troubles_total": sum(self.counts.values()),
        }


def _told(chain: Chain) -> JSON:
    return {
        "provider": chain.provider,
        "account_id": chain.account_id,
        "number": chain.number,
        "sha256": chain.sha256,
        "through": str(chain.through),
    }


def _trouble(kind: str, key: str) -> dict[str, str]:
    return {"kind": kind, "key": key, "message": TROUBLES[kind], "words": TROUBLES[kind]}  # deprecated: words
