"""Measure whether a backfill keeps the configured pace, however many processes share the budget.

    python tests/benchmarks/pace.py [--processes 1 2 4] [--cluster 2] [--recordings 1200]

The real command with default settings, against the simulator and the strict S3 in another process. Prints the
configured and the measured requests a second in the steady part: between the first and the last fifth of all media. It
does not show a machine's maximum, which is far above the budget.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from installed import add_python, installed, plain

from cli.commands import environment
from recvault.config import SourceSettings
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import StrictS3


def asked_a_second(python: str, way: list[str], recordings: int) -> tuple[float, int]:
    """Return the requests a second in the steady part, and the most in one second of it."""
    with tempfile.TemporaryDirectory() as directory, StrictS3() as server, Simulator(seed=3) as simulator:
        account = simulator.add_account("twilio")
        simulator.populate(account, "voice", count=recordings, durations=(1.0, 1.0), conference_share=0)
        rig = Rig(Path(directory), simulator, server.url, server.bucket().name)
        rig.add_source("voice", "twilio", account)
        del rig.sources[0]["requests_per_second"]  # use the default
        command = [python, "-m", "recvault", "--config", str(rig.config_path), "backfill", "--source", "voice"]
        simulator.set_now(simulator.now, running=True)
        done = subprocess.run([*command, *way], env=plain(environment(rig.root)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        times = [each.time.timestamp() for each in simulator.requests]
        media = [each.time.timestamp() for each in simulator.requests if each.path.endswith(".wav")]
    begin, end = media[len(media) // 5], media[-len(media) // 5]
    steady = [each for each in times if begin <= each < end]
    busiest = max(Counter(int(each - begin) for each in steady).values())
    return len(steady) / (end - begin), busiest


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--cluster", type=int, nargs="*", default=[2], help="so many workers of a cluster of its own")
    parser.add_argument("--recordings", type=int, default=1200)
    add_python(parser)
    given = parser.parse_args()
    configured = SourceSettings.model_fields["requests_per_second"].default
    print("processes\tconfigured/s\tasked/s\tof it\tmost in a second")
    with tempfile.TemporaryDirectory() as made:
        python = installed(given, Path(made))
        ways = [["--processes", str(count)] for count in given.processes]
        for way in [*ways, *(["--cluster", f"local:{count}"] for count in given.cluster)]:
            asked, busiest = asked_a_second(python, way, given.recordings)
            print(f"{way[1]}\t{configured}\t{asked:.2f}\t{asked / configured:.1%}\t{busiest}", flush=True)


if __name__ == "__main__":
    main()
