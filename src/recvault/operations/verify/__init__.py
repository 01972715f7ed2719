"""Compare the bucket with the ledger: missing, different and unknown objects.

Invariants. Nothing in the bucket is changed, whatever is found. A recording counts as correct only after its sidecar
was read and each media file was checked by its key: a listing alone proves nothing. Memory does not grow with the
bucket: the listing and the ledger's rows are merged in key order, and differences are counted, and kept up to a bound.
"""

from recvault.operations.verify.checking import Checker
from recvault.operations.verify.differences import MOST, SCHEMA, Difference, DifferenceKind
from recvault.operations.verify.result import Result
from recvault.operations.verify.scope import BucketScope, Sample
from recvault.operations.verify.verify import Verify

__all__ = ["MOST", "SCHEMA", "BucketScope", "Checker", "Difference", "DifferenceKind", "Result", "Sample", "Verify"]
