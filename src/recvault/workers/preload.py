"""What the fork server loads before it forks the first worker: everything that each of them would load.

Only that server imports this. It ends with its parent, whatever signal was sent to all of them.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import signal

from recvault.log.lean_imports import SCREEN, without

for _number in (signal.SIGTERM, signal.SIGHUP):  # of a terminal that closes, or of a service that stops
    signal.signal(_number, signal.SIG_IGN)
with without(*SCREEN):
    for _name in (
        "recvault.workers.process_worker",
        "recvault.store.s3.s3_store",
        "boto3",
        "pycurl",
    ):  # the last three are loaded when a worker's store and clients are made
        with contextlib.suppress(ImportError):  # told by the worker, which needs it, or does without
            importlib.import_module(_name)
gc.collect()
gc.freeze()  # what is shared with the workers stays shared: a collection would write to each page of it
