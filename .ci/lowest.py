"""The lowest version of every direct dependency that pyproject.toml admits, as constraints for pip: NAME==VERSION.

    python3 .ci/lowest.py >lowest.txt && pip install -c lowest.txt -e '.[test]'

pip takes the newest where it is free to; this takes the choice away. What cannot be installed together so, or fails its
tests, is no bound: raise it. With --installed: exit code 1 where this Python's own environment holds any other.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

TRIED = ("crypto", "notify", "verify", "demo", "test")  # of the extras: what the tests need
LEAST = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*>=\s*([0-9][0-9A-Za-z.]*)")


def lowest(project: dict) -> Iterator[str]:
    """A line for each requirement. SystemExit names one that states no least version."""
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *(each for extra in TRIED for each in extras[extra])]:
        if requirement.startswith(f"{project['name']}["):
            continue  # the extras of our own, each of which is read by itself
        found = LEAST.match(requirement)
        if found is None:
            raise SystemExit(f"{requirement!r} in pyproject.toml states no least version: write NAME>=VERSION")
        yield f"{found[1]}=={found[2]}"


def others(lines: list[str]) -> Iterator[str]:
    """What is installed in another version; 4 and 4.0.0 are the same."""
    for line in lines:
        name, _, wanted = line.partition("==")
        found = version(name)
        if re.sub(r"(\.0)+$", "", found) != re.sub(r"(\.0)+$", "", wanted):
            yield f"{name} is installed in {found}, not in {wanted}"


if __name__ == "__main__":
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    lines = list(lowest(tomllib.loads(text)["project"]))
    if sys.argv[1:] == ["--installed"]:
        sys.exit("\n".join(others(lines)) or None)
    print("\n".join(lines))
