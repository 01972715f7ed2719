"""A process on a ledger, started by tests as a script.

worker.py LEDGER hold LIMIT     claim, print, and hold the leases until killed
worker.py LEDGER work           claim and settle until nothing is due, then print what was claimed
worker.py LEDGER daemon         hold the daemon lock, print, until killed; if refused print why and exit 75
worker.py LEDGER take LIMIT     claim what is due, including dead processes' leases, settle and print it

WORKER_UID in the environment: the user to which a root process drops first.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from sqlite_utils import Database

from ledger.rows import NOW, POLICIES, receipt
from recvault.errors import LedgerLocked
from recvault.ledger import DaemonLock, Ledger


def hold(ledger: Ledger, limit: int) -> None:
    jobs = ledger.claim("main", NOW, limit)
    print(json.dumps([job.recording.recording_id for job in jobs]), flush=True)
    time.sleep(60)


def work(path: Path) -> None:
    """Open the ledger for each batch, so that opening and closing happen between others' claims."""
    claimed: list[str] = []
    while True:
        ledger = Ledger.open(path, NOW)
        jobs = [job for _ in range(3) for job in ledger.claim("main", NOW, 2)]
        claimed += [job.recording.recording_id for job in jobs]
        ledger.settle([receipt(job) for job in jobs], NOW, POLICIES)
        ledger.close()
        if not jobs:
            break
    print(json.dumps(claimed), flush=True)


def daemon(path: Path) -> None:
    try:
        lock = DaemonLock(path, NOW)
    except LedgerLocked as error:
        print(json.dumps([str(error)]), flush=True)
        raise SystemExit(error.exit_code) from error
    print(json.dumps([str(os.getpid())]), flush=True)
    sys.stdin.readline()  # wait until it is closed
    lock.close()


def take(path: Path, limit: int) -> None:
    ledger = Ledger.open(path, NOW)
    jobs = ledger.claim("main", NOW, limit)
    ledger.settle([receipt(job) for job in jobs], NOW, POLICIES)
    print(json.dumps([job.recording.recording_id for job in jobs]), flush=True)
    ledger.close()


def become(uid: int) -> None:
    """Drop to that user, after importing what it may not be able to read."""
    Database(memory=True).close()
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    if "WORKER_UID" in os.environ:
        become(int(os.environ["WORKER_UID"]))
    if sys.argv[2] == "hold":
        hold(Ledger.open(where, NOW), int(sys.argv[3]))
    elif sys.argv[2] == "daemon":
        daemon(where)
    elif sys.argv[2] == "take":
        take(where, int(sys.argv[3]))
    else:
        work(where)
