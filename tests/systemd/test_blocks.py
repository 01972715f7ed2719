"""Each shell block in the README and the guides is run as written, or a reason is given why not.

An operator's environment is replaced by simulated hosts and a bucket in the configuration, a real recording's id, and
an `aws` script that copies a bucket. Blocks for root run under a real systemd.
"""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from cli.commands import PATIENCE, environment, run, until
from recvault.simulator import Simulator
from rig import START, Rig
from strict_s3 import Bucket
from systemd.lab import UNITS, missing
from systemd.test_lab import Served, lab, served  # noqa: F401 - fixtures

TOP = UNITS.parent
README, GUIDE = "README.md", "systemd/README.md"
DOCUMENTS = (README, GUIDE, *sorted(str(path.relative_to(TOP)) for path in UNITS.glob("*/README.md")))
_FENCE = re.compile(r"^(?:#+ ([^\n]*)|```sh\n(.*?)^```)$", re.M | re.S)
THE_GATE = "`.ci/run` runs it, in a fresh copy"
WHERE = {
    # document and heading: the test that runs its blocks, or why none does
    (README, "recvault"): THE_GATE,
    (README, "Operate"): "tests/cli/test_init.py: with a simulated provider's hosts as further options",
    (README, "Read the bucket"): "test_anyone_can_check_a_copy_of_the_bucket",
    (README, "In a web browser"): "tests/browse/test_verb.py: with a catalog of its own",
    (GUIDE, "Install"): "pip needs an index; what follows it is in tests/systemd/test_install_lab.py",
    (GUIDE, "First start"): "test_the_guides_blocks_work_under_systemd",
    (GUIDE, "Look"): "test_the_guides_blocks_work_under_systemd",
    (GUIDE, "Reload"): "test_the_guides_blocks_work_under_systemd",
    (GUIDE, "By hand"): "tests/systemd/test_lab.py",
    (GUIDE, "Upgrade and downgrade"): "tests/systemd/test_lab.py",
    (GUIDE, "Back up"): "test_the_guides_blocks_work_under_systemd",
    (GUIDE, "Rebuild"): "test_the_guides_blocks_work_under_systemd",
    (GUIDE, "A timer instead of the daemon"): "test_the_guides_blocks_work_under_systemd",
    ("systemd/container/README.md", "recvault in a container"): "needs an engine and a registry; CI builds the image",
    ("systemd/container/README.md", "A trial"): "needs an engine and a registry; CI starts its S3 server",
    (
        "systemd/deb/README.md",
        "recvault as a Debian package",
    ): "tests/systemd/test_deb.py builds it; apt needs a machine",
    ("systemd/kubernetes/README.md", "recvault on Kubernetes"): "needs a cluster",
}


def blocks(document: str) -> dict[str, list[str]]:
    """Return a document's shell blocks by their heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for title, block in _FENCE.findall((TOP / document).read_text()):
        heading = title or heading
        if block:
            found.setdefault(heading, []).append(block)
    return found


def commands(document: str, heading: str) -> list[str]:
    """Return the lines of all blocks under a heading, each with its continuations."""
    text = "".join(blocks(document)[heading]).replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_each_block_is_run_or_has_a_reason() -> None:
    """Every block has a test or a reason, every reason has its block, and every named test exists."""
    assert {(document, heading) for document in DOCUMENTS for heading in blocks(document)} == set(WHERE)
    named = [re.match(r"tests/[\w/]+\.py|test_\w+", how) for how in WHERE.values()]
    tests = {found[0] for found in named if found}
    assert [each for each in tests if each not in globals() and not (TOP / each).exists()] == []


def test_the_gate_runs_the_readmes_first_blocks() -> None:
    """The gate takes its lines, including the demo's, from the README."""
    gate = (TOP / ".ci/run").read_text()
    demo, tests = blocks(README)["recvault"]
    for block, extra in ((demo, "'.[demo]'"), (tests, "'.[test]'")):
        assert block.count("\n") == 1 and extra in block
        assert f'$(grep -F "{extra}" README.md)' in gate
    assert 'eval "$demo"' in gate


AWS = """#!/bin/sh
# aws s3 sync s3://BUCKET DIRECTORY
[ "$1 $2" = "s3 sync" ] && cp -r "$BUCKETS/${3#s3://}" "$4"
"""


