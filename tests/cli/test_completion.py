"""Completion: what a shell gets, how fast, and nothing else, whatever is wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import PATIENCE, environment
from cli.conftest import World
from real_s3.fixtures import LACKS
from recvault.cli import VERBS
from recvault.ledger import reasons_at
from recvault.models import State

pytestmark = pytest.mark.process
CODE = "import sys; from recvault.__main__ import main; sys.argv[0] = 'recvault'; main()"
HEAVY = ("httpx", "boto3", "pydantic", "rich", "structlog")


def tab(root: Path, *words: str, code: str = CODE) -> subprocess.CompletedProcess[str]:
    """Press Tab after the last of these words."""
    asked = {"COMP_WORDS": "\n".join(["recvault", *words]), "COMP_CWORD": str(len(words))}
    told = environment(root, _RECVAULT_COMPLETE="bash_complete", **asked)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=told, cwd=root, timeout=PATIENCE)


def completed(root: Path, *words: str) -> list[str]:
    """Return what Tab offers, and check that nothing else is written."""
    done = tab(root, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.removeprefix("plain,") for line in done.stdout.splitlines() if line]


def test_verbs_and_options_complete(tmp_path: Path) -> None:
    """Verbs, options and their choices complete, also those of subcommands."""
    assert set(completed(tmp_path, "")) == set(VERBS)
    assert completed(tmp_path, "sy") == ["sync"]
    assert "--dry-run" in completed(tmp_path, "backfill", "--")
    assert completed(tmp_path, "--log-format", "") == ["json", "console"]
    assert "accept" in completed(tmp_path, "failures", "")
    assert completed(tmp_path, "completion", "") == ["bash", "fish", "zsh"]


def test_sources_complete_from_the_configuration_that_is_found(world: World) -> None:
    """Sources complete from this directory's configuration, or that of `--config` before or after the verb."""
    config = str(world.rig.config_path)
    elsewhere = world.rig.root / "elsewhere"
    elsewhere.mkdir()
    assert completed(world.rig.root, "sync", "--source", "") == ["voice", "telnyx"]
    assert completed(elsewhere, "--config", config, "backfill", "--source", "v") == ["voice"]
    assert completed(elsewhere, "sync", "--config", config, "--source", "t") == ["telnyx"]
    assert completed(elsewhere, "sync", "--source", "") == []


def test_reasons_complete_from_the_ledger_which_is_left_as_it_is(world: World) -> None:
    """Only reasons in use are offered; reading them leaves no file and creates no ledger."""
    before = sorted(path.name for path in world.rig.root.iterdir())
    assert completed(world.rig.root, "failures", "--reason", "") == ["media.document"]
    assert completed(world.rig.root, "failures", "accept", "ID", "--reason", "") == [], "a text of one's own"
    assert sorted(path.name for path in world.rig.root.iterdir()) == before
    assert reasons_at(world.rig.root / "none.db") == []
    assert not (world.rig.root / "none.db").exists()


def test_states_complete_wherever_an_option_takes_one() -> None:
    """States complete wherever an option takes one."""
    import click

    from recvault.cli.completion import complete_values

    option = click.Option(["--state"], metavar="STATE")
    command = click.Command("any", params=[option])
    complete_values(command)
    offered = option.shell_complete(click.Context(command), "de")
    assert [each.value for each in offered] == [State.DEAD]


@pytest.mark.parametrize("text", ["[[sources", '[[sources]]\nname = "$(touch owned)"', ""])
def test_whatever_is_wrong_tab_is_silent(tmp_path: Path, text: str) -> None:
    """A broken configuration, an unknown name or an invalid ledger gives no completions and no output."""
    (tmp_path / "config.toml").write_text(f'{text}\n[ledger]\npath = "{tmp_path}/ledger.db"')
    (tmp_path / "ledger.db").write_text("not a ledger")
    assert completed(tmp_path, "failures", "--source", "") == []
    assert completed(tmp_path, "failures", "--reason", "") == []


def test_a_bug_writes_nothing_into_the_line_that_is_typed(tmp_path: Path) -> None:
    """A bug during completion writes nothing to the terminal."""
    broken = CODE.replace("sys.argv", "import recvault.cli; recvault.cli.VERBS = None; sys.argv")
    done = tab(tmp_path, "st", code=broken)
    assert (done.returncode != 0, done.stdout, done.stderr) == (True, "", "")


def test_tab_loads_little(world: World) -> None:
    """Completion loads neither clients nor the models of the configuration."""
    shown = "import atexit; atexit.register(lambda: print('loaded:', *sorted(sys.modules)))"
    for words in (["failures", "--source", ""], ["failures", "--reason", ""], [""]):
        done = tab(world.rig.root, *words, code=CODE.replace("sys.argv", f"{shown}; sys.argv"))
        loaded = set(done.stdout.split("loaded: ")[1].split())
        assert "recvault.cli" in loaded
        assert loaded & set(HEAVY) == set()


@pytest.fixture
def shell(world: World) -> Iterator[dict[str, str]]:
    """Return the environment of a shell that finds a `recvault`."""
    place = world.rig.root / "bin"
    place.mkdir(exist_ok=True)
    script = place / "recvault"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{CODE}" "$@"\n')
    script.chmod(0o755)
    told = environment(world.rig.root)
    yield {**told, "PATH": f"{place}:{told['PATH']}", "HOME": str(world.rig.root)}


BASH = """
eval "$(recvault completion bash)"
complete -p recvault >/dev/null || exit 1
press() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _recvault_completion recvault
    echo "${COMPREPLY[*]}"
}
press recvault stat
press recvault sync --source ""
"""
FISH = """
recvault completion fish | source
complete -C "recvault stat"
complete -C "recvault sync --source "
"""
ZSH = """
autoload -Uz compinit && compinit -u -D
eval "$(recvault completion zsh)"
compadd() { print -r -- "${@[$(( ${@[(I)-a]} + 1 ))]}: ${completions[*]}" }
_describe() { print -r -- "${completions_with_descriptions[*]}" }
words=(recvault stat) CURRENT=2; _recvault_completion
words=(recvault sync --source "") CURRENT=4; _recvault_completion
"""


@pytest.mark.parametrize(("name", "typed"), [("bash", BASH), ("fish", FISH), ("zsh", ZSH)])
def test_each_shell_completes_by_its_script(world: World, shell: dict[str, str], name: str, typed: str) -> None:
    """Each shell loads its script silently, and offers verbs and sources."""
    if (found := shutil.which(name)) is None:
        pytest.skip(f"{LACKS}{name}: apt-get install {name}")
    command = [found, *(["--norc", "--noprofile"] if name == "bash" else []), *(["-f"] if name == "zsh" else []), "-c"]
    done = subprocess.run(
        [*command, typed], capture_output=True, text=True, env=shell, cwd=world.rig.root, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    offered = done.stdout.split()
    assert any(word.startswith("status") for word in offered)
    assert {"voice", "telnyx"} <= set(offered)
