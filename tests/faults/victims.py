"""Commands that are started to be killed; their output goes to files, which need no reader."""

from __future__ import annotations

import subprocess

from cli.commands import arguments, environment
from forked import popen
from rig import Rig


def begun(rig: Rig, *work: str) -> subprocess.Popen[bytes]:
    """Start a command; its output is in `out` and `err`."""
    with (rig.root / "out").open("wb") as out, (rig.root / "err").open("wb") as err:
        command, surroundings = arguments(rig, "-q", *work), environment(rig.root)
        return popen(command, surroundings, stdout=out, stderr=err, cwd=rig.root)
