"""Match an object whose name has no id: by its length, then its size and first bytes at the provider.

It is only a guess which recording to prove: the proof is the same as for any other object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from recvault.app.runtime import Runtime
from recvault.errors import Denied, MediaRejected, NotFound, Refused
from recvault.media.prober import length_faults
from recvault.models import Phase, Recording
from recvault.operations.adopt.matching import Match
from recvault.operations.adopt.proving import Prover, Unproven
from recvault.store import Listed
from recvault.transfer.fetch import Fetched
from recvault.transfer.verdicts import Settled

MATCHED_BY = "length and samples"
_MOST = 25  # recordings of about the same length, for which a sample is requested
_NEAR = 3  # seconds to look around a length; `length_faults` decides


class ByLength:
    """What is open in the ledger, by length, and what is archived, by SHA-256: read once, on first use."""

    def __init__(self, runtime: Runtime, name: str, prover: Prover) -> None:
        self._runtime, self._name, self._prover = runtime, name, prover
        self._open: dict[int, list[tuple[int, Recording]]] = defaultdict(list)
        for row in runtime.ledger.ask.unarchived(name):
            recording = Recording.from_json(row["recording"])
            if recording.duration_seconds is not None and recording.phase is Phase.COMPLETE:
                self._open[int(recording.duration_seconds)].append((row["id"], recording))
        self._archived = {bytes.fromhex(each) for each in runtime.ledger.ask.archived_sums(name)}

    def match(self, found: Listed) -> Match | None:
        """Return the recording to prove it against; None if its bytes are archived. Raises Unproven for no match."""
        line = self._runtime.lines(self._name)
        own = line(line.provider.account_id)
        unknown = Recording(
            provider=own.provider.provider,
            api=own.provider.api,
            account_id=own.provider.account_id,
            recording_id="",
            created_at=found.modified,
            status=None,
            phase=Phase.COMPLETE,
            formats=own.formats,
        )
        fetched, _ = self._prover.read(own, unknown, found.key)
        with fetched:
            if bytes.fromhex(fetched.spool.sha256) in self._archived:
                return None
            for row_id, recording in self._alike(found, fetched):
                if self._begins_so(recording, fetched):
                    return Match(
                        recording_id=recording.recording_id,
                        row_id=row_id,
                        recording=recording,
                        keys=[found.key],
                        matched_by=MATCHED_BY,
                    )
        raise Unproven(
            "adopt.unmatched", "its name has no id of a listed recording, and none of its length begins like it"
        )

    def _alike(self, found: Listed, fetched: Fetched) -> Iterator[tuple[int, Recording]]:
        """Yield open recordings of its length: those first that ended nearest before it was laid there."""
        measured = fetched.facts.duration_seconds
        if measured is None:
            return
        near = range(int(measured) - _NEAR, int(measured) + _NEAR + 1)
        alike = [each for seconds in near for each in self._open.get(seconds, ())]
        alike = [each for each in alike if not length_faults(measured, each[1].duration_seconds)]
        alike.sort(key=lambda each: abs(found.modified - (each[1].ended_at or each[1].created_at)))
        named = [each for each in alike if each[1].call_id and each[1].call_id in found.key]
        yield from (named or alike)[:_MOST]

    def _begins_so(self, recording: Recording, fetched: Fetched) -> bool:
        line = self._runtime.lines(self._name)(recording.account_id)
        try:
            return self._prover.begins_like(line, recording, fetched)
        except (Settled, Refused, NotFound, Denied, MediaRejected):
            return False
