"""The link to a cluster: what may be sent over it, and what is reported if it fails."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from e2e.clusters import needs_dask
from recvault.config.settings import ClusterTLS, TransferSettings
from recvault.errors import ConfigError, EngineLost
from recvault.workers.link import Link, is_private


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("tls://10.0.0.6:40001", True),
        ("tcp://127.0.0.1:40001", True),
        ("tcp://[::1]:40001", True),
        ("tcp://10.0.0.6:40001", False),
        ("tcp://worker.example:40001", False),
        ("inproc://10.0.0.6/1/2", False),
    ],
)
def test_what_leaves_this_machine_is_encrypted(address: str, private: bool) -> None:
    """A worker is judged by its own address, because a tunnelled scheduler may have remote workers."""
    assert is_private(address) is private


def test_a_cluster_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the message says what to install."""
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name in ("dask", "distributed"):
            raise ImportError(f"No module named '{name}'")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError) as told:
        Link(TransferSettings(cluster="local:2"))
    assert "pip install 'recvault[cluster]'" in told.value.hint


@needs_dask
def test_a_scheduler_that_is_not_there_is_lost(free_port: int) -> None:
    """A missing scheduler is exit code 75, with a hint."""
    with pytest.raises(EngineLost, match="does not answer") as told:
        Link(TransferSettings(cluster=f"tcp://127.0.0.1:{free_port}"))
    assert told.value.exit_code == 75


@needs_dask
def test_a_cluster_that_cannot_start_here_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the library raises at the start of a local cluster is exit code 75, with the reason and a hint."""

    def refused(*_: Any, **__: Any) -> None:
        raise RuntimeError("Cluster failed to start: can't start new thread")

    monkeypatch.setattr("distributed.LocalCluster", refused)
    with pytest.raises(EngineLost, match="local:2 cannot be started here: RuntimeError: Cluster failed") as told:
        Link(TransferSettings(cluster="local:2"))
    assert (told.value.exit_code, "open files limited" in told.value.hint) == (75, True)


@needs_dask
def test_an_interrupt_while_it_starts_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's Ctrl-C is not taken for a cluster that cannot start."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("distributed.LocalCluster", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Link(TransferSettings(cluster="local:2"))


@needs_dask
def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """Unreadable certificates are named before anything connects, also if only --cluster needs them."""
    gone = tmp_path / "gone.pem"
    files = ClusterTLS(ca=gone, cert=gone, key=gone)
    with pytest.raises(ConfigError, match=f"{gone} cannot be read"):
        Link(TransferSettings(cluster="tls://127.0.0.1:8786", cluster_tls=files))
    bare = TransferSettings().model_copy(update={"cluster": "tls://127.0.0.1:8786"})
    with pytest.raises(ConfigError, match="needs certificates"):
        Link(bare)
    open_ = TransferSettings().model_copy(update={"cluster": "tcp://10.0.0.5:8786"})
    with pytest.raises(ConfigError, match="must be on loopback"):
        Link(open_)


@pytest.fixture
def free_port() -> int:
    """Return a port of this machine without a listener."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
