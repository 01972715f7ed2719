"""Write the catalog: what the ledger's queue says is missing in it, or the whole again.

Invariants. Nothing is cleared from the queue before the files that hold it are put, and a merge replaces by identity:
a kill at any time costs a repetition. A file is put only in place of the version that was read, so of two machines
that write at once the second reads again and merges: neither loses a row. A recording is put into the days' file from
the month's file that holds it.
"""

from recvault.operations.catalog.catalog_run import Catalog
from recvault.operations.catalog.catalog_summary import CatalogSummary

__all__ = ["Catalog", "CatalogSummary"]
