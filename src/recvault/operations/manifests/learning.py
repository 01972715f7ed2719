"""Learn from manifests the SHA-256 of sidecars for which the ledger has none.

Only chains whose end the ledger knows are trusted: each manifest is verified by the hash that the next one names. A
chain that was cut or changed is read only as far as it is intact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from recvault.archive import SIDECAR_SUFFIX
from recvault.errors import KeyRefused, TooLarge
from recvault.ledger import Chain, Ledger, SidecarSums
from recvault.operations.manifests import text
from recvault.operations.manifests.text import Manifest, Partition
from recvault.shutdown import Stop
from recvault.store import ObjectStore


def learn_sums(ledger: Ledger, store: ObjectStore, prefix: str, stop: Stop) -> int:
    """Read the chains that the ledger knows, newest first, and store their hashes of sidecars; return how many."""
    with SidecarSums() as sums:
        for chain in ledger.unlisted.chains():
            for manifest in trusted(chain, store, prefix, stop):
                sums.add(
                    (prefix + each.path, each.sha256) for each in manifest.entries if each.path.endswith(SIDECAR_SUFFIX)
                )
        return ledger.learn_sums(sums)


def trusted(chain: Chain, store: ObjectStore, prefix: str, stop: Stop) -> Iterator[Manifest]:
    """Yield the manifests of a chain, newest first, as far as each is the one that the next one names."""
    path, sha256 = Partition(chain.provider, chain.account_id).path(chain.number), chain.sha256
    while path:
        stop.check()
        manifest = _read(store, prefix + path, sha256)
        if manifest is None:
            return
        yield manifest
        path, sha256 = (manifest.before.path, manifest.before.sha256) if manifest.before else ("", "")


def _read(store: ObjectStore, key: str, sha256: str) -> Manifest | None:
    """Return the manifest with this hash; None if another or none is there."""
    try:
        body = store.get(key, text.LARGEST)
    except (KeyRefused, TooLarge):
        body = None
    if body is None or hashlib.sha256(body).hexdigest() != sha256:
        return None
    try:
        return text.read(body)
    except ValueError:  # another writer's, taken over although unreadable
        return None
