"""A process of its own on a ledger, started by tests as a script.

worker.py LEDGER hold LIMIT     claim, say so, and hold the leases until killed
worker.py LEDGER work           claim and settle until nothing is due, then print what was claimed
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ledger.rows import NOW, POLICIES, receipt
from recvault.ledger import Ledger


def hold(ledger: Ledger, limit: int) -> None:
    jobs = ledger.claim("main", NOW, limit)
    print(json.dumps([job.recording.recording_id for job in jobs]), flush=True)
    time.sleep(60)


def work(path: Path) -> None:
    """Open anew for each batch, so that openings and closings fall between the claims of others."""
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


if __name__ == "__main__":
    where = Path(sys.argv[1])
    if sys.argv[2] == "hold":
        hold(Ledger.open(where, NOW), int(sys.argv[3]))
    else:
        work(where)
