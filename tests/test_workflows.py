"""The workflows keep their promises: every Python of pyproject.toml, few permissions, provenance, no password."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from systemd.test_container import tool

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".github/workflows"
TEXTS = {path.stem: path.read_text() for path in sorted(FOLDER.iterdir())}
WORKFLOWS: dict[str, dict[Any, Any]] = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GATE = ".ci/run"


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, workflow in WORKFLOWS.items():
        for each, job in workflow["jobs"].items():
            yield f"{name}.{each}", job


def runs(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_ci_runs_the_gate_on_each_python_that_is_promised() -> None:
    """All Pythons in the classifiers must pass; others may be tried without counting."""
    job = WORKFLOWS["ci"]["jobs"]["run"]
    matrix = job["strategy"]["matrix"]
    promised = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert matrix["python"] == promised
    assert promised[0] == PROJECT["requires-python"].removeprefix(">=")
    assert all(each["experimental"] is True for each in matrix["include"])
    assert job["continue-on-error"] == "${{ matrix.experimental }}"
    assert runs(job) == [GATE]
    assert (ROOT / GATE).stat().st_mode & 0o111


def test_nothing_is_released_that_did_not_pass_the_gate() -> None:
    """Each release job depends on the gate, directly or indirectly."""
    release = WORKFLOWS["release"]["jobs"]
    assert runs(release["test"]) == [GATE]
    needs = {
        name: {job["needs"]} if isinstance(job.get("needs"), str) else {*job.get("needs", ())}
        for name, job in release.items()
    }
    waiting = {"test"}
    for _ in release:
        waiting |= {name for name, needed in needs.items() if needed and needed <= waiting}
    assert waiting == set(release)


def test_rights_are_given_where_they_are_used() -> None:
    """A workflow can only read the code; a job has the permissions it needs; no checkout keeps a token."""
    assert [workflow["permissions"] for workflow in WORKFLOWS.values()] == [{"contents": "read"}] * len(WORKFLOWS)
    writing = {
        name: {right for right, how in job.get("permissions", {}).items() if how == "write"} for name, job in jobs()
    }
    signed = {"id-token", "attestations"}
    assert {name: rights for name, rights in writing.items() if rights} == {
        "release.packages": signed,
        "release.image": {*signed, "packages"},
        "release.draft": {"contents"},
        "release.pypi": {"id-token"},
    }
    checkouts = [
        step for _, job in jobs() for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")
    ]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert "secrets." not in "".join(TEXTS.values())


def test_what_is_released_has_its_provenance() -> None:
    """Packages and image are attested by the job that built them; PyPI is used only if configured."""
    release = WORKFLOWS["release"]["jobs"]
    for name in ("packages", "image"):
        assert any(
            step.get("uses", "").startswith("actions/attest-build-provenance@") for step in release[name]["steps"]
        )
    assert release["pypi"]["if"] == "vars.PUBLISH_TO_PYPI == 'true'"
    assert WORKFLOWS["release"][True] == {"push": {"tags": ["v[0-9]*"]}}  # YAML reads `on` as true


def test_the_tag_is_compared_with_the_version_as_it_is_written() -> None:
    """The step's own command compares tag and version, on this tree."""
    from recvault import __version__

    (command,) = (each for each in runs(WORKFLOWS["release"]["jobs"]["packages"]) if "GITHUB_REF_NAME" in each)
    for tag, code in ((f"v{__version__}", 0), ("v9.9.9", 1)):
        done = subprocess.run(["bash", "-ec", command], cwd=ROOT, env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"})
        assert done.returncode == code


def test_actions_are_named_by_their_major_version() -> None:
    """Actions are pinned to a major version, and every job has a timeout."""
    used = {step["uses"] for _, job in jobs() for step in job["steps"] if "uses" in step}
    assert [
        each for each in used if not re.fullmatch(r"actions/[\w-]+@v\d+|pypa/gh-action-pypi-publish@release/v1", each)
    ] == []
    assert [name for name, job in jobs() if "runs-on" not in job] == []


@pytest.mark.parametrize(
    "command",
    [
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ["zizmor", "--offline", "--no-progress", "--config", ".github/zizmor.yml"],
    ],
    ids=["schema", "zizmor"],
)
def test_linters_find_nothing(command: list[str]) -> None:
    """Linters find nothing in any workflow."""
    files = [str(path) for path in sorted(FOLDER.iterdir())]
    done = subprocess.run([tool(command[0]), *command[1:], *files], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
