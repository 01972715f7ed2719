"""Erase recordings for good, on request: from the bucket with all versions, the catalog, and the ledger.

Invariants. A tombstone is put before anything is deleted, so that what is half deleted is never archived again, and the
same command goes on after a kill. Nothing that a hold names, or that the store keeps locked, is deleted: all of such a
recording stays, and its erasure is due again. Afterwards no number that was asked for stands anywhere.
"""

from recvault.operations.erasing.erase import Erase
from recvault.operations.erasing.erase_report import Erased, ErasedRecording
from recvault.operations.erasing.targets import Criteria, Target, Targets

__all__ = ["Criteria", "Erase", "Erased", "ErasedRecording", "Target", "Targets"]
