"""Measure the pages of `recvault browse` over a year of a million recordings.

    python tests/benchmarks/browsing.py [--rows N] [--rounds N]

It generates a catalog in a temporary directory (200 MB), starts the command, and asks as a browser does. The first of
each request is told apart: nothing is cached then.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from browse.catalogs import write_million

ASKED = {
    "first page: the newest month": "/",
    "a month": "/?q=2026-03",
    "a day, with lanes": "/?q=2026-07-14",
    "8 digits of a number": "/?q=55012345",
    "3 digits of a number": "/?q=555",
    "a call's ID": "/?q=CA0123456789abcdef0123456789abcdef",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / ".recvault").mkdir()
        write_million(root, given.rows)
        print(f"{'':34}{'first':>8}{'median':>9}  seconds")
        command = [sys.executable, "-m", "recvault", "browse", "--archive", root.as_uri(), "--port", "0"]
        with subprocess.Popen([*command, "-q"], stdout=subprocess.PIPE, text=True) as running:
            try:
                _measure(str(running.stdout.readline()).strip() if running.stdout else "", given.rounds)
            finally:
                running.terminate()


def _measure(link: str, rounds: int) -> None:
    base = link.partition("/?")[0]
    with httpx.Client(trust_env=False) as client:
        client.get(link)
        for name, path in ASKED.items():
            took = [_seconds(client, base + path) for _ in range(rounds)]
            print(f"{name:34}{took[0]:8.3f}{statistics.median(took):9.3f}")


def _seconds(client: httpx.Client, url: str) -> float:
    begun = time.perf_counter()
    client.get(url).raise_for_status()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
