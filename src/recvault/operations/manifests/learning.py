"""What manifests prove of sidecars whose SHA-256 the ledger does not have.

Only what hangs on a head that the ledger itself remembers is believed: from there each manifest is known by the sum
that the next one names, and a chain that was cut or changed is followed no further than it holds.
"""

from __future__ import annotations

import hashlib

from recvault.archive import SIDECAR_SUFFIX
from recvault.errors import KeyRefused, TooLarge
from recvault.ledger import Ledger, SidecarSums
from recvault.operations.manifests import text
from recvault.operations.manifests.text import Partition
from recvault.shutdown import Stop
from recvault.store import ObjectStore


def learn_sums(ledger: Ledger, store: ObjectStore, prefix: str, stop: Stop) -> int:
    """Read the chains that the ledger knows, newest first, and keep what they say of sidecars; how many were learnt."""
    with SidecarSums() as sums:
        for chain in ledger.unlisted.chains():
            path, sha256 = Partition(chain.provider, chain.account_id).path(chain.number), chain.sha256
            while path:
                stop.check()
                path, sha256 = _read(store, prefix, path, sha256, sums)
        return ledger.learn_sums(sums)


def _read(store: ObjectStore, prefix: str, path: str, sha256: str, sums: SidecarSums) -> tuple[str, str]:
    """The path and sum of the manifest before this one; empty where there is none, or this is not what was named."""
    try:
        body = store.get(prefix + path, text.LARGEST)
    except (KeyRefused, TooLarge):
        body = None
    if body is None or hashlib.sha256(body).hexdigest() != sha256:
        return "", ""
    try:
        manifest = text.read(body)
    except ValueError:  # another wrote it, and it was taken over as it stood
        return "", ""
    sums.add((prefix + each.path, each.sha256) for each in manifest.entries if each.path.endswith(SIDECAR_SUFFIX))
    return (manifest.before.path, manifest.before.sha256) if manifest.before else ("", "")
