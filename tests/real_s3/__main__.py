"""Start and stop real S3 servers for the tests, or to try something.

    python tests/real_s3 start [ceph] [swift]     # default: both; prints shell lines with their addresses
    python tests/real_s3 stop                     # ends them and removes their data

Nothing is installed: if a server is missing it says what to install, and exits 1. Tests use a server started this way;
Swift is started by the tests if it is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from real_s3 import ceph, servers, swift

SERVERS = {"ceph": ceph, "swift": swift}


def main(words: list[str]) -> int:
    verb, names = (words[0] if words else "", words[1:] or list(SERVERS))
    if verb not in ("start", "stop") or not set(names) <= SERVERS.keys():
        print(__doc__, file=sys.stderr)
        return 2
    return max(_start(name) if verb == "start" else _stop(name) for name in names)


def _start(name: str) -> int:
    server = servers.running(name)
    if server is None:
        servers.stop(name)
        folder = servers.home() / name
        try:
            SERVERS[name].check()
            servers.home().mkdir(mode=0o700, exist_ok=True)
            folder.mkdir()
            server = SERVERS[name].start(folder)
        except (servers.Absent, servers.NotStarted) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        servers.remember(server)
    print(servers.described(server))
    return 0


def _stop(name: str) -> int:
    print(f"{name}: {'stopped' if servers.stop(name) else 'there was none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
