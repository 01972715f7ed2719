"""`recvault` and `python -m recvault`: the command line, loaded only when it is run.

A worker process imports its parent's main module, and does not need the command line.
"""

from __future__ import annotations

import os
import sys

from recvault import __version__


def main() -> None:
    """Run what the arguments say."""
    if sys.argv[1:] == ["--version"]:
        print(f"recvault, version {__version__}")
        return
    if "_RECVAULT_COMPLETE" in os.environ:  # Tab was pressed: an error would be written into the line being typed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    from recvault.cli import main as command

    command(prog_name="recvault")


if __name__ == "__main__":
    main()
