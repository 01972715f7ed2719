"""Measure the CPU of whole commands with next to nothing to do, including all their processes.

    python tests/benchmarks/start.py [--runs N] [--python PATH] [--source CHECKOUT]

They run from an installed copy. README.md in this folder explains the figures.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from installed import CHECKOUT, Cost, add_python, installed, spent

from cli.commands import environment
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import StrictS3


@contextmanager
def commands(python: str, root: Path) -> Iterator[dict[str, Callable[[], Cost]]]:
    """Return the measured commands, to be run repeatedly."""
    with StrictS3() as server, Simulator() as simulator:
        account = simulator.add_account("twilio")
        simulator.populate(account, "voice", count=1)
        rig = Rig(root, simulator, server.url, "")
        rig.add_source("voice", "twilio", account)
        numbers = itertools.count()

        def run(*words: str) -> Cost:
            cost = spent([python, "-m", "recvault", *words], environment(root), errors=subprocess.DEVNULL)
            assert cost.code == 0, words
            return cost

        def backfill(processes: int) -> Cost:
            rig.ledger, rig.bucket = {"path": str(root / f"{next(numbers)}.db")}, server.bucket().name
            options = ["--source", "voice", "--processes", str(processes), "--json"]
            cost = run("-q", "--config", str(rig.config_path), "backfill", *options)
            assert len(server.buckets[rig.bucket].objects) == 3  # medium, sidecar and schema
            return cost

        backfill(1)  # makes the ledger for `status`
        status = ["--config", str(rig.config_path), "status"]
        (root / "status.toml").write_text(rig.config_path.read_text())
        status[1] = str(root / "status.toml")
        yield {
            "--version": lambda: run("--version"),
            "--help": lambda: run("--help"),
            "status": lambda: run(*status),
            "backfill of one recording, 1 process": lambda: backfill(1),
            "backfill of one recording, 2 processes": lambda: backfill(2),
        }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--source", type=Path, default=CHECKOUT, help="another checkout to be installed and timed")
    add_python(parser)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="start-") as scratch:
        python = installed(asked, Path(scratch), asked.source)
        print(f"CPU ms of {asked.runs} runs\tleast\tmedian")
        with commands(python, Path(scratch)) as timed:
            for name, command in timed.items():
                command()
                costs = [command().cpu * 1000 for _ in range(asked.runs)]
                print(f"{name}\t{min(costs):.0f}\t{statistics.median(costs):.0f}", flush=True)


if __name__ == "__main__":
    main()
