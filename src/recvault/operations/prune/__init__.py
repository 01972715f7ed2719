"""Delete at the provider what is proven to be archived.

Invariant: nothing is deleted at the provider that a fresh check of the bucket, in the same run, has not proven: sidecar
and media there with their sizes and SHA-256, and a manifest that lists them. The record of what is about to be deleted
is put before the first request, the record of what came of it after the last one: a deletion without a record does
not happen, and no record claims one that did not. Whatever a kill leaves open the next run asks the provider about.
"""

from recvault.operations.prune.prune_summary import PruneSummary
from recvault.operations.prune.run import MOST, Prune

__all__ = ["MOST", "Prune", "PruneSummary"]
