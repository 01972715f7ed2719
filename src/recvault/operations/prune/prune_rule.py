"""What may be deleted at the provider: each recording by itself, proven by the bucket now."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import datetime

from recvault.archive import KeyTemplate, Sidecar
from recvault.errors import Cold, KeyRefused
from recvault.ledger import ExpectedMedium, PruneCandidate
from recvault.models import JSON, SUSPECT, stamp
from recvault.operations.prune.manifested import mark
from recvault.operations.verify.checking import Checked, Checker
from recvault.operations.verify.scope import Sample
from recvault.providers.base import Provider, readable_apis
from recvault.store import Reader

SKIPPED = {
    "due": "it is being looked at again",
    "other_api": "another API of the provider listed it",
    "suspect": "it is flagged: only the provider may have better media",
    "formats": "a wanted format is not in the bucket",
    "held": "it is on hold",
    "erasure": "an erasure of it was asked for",
    "young": "it was archived, or created, too recently",
    "restored": "its sidecar was restored from the ledger: only the provider has the rest",
    "sampled": "it was adopted, and only samples of it were compared with the provider's media",
    "missing": "objects are not in the bucket: run `recvault verify`",
    "different": "objects in the bucket are not as they were archived: run `recvault verify`",
    "cold": "it is in an archive class and cannot be proven",
    "refused": "the bucket denies access to its objects",
    "unlisted": "no manifest lists it as it is now",
}
"""Why a recording is not deleted at its provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """A recording that may be deleted at its provider now, and the record that says why."""

    candidate: PruneCandidate
    sidecar: Sidecar
    intent: JSON

    @property
    def seconds(self) -> float | None:
        """How long it lasts, as measured; None if it was not."""
        return longest([each.duration_seconds for each in self.sidecar.media])


def longest(seconds: list[float | None]) -> float | None:
    """Return the longest of the durations that are known."""
    return max((each for each in seconds if each is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRule:
    """The rule for one account. `proven` is thread-safe; the rest is for one thread."""

    reader: Reader
    keys: KeyTemplate
    provider: Provider
    formats: tuple[str, ...]  # wanted
    before: datetime  # created and archived
    manifests: Container[str]  # `mark` of each file that they list
    head: JSON  # of the chain of manifests
    held: Callable[[tuple[str, str, str]], bool]
    erased: Callable[[tuple[str, str, str]], bool]
    source: str

    def refused(self, candidate: PruneCandidate) -> str | None:
        """Return why a candidate may not be deleted, as far as that is known without its objects."""
        row = candidate.expected
        if row.is_due:
            return "due"
        if candidate.api not in readable_apis(self.provider):
            return "other_api"
        if candidate.reason == SUSPECT:
            return "suspect"
        if max(candidate.created_at, candidate.archived_at) >= self.before:
            return "young"
        if self.held(row.identity):
            return "held"
        if self.erased(row.identity):
            return "erasure"
        known = row.sidecar_sha256
        return "unlisted" if known and mark(self.keys.path(row.sidecar_key), known) not in self.manifests else None

    def unlisted(self, proven: Proven) -> str | None:
        """Return "unlisted" unless manifests list the sidecar and all media as they are now. For one thread."""
        sidecar = proven.sidecar
        files = {proven.candidate.expected.sidecar_key: sidecar.sha256, **{m.key: m.sha256 for m in sidecar.media}}
        is_listed = all(mark(self.keys.path(key), sha256) in self.manifests for key, sha256 in files.items())
        return None if is_listed else "unlisted"

    def proven(self, candidate: PruneCandidate) -> Proven | str:
        """Prove a candidate by its objects as they are now; else return why it may not be deleted."""
        try:
            return self._proven(candidate)
        except Cold:
            return "cold"
        except KeyRefused:
            return "refused"

    def _proven(self, candidate: PruneCandidate) -> Proven | str:
        checked = Checker(self.reader, Sample())(candidate.expected)
        if not checked.is_ok:
            return "missing" if checked.is_missing else "different"
        sidecar = checked.sidecar
        if sidecar is None:
            return "cold"
        if reason := self._lacking(sidecar):
            return reason
        proofs = {each.key: self._proof(each, checked) for each in checked.media}
        if None in proofs.values():
            return "different"
        return Proven(candidate=candidate, sidecar=sidecar, intent=self._intent(candidate, sidecar, proofs))

    def _lacking(self, sidecar: Sidecar) -> str | None:
        """Return what the sidecar lacks for its recording to be deleted."""
        if sidecar.is_restored:
            return "restored"
        if sidecar.is_sampled:
            return "sampled"
        if any(each.check.status == "suspect" for each in sidecar.media):
            return "suspect"
        if sidecar.archived_at >= self.before or sidecar.recording.created_at >= self.before:
            return "young"
        return None if self._has_formats(sidecar) else "formats"

    def _has_formats(self, sidecar: Sidecar) -> bool:
        """Whether each wanted format is there, or was wanted when it was archived and the recording had none."""
        lacking = set(self.formats) - {each.media_format for each in sidecar.media}
        if not sidecar.media or sidecar.lacks_formats:
            return False
        return self.provider.one_format or lacking <= sidecar.formats_wanted

    def _proof(self, medium: ExpectedMedium, checked: Checked) -> str | None:
        """Return what proves a medium: the store's own SHA-256, else its bytes as read now; None if they differ."""
        if medium not in checked.unkept:
            return "store"
        return "read" if self.reader.digest(medium.key) == (medium.bytes, medium.sha256) else None

    def _intent(self, candidate: PruneCandidate, sidecar: Sidecar, proofs: Mapping[str, str | None]) -> JSON:
        row = candidate.expected
        return {
            "source": self.source,
            "provider": row.provider,
            "account_id": row.account_id,
            "recording_id": row.recording_id,
            "call_id": sidecar.recording.call_id,
            "created_at": stamp(sidecar.recording.created_at),
            "archived_at": stamp(sidecar.archived_at),
            "before": stamp(self.before),
            "sidecar_key": row.sidecar_key,
            "sidecar_sha256": sidecar.sha256,
            "media": [
                {"key": each.key, "bytes": each.bytes, "sha256": each.sha256, "proof": proofs[each.key]}
                for each in sidecar.media
            ],
            "manifests": dict(self.head),
        }
