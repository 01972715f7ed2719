"""Commands that are begun to be killed: what they say goes to files, which nobody has to read for them to go on."""

from __future__ import annotations

import subprocess

from cli.commands import arguments, environment
from forked import popen
from rig import Rig


def begun(rig: Rig, *work: str) -> subprocess.Popen[bytes]:
    """A command at work; its output stands in `out` and `err`."""
    with (rig.root / "out").open("wb") as out, (rig.root / "err").open("wb") as err:
        command, surroundings = arguments(rig, "-q", *work), environment(rig.root)
        return popen(command, surroundings, stdout=out, stderr=err, cwd=rig.root)
