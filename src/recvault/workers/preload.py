"""What the fork server loads before it forks the first worker: everything that each of them would load.

Only that server imports this. It ignores signals and ends with its parent.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import signal

from recvault.log.lean_imports import SCREEN, without

for _number in (signal.SIGTERM, signal.SIGHUP):  # from a closing terminal or a stopping service
    signal.signal(_number, signal.SIG_IGN)
with without(*SCREEN):
    for _name in (
        "recvault.workers.process_worker",
        "recvault.store.s3.s3_store",
        "boto3",
        "pycurl",
    ):  # the last three are needed for a worker's store and clients
        with contextlib.suppress(ImportError):  # reported by the worker if it needs it
            importlib.import_module(_name)
gc.collect()
gc.freeze()  # keeps memory shared with the workers: a garbage collection would write to each page