@pytest.mark.parametrize("spoilt", [False, True], ids=["whole", "spoilt"])
def test_anyone_can_check_a_copy_of_the_bucket(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, tmp_path: Path, spoilt: bool
) -> None:
    """sha256sum alone checks a copy: silent if all is right, else it names what is not."""
    simulator.set_now(START)
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=4, conference_share=0)
    rig.add_source("voice", "twilio", account)
    assert rig.sync_at(START + timedelta(hours=1)).exit_code == 0
    assert run(rig, "manifest").code == 0
    bucket, program = tmp_path / "buckets/acme-recordings", tmp_path / "bin/aws"
    for key in strict_bucket.objects:
        (bucket / key).parent.mkdir(parents=True, exist_ok=True)
        (bucket / key).write_bytes(strict_bucket.body(key))
    listed = [name for path in bucket.rglob("manifest-sha256.txt") for name in path.read_text().splitlines()]
    assert len(listed) >= 8, "the manifests name the media and sidecars of days that have ended"
    if spoilt:
        next(bucket.rglob("*.wav")).write_bytes(b"other")
    program.parent.mkdir()
    program.write_text(AWS)
    program.chmod(0o755)
    told = {**environment(tmp_path), "BUCKETS": str(bucket.parent)}
    told["PATH"] = f"{program.parent}:{told['PATH']}"
    script = "".join(blocks(README)["Read the bucket"])
    done = subprocess.run(["sh", "-ec", script], env=told, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode != 0, "FAILED" in done.stdout) == (spoilt, spoilt)


# -- as root, under systemd --------------------------------------------------------------------------------------------


def typed(served: Served, heading: str, **instead: str) -> None:  # noqa: F811
    """Type a heading's lines one by one in a checkout, as root; each must succeed."""
    for line in commands(GUIDE, heading):
        for example, real in instead.items():
            line = line.replace(example, real)
        done = served.lab.ran("sh", "-c", f"cd /checkout && {line}")
        assert done.returncode == 0, (line, done.stdout, done.stderr, [*served.lab.journal("recvault")][-5:])


@pytest.mark.systemd
@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_the_guides_blocks_work_under_systemd(served: Served) -> None:  # noqa: F811
    """From the first start to a timer each line succeeds as written, and nothing is lost."""
    for path in UNITS.rglob("*"):
        if path.is_file() and path.suffix in (".service", ".timer", ".example"):
            served.lab.write(f"/checkout/systemd/{path.relative_to(UNITS)}", path.read_text())
    served.lab.run("sh", "-c", "cp /checkout/systemd/recvault.timer /etc/systemd/system/")
    text = served.rig.config_path.read_text()
    served.lab.write("/etc/recvault/config.toml", f'{text}\n[daemon]\nmetrics_listen = "127.0.0.1:9464"\n')

    typed(served, "First start")
    until(served.bucket_is_truth, PATIENCE)
    recording = served.simulator.truth(served.account)[0].recording_id
    typed(served, "Look", RE0123456789abcdef=recording)
    typed(served, "Reload")
    typed(served, "Back up")
    assert served.lab.run("sh", "-c", "stat -c %a /var/backups/recvault/ledger-*.db").strip() == "600"
    served.lab.run("systemctl", "stop", "recvault")
    served.lab.run("sh", "-c", "echo damaged >/var/lib/recvault/ledger.db; rm -f /var/lib/recvault/ledger.db-*")
    typed(served, "Rebuild")
    assert served.lab.run("sh", "-c", "ls /var/lib/recvault/ledger.db.damaged-*") != ""
    served.add_one()
    until(served.bucket_is_truth, PATIENCE)

    typed(served, "A timer instead of the daemon")
    try:
        served.add_one()
        served.lab.run("systemctl", "start", "recvault")  # as the timer does
        until(served.bucket_is_truth, PATIENCE)
        assert served.lab.property("recvault.timer", "ActiveState") == "active"
    finally:
        served.lab.run("systemctl", "disable", "--now", "recvault.timer")
        served.lab.run("rm", "/etc/systemd/system/recvault.service.d/one-shot.conf")
        served.lab.run("systemctl", "daemon-reload")
