"""Evidence: manifests of what was archived, per day and account, each with the hash of the previous one.

    manifests/provider=twilio/account=AC…/number=00000042/manifest-sha256.txt
    manifests/provider=recvault/account=custody/number=…                       custody's records

Invariants. A manifest is never overwritten. Number n names the SHA-256 of number n - 1, and the key of a manifest
follows from its account and number alone: if two writers put one key, the store accepts one, and the other continues
after it. So a chain never forks, even if writers are killed. Every sidecar that this ledger's recvault wrote is listed
at least once, with the media that it names: never left out, whatever the clocks do; twice only after a ledger was lost.

A manifest lists what was archived by the end of a UTC day, its `through`, and no earlier manifest lists it; it is
written a quarter of an hour after that day. `date=` in the paths is the day of the recording itself, which may be
earlier. A day on which nothing was archived has no manifest; one of more than 10,000 recordings has several.

Custody's records (erasures/, holds/, prunes/, events/) have a chain of their own. Whoever put them, each run lists them
in the bucket and adds those that no manifest lists: within a day.

The text is for `sha256sum -c` at the root of a copy, which contains `manifests/`: comment lines, the line of the
previous manifest, then each sidecar followed by its media. Paths are keys without `archive.prefix`. Hashes are those
that the ledger stored when the recording was archived. If the ledger lacks a sidecar's hash, it is computed from the
object in the bucket when the manifest is written; for a sidecar that no ledger knows, its media's are as it states.
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
