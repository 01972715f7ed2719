"""Commands that lack something in their environment say so, and never show a secret."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import forked
from cli.commands import PATIENCE, Ran, environment
from cli.conftest import World

SECRET = "FwoGZXIvYXdzEJr-token-of-a-test"
WITHOUT_KEYS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
_EACH = """
import contextlib, io, json, sys, traceback
from recvault.cli import main
ran = []
for words in json.loads(sys.argv[1]):
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as left:
            code = left.code
        except BaseException:
            code = traceback.format_exc()
    ran.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(ran))
"""
ASK_THE_BUCKET = (
    "-vv check",
    "-vv sync",
    "backfill --source telnyx",
    "manifest",
    "verify",
    "decrypt voice:ARCHIVED",
)
ASK_PROVIDERS = ("-vv check", "check --offline", "-vv sync", "reconcile", "backfill --source telnyx --dry-run")
ASK_NEITHER = ("status", "failures", "show voice:ARCHIVED", "retry voice:ARCHIVED", "schema")


@dataclass(frozen=True)
class Trouble:
    """An environment with one defect, what it means for each verb, and the expected message."""

    code: int
    words: str
    env: dict[str, str | None] = field(default_factory=dict)
    archive: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # beside the configuration; `env` may refer to them by {root}
    meets: tuple[str, ...] = ASK_THE_BUCKET


TROUBLES = {
    "no credentials": Trouble(77, "no credentials for", WITHOUT_KEYS),
    "half of the credentials": Trouble(77, "missing: AWS_SECRET_ACCESS_KEY", {"AWS_SECRET_ACCESS_KEY": None}),
    "a token with a line end": Trouble(
        77, "the credentials contain a line end in the session token", {"AWS_SESSION_TOKEN": f"{SECRET}\nmore"}
    ),
    "a key that is not ASCII": Trouble(
        77,
        "the credentials contain a character that is not ASCII in the access key",
        {"AWS_ACCESS_KEY_ID": f"{SECRET}”"},
    ),
    "an unknown profile": Trouble(77, "The config profile (nobody) could not be found", {"AWS_PROFILE": "nobody"}),
    "a broken configuration of AWS": Trouble(
        78, "Unable to parse config file", {"AWS_CONFIG_FILE": "{root}/aws"}, files={"aws": "[default\nregion"}
    ),
    "a program that prints no credentials": Trouble(
        77,
        "the credentials cannot be read",
        {**WITHOUT_KEYS, "AWS_CONFIG_FILE": "{root}/aws"},
        files={"aws": f"[default]\ncredential_process = /bin/echo {SECRET}\n"},
    ),
    "a region that is none": Trouble(78, "Provided region_name", archive={"region": "no region"}),
    "an endpoint that is none": Trouble(
        78, "AWS_ENDPOINT_URL", {"AWS_ENDPOINT_URL": "nonsense"}, archive={"endpoint_url": ""}
    ),
    "no authorities for the bucket": Trouble(
        78,
        "AWS_CA_BUNDLE cannot be used",
        {"AWS_CA_BUNDLE": "/no/such.pem"},
        archive={"endpoint_url": "https://127.0.0.1:1"},
    ),
    "no authorities for providers": Trouble(
        78, "SSL_CERT_FILE cannot be used", {"SSL_CERT_FILE": "/no/such.pem"}, meets=ASK_PROVIDERS
    ),
    "authorities that are no PEM": Trouble(
        78,
        "SSL_CERT_FILE cannot be used",
        {"SSL_CERT_FILE": "{root}/not.pem"},
        files={"not.pem": "nothing"},
        meets=ASK_PROVIDERS,
    ),
}


def run_in(
    world: World, root: Path, trouble: Trouble, commands: tuple[str, ...], *, has_ledger: bool = True
) -> dict[str, Ran]:
    """Run commands in an environment, in one process, each on its own ledger."""
    for name, text in trouble.files.items():
        (root / name).write_text(text)
    rig = replace(world.rig, root=root, archive=trouble.archive, daemon={"metrics_listen": ""})
    configured = root / "other.toml"
    text = rig.config_path.read_text()
    configured.write_text("\n".join(line for line in text.splitlines() if line != 'endpoint_url = ""'))
    if has_ledger:
        (root / "ledger.db").write_bytes((world.rig.root / "ledger.db").read_bytes())
    environ = environment(root)
    for key, value in trouble.env.items():
        environ.pop(key, None)
        if value is not None:
            environ[key] = value.replace("{root}", str(root))
    asked = []
    for each in commands:
        options, verb = ([w for w in each.split() if w == "-vv"], [w for w in each.split() if w != "-vv"])
        words = [word.replace("ARCHIVED", world.archived.recording_id) for word in verb]
        asked.append([*options, "--config", str(configured), *words])
    code, stdout, stderr = forked.run([sys.executable, "-c", _EACH, json.dumps(asked)], environ, root, 2 * PATIENCE)
    assert code == 0, stderr
    return dict(zip(commands, (Ran(*each) for each in json.loads(stdout)), strict=True))


@pytest.mark.parametrize("name", TROUBLES)
def test_every_verb_says_what_is_wrong(world: World, tmp_path: Path, name: str) -> None:
    """A verb that lacks something exits 77 or 78 with a message, never with a traceback."""
    trouble = TROUBLES[name]
    anew = tmp_path / "anew"  # a rebuild needs a place without a ledger
    anew.mkdir()
    done = run_in(world, tmp_path, trouble, trouble.meets + ASK_NEITHER)
    if trouble.meets == ASK_THE_BUCKET:
        done |= run_in(world, anew, trouble, ("rebuild",), has_ledger=False)
    for command, ran in done.items():
        told = ran.stdout + ran.stderr
        assert "Traceback" not in told and SECRET not in told, (command, told[-3000:])
        if command in (*trouble.meets, "rebuild"):
            assert ran.code == trouble.code, (command, ran.code, told[-3000:])
            assert trouble.words in told, (command, told[-3000:])
        else:
            assert ran.code == 0, (command, ran.code, told[-3000:])


def test_a_secret_that_cannot_be_keeps_no_check_from_the_others(world: World, tmp_path: Path) -> None:
    """A typographic quote in one source's secret is reported with its place, and all other checks run."""
    place = tmp_path / "quoted"
    place.write_text(f"“{SECRET}”")
    place.chmod(0o600)
    sources = [dict(each) for each in world.rig.sources]
    sources[0]["auth_token"] = {"file": str(place)}
    with_quotes = replace(world, rig=replace(world.rig, sources=sources))
    (ran,) = run_in(with_quotes, tmp_path, Trouble(0, ""), ("check",)).values()
    assert ran.code == 78
    assert f"FAIL  source voice: settings: voice: auth_token: {place} contains a typographic quote" in ran.stdout
    assert "ok    source telnyx: list" in ran.stdout
    assert "ok    bucket: get" in ran.stdout
    assert SECRET not in ran.stdout + ran.stderr
