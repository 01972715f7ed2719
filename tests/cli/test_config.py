"""`recvault config`: the example, the configuration in effect, and whether it is valid."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cli.commands import bare, run
from recvault import config
from recvault.config import effective
from recvault.simulator import Simulator
from rig import Rig

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


@pytest.fixture
def small(rig: Rig, simulator: Simulator) -> Rig:
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    return rig


def test_the_example_is_a_configuration_to_start_from(tmp_path: Path) -> None:
    """The example is printed unchanged, even without a configuration, and it is valid."""
    ran = bare(tmp_path, "config", "example")
    assert (ran.code, ran.stdout, ran.stderr) == (0, EXAMPLE.read_text(), "")
    (tmp_path / "config.toml").write_text(ran.stdout)
    ran = bare(tmp_path, "config", "validate")
    assert (ran.code, ran.stdout) == (0, f"ok    configuration: {tmp_path}/config.toml is valid, 1 source\n")


def test_it_shows_what_is_in_effect_and_no_secret(small: Rig) -> None:
    """The effective configuration is shown as loadable TOML with its file's name, or as JSON, without secrets."""
    token = Path(small.sources[0]["auth_token"]["file"]).read_text()
    shown, document = run(small, "config", "show"), run(small, "config", "show", "--json").document
    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"# {small.config_path}, with every default\n")
    expected = effective.document(config.load(small.config_path))
    assert tomllib.loads(shown.stdout) == expected
    assert document == {"schema": "recvault/config/v1", "path": str(small.config_path), "config": expected}
    assert token not in shown.stdout + str(document)


def test_an_invalid_file_is_told_by_its_lines(small: Rig) -> None:
    """`validate`, `show` and `check --config-only` report each problem with file and line, and exit 78."""
    small.sources[0]["pol_every"] = "5m"
    text = small.config_path.read_text()
    line = text[: text.index("pol_every")].count("\n") + 1
    problem = f"{small.config_path}:{line}: sources[0].pol_every: unknown key (did you mean poll_every?)"
    for words in (["config", "validate"], ["config", "show"], ["check", "--config-only"]):
        ran = run(small, *words)
        assert (ran.code, ran.stdout, ran.stderr.splitlines()[0]) == (78, "", f"recvault: {problem}")


def test_this_user_s_file_goes_before_the_machine_s(small: Rig, tmp_path: Path) -> None:
    """A file in XDG_CONFIG_HOME or ~/.config takes precedence, and `check` says that it is used."""
    home = tmp_path / "home"
    for folder, env in ((home / ".config", {}), (tmp_path / "xdg", {"XDG_CONFIG_HOME": str(tmp_path / "xdg")})):
        path = folder / "recvault" / "config.toml"
        path.parent.mkdir(parents=True)
        path.write_text(small.config_path.read_text())
        (small.root / "config.toml").unlink()
        ran = bare(tmp_path, "check", "--offline", HOME=str(home), **env)
        assert ran.stdout.splitlines()[0] == f"ok    configuration: {path} is valid, 1 source"


def test_options_stand_after_a_word_of_the_verb_too(small: Rig) -> None:
    """Options may follow a subcommand: `recvault config show --config PATH`."""
    path = str(small.config_path)
    ran = bare(Path("/"), "config", "validate", "--config", path)
    assert (ran.code, ran.stdout) == (0, f"ok    configuration: {path} is valid, 1 source\n")
