"""The versions in pyproject.toml: each has a lower bound, which CI tests, and those that broke have an upper one."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
BROKE = {  # by a release that changed what is used here
    "apscheduler": "<4",
    "av": "<20",
    "boto3": "<2",
    "httpx": "<0.29",
    "pycurl": "<8",
    "pydantic": "<3",
    "sqlite-utils": "<5",
}


def lowest() -> Any:
    """CI's own script."""
    spec = importlib.util.spec_from_file_location("lowest", ROOT / ".ci" / "lowest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lowest_are_those_of_pyproject() -> None:
    """Each tested direct dependency has a line with its least version."""
    found = dict(line.split("==") for line in lowest().lowest(PROJECT))
    wanted = [
        *PROJECT["dependencies"],
        *(each for extra in ("crypto", "notify", "verify", "demo", "test") for each in EXTRAS[extra]),
    ]
    assert len(found) == len(wanted) - 1  # except our own extras
    assert (found["apscheduler"], found["av"], found["moto"]) == ("3.11.2", "15", "5.1.5")
    assert found["pycurl"] == "7.49"  # 7.47 does not trust a certificate folder, and leaks descriptors over TLS


def test_a_dependency_without_a_least_version_is_refused() -> None:
    """A dependency without a lower bound is refused."""
    project = {
        "name": "recvault",
        "dependencies": ["click<9"],
        "optional-dependencies": {extra: [] for extra in EXTRAS},
    }
    with pytest.raises(SystemExit, match="click<9"):
        list(lowest().lowest(project))


def test_what_pip_liked_better_is_told() -> None:
    """An environment with any other version is not the lowest."""
    assert list(lowest().others([f"pytest=={pytest.__version__}"])) == []
    assert len(list(lowest().others(["pytest==1.0"]))) == 1


@pytest.mark.parametrize(("name", "bound"), BROKE.items())
def test_what_has_broken_before_is_bounded(name: str, bound: str) -> None:
    """Dependencies that broke before have an upper bound on the major version."""
    every = [*PROJECT["dependencies"], *EXTRAS["verify"]]
    assert any(each.startswith(f"{name}>=") and each.endswith(bound) for each in every), name
