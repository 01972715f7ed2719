"""Evidence: manifests of what was archived, per day and account, each with the hash of the previous one.

    manifests/provider=twilio/account=AC…/number=00000042/manifest-sha256.txt

Invariants. A manifest is never overwritten. Number n names the SHA-256 of number n - 1, and the key of a manifest
follows from its account and number alone: two writers meet at one key, the store takes one of them, the other goes on
from there. So a chain has no forks, whoever is killed when. Every sidecar that this ledger's recvault wrote is listed
once at least, with the media that it names: never left out, whatever the clocks do; twice only after a ledger was lost.

A manifest lists what was archived by the end of a UTC day, its `through`, and stands in none before it; it is written a
quarter of an hour after that day. `date=` in the paths is another thing: the day of the recording itself, which a late
one does not share. A day on which nothing was archived has no manifest; one of more than 10,000 recordings has several.

The text is for `sha256sum -c` at the root of a copy, where `manifests/` stands: comment lines, the line of the manifest
before, then each sidecar followed by its media. Paths are keys without `archive.prefix`. The hash of a sidecar is taken
or a medium is the one that the ledger had when it was archived. Where no ledger knows a sidecar's, it is taken of what
stands in the bucket when the manifest is written, and those of its media are the sidecar's.
"""

from recvault.operations.manifests.copy_check import CopyChecked, check
from recvault.operations.manifests.learning import learn_sums
from recvault.operations.manifests.summary import ManifestWritten, Summary
from recvault.operations.manifests.writing import SETTLING, Manifests, complete_at, last_ended, note_complete

__all__ = [
    "SETTLING",
    "CopyChecked",
    "ManifestWritten",
    "Manifests",
    "Summary",
    "check",
    "complete_at",
    "last_ended",
    "learn_sums",
    "note_complete",
]
