"""sqlite-utils, without the numpy and pandas that it loads wherever they are installed.

An analyst may have both in recvault's environment: then each command would take half a second and 100 MB more, and a
process that is forked afterwards would lose their threads.
"""

from recvault.log.lean_imports import without

with without("numpy", "pandas"):
    from sqlite_utils import Database, Migrations

__all__ = ["Database", "Migrations"]
