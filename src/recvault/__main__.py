"""`recvault` and `python -m recvault`: the command line, which is loaded when it is run.

Not before: a worker process imports its parent's main module, and has no use for a command line.
"""

from __future__ import annotations

import sys

from recvault import __version__


def main() -> None:
    """Run what the arguments say."""
    if sys.argv[1:] == ["--version"]:
        print(f"recvault, version {__version__}")
        return
    from recvault.cli import main as command

    command(prog_name="recvault")


if __name__ == "__main__":
    main()
