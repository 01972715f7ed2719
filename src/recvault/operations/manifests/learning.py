"""Learn from manifests the SHA-256 of sidecars for which the ledger has none.

Only chains whose end the ledger knows are trusted: each manifest is verified by the hash that the next one names. A
chain that was cut or changed is read only as far as it is intact.
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
    """Read the chains that the ledger knows, newest first, and store their hashes of sidecars; return how many."""
    with SidecarSums() as sums:
        for chain in ledger.unlisted.chains():
            path, sha256 = Partition(chain.provider, chain.account_id).path(chain.number), chain.sha256
            while path:
                stop.check()
                path, sha256 = _read(store, prefix, path, sha256, sums)
        return ledger.learn_sums(sums)


def _read(store: ObjectStore, prefix: str, path: str, sha256: str, sums: SidecarSums) -> tuple[str, str]:
    """Return path and hash of the previous manifest; empty at the start, or if this one is not the named one."""
    try:
        body = store.get(prefix + path, text.LARGEST)
    except (KeyRefused, TooLarge):
        body = None
    if body is None or hashlib.sha256(body).hexdigest() != sha256:
        return "", ""
    try:
        manifest = text.read(body)
    except ValueError:  # another writer's, taken over although unreadable
        return "", ""
    sums.add((prefix + each.path, each.sha256) for each in manifest.entries if each.path.endswith(SIDECAR_SUFFIX))
    return (manifest.before.path, manifest.before.sha256) if manifest.before else ("", "")
