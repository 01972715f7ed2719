"""The image, the compose file and the Kubernetes manifest keep their promises, and pass their linters."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from real_s3.fixtures import LACKS
from recvault import config
from recvault.config.settings import DaemonSettings
from systemd.lab import UNITS

TOP = UNITS.parent
CONTAINERFILE = (UNITS / "container/Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((UNITS / "container/compose.yml").read_text())
MANIFEST: dict[str, dict[str, Any]] = {
    each["kind"]: each for each in yaml.safe_load_all((UNITS / "kubernetes/recvault.yaml").read_text())
}
DRAIN = DaemonSettings().drain_timeout.total_seconds()


def tool(name: str) -> str:
    """Return a linter of this environment, or skip without it."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{LACKS}{name}: pip install -e '.[ship]'")
    return found


def steps(word: str) -> list[str]:
    """Return the arguments of an instruction in the last stage."""
    joined = CONTAINERFILE.replace("\\\n", " ")
    return re.findall(rf"^{word} (.*)$", joined.rpartition("\nFROM ")[2], re.M)


# -- the image ---------------------------------------------------------------------------------------------------------


def test_hadolint_finds_nothing() -> None:
    """hadolint finds nothing in the Containerfile."""
    done = subprocess.run([tool("hadolint"), UNITS / "container/Containerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_no_tools_and_no_root() -> None:
    """Two stages have the same slim base; the last copies the environment and runs as a numbered user."""
    assert re.findall(r"^FROM (.*)$", CONTAINERFILE, re.M) == ["${PYTHON} AS build", "${PYTHON}"]
    assert re.search(r"^ARG PYTHON=docker\.io/library/python:3\.\d+-slim$", CONTAINERFILE, re.M)
    assert steps("COPY") == ["--from=build /opt/recvault /opt/recvault"]
    assert steps("USER") == ["10001:10001"]
    assert (steps("ENTRYPOINT"), steps("CMD"), steps("STOPSIGNAL")) == (['["recvault"]'], ['["run"]'], ["SIGTERM"])


def test_the_images_health_is_the_daemons(tmp_path: Path) -> None:
    """The health check requests the daemon's default port, and fails if nobody answers."""
    (check,) = steps("HEALTHCHECK")
    words: list[str] = yaml.safe_load(check.partition(" CMD ")[2])
    assert f"http://{DaemonSettings().metrics_listen}/healthz" in words[-1]
    nowhere = words[-1].replace("127.0.0.1:9464", "127.0.0.1:9")
    done = subprocess.run([sys.executable, "-c", nowhere], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    """The ignore file excludes everything except what the first stage copies."""
    lines = [line for line in (TOP / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.M)
    assert {name for line in copied for name in line.split()} == let_in
    assert [name for name in let_in if not (TOP / name).exists()] == []


# -- compose -----------------------------------------------------------------------------------------------------------


def test_compose_follows_its_schema() -> None:
    """The compose file matches the Compose specification."""
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", UNITS / "container/compose.yml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_trial_is_hardened_and_stays_on_this_machine() -> None:
    """Its root is read-only without capabilities, all ports are on loopback, and a stop can drain."""
    services = COMPOSE["services"]
    for name in ("recvault", "bucket"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["tmpfs"] == "/tmp"
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == 2 and all(port.startswith("127.0.0.1:") for port in ports)
    assert float(services["recvault"]["stop_grace_period"].removesuffix("s")) > DRAIN
    assert [each["image"] for each in services.values() if each["image"].endswith(":latest")] == []


def test_the_trials_configuration_loads() -> None:
    """The trial's configuration loads, and names its bucket and server."""
    text = COMPOSE["configs"]["recvault"]["content"]
    text = re.sub(r"\$\{TWILIO_ACCOUNT_SID:\?[^}]*\}", "AC0123456789abcdef0123456789abcdef", text)
    archive = config.read(text, "compose.yml").archive
    assert f'"{archive.bucket}"' in COMPOSE["services"]["bucket"]["command"][0]
    assert archive.endpoint_url == "http://s3:9000"


def test_the_trials_bucket_is_made_once(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket is created by Python code that can run again."""
    (code,) = COMPOSE["services"]["bucket"]["command"]
    for _ in range(2):
        exec(code.replace("http://s3:9000", moto_url), {})


# -- Kubernetes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_accepts_the_manifest(version: str) -> None:
    """The manifest matches Kubernetes' own schemas, without unknown properties."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip(f"{LACKS}kubernetes-validate: pip install -e '.[ship]'")
    command = [tool("kubernetes-validate"), "--strict", "-k", version, UNITS / "kubernetes/recvault.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def pod() -> dict[str, Any]:
    found: dict[str, Any] = MANIFEST["Deployment"]["spec"]["template"]["spec"]
    return found


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    assert isinstance(found, dict)
    return found


def test_never_two_pods_on_a_ledger() -> None:
    """One replica ends before the next begins, with its own claim and time to drain."""
    spec = MANIFEST["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    ledger = next(each for each in pod()["volumes"] if each["name"] == "ledger")
    assert ledger["persistentVolumeClaim"]["claimName"] == MANIFEST["PersistentVolumeClaim"]["metadata"]["name"]
    assert MANIFEST["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert pod()["terminationGracePeriodSeconds"] > DRAIN


def test_the_pod_is_restricted() -> None:
    """The pod meets the restricted Pod Security Standard, as the image's user, with a read-only root."""
    (uid,) = steps("USER")
    rights = pod()["securityContext"]
    assert f"{rights['runAsUser']}:{rights['runAsGroup']}" == uid
    assert (rights["runAsNonRoot"], rights["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False


def test_the_pods_probes_ask_two_questions() -> None:
    """Readiness is health; liveness is any answer, as a restart does not fix a provider."""
    paths = {name: container()[f"{name}Probe"]["httpGet"]["path"] for name in ("readiness", "liveness", "startup")}
    assert paths == {"readiness": "/healthz", "liveness": "/metrics", "startup": "/metrics"}


def mounts() -> Iterator[str]:
    yield from (each["mountPath"] for each in container()["volumeMounts"])


def test_the_pods_configuration_loads_and_finds_its_files() -> None:
    """It listens where the probes ask, its secrets are readable only by its group, and its state is kept."""
    settings = config.read(MANIFEST["ConfigMap"]["data"]["config.toml"], "recvault.yaml")
    (port,) = container()["ports"]
    assert settings.daemon.metrics_listen == f"0.0.0.0:{port['containerPort']}"
    assert settings.daemon.drain_timeout.total_seconds() < pod()["terminationGracePeriodSeconds"]
    assert {"/var/lib/recvault", "/etc/recvault", "/tmp"} < set(mounts())
    assert settings.ledger.path.is_relative_to("/var/lib/recvault")
    secret = next(each["secret"] for each in pod()["volumes"] if "secret" in each)
    assert secret["defaultMode"] == 0o440
    guide = (UNITS / "kubernetes/README.md").read_text()
    assert f"secret generic {secret['secretName']} --from-file=twilio-auth-token" in guide
    assert '{ file = "/run/secrets/recvault/twilio-auth-token" }' in MANIFEST["ConfigMap"]["data"]["config.toml"]
    assert "/run/secrets/recvault" in set(mounts())
