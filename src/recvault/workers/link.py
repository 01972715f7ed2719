"""The connection to a Dask cluster: only this module knows that library.

Invariants: a link uses TLS with certificates of both sides, or stays on this machine. We open no port beyond loopback,
and no dashboard. Dask neither merges equal tasks nor retries any.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from recvault.config.settings import TransferSettings
from recvault.errors import ConfigError, EngineLost, RecvaultError
from recvault.log.lean_imports import SCREEN, without
from recvault.log.lines import redact_text

CONNECT_SECONDS = 5.0
_LEAVE_SECONDS = 2.0
_LOCAL = "local:"
_RUNNING = "running"


def is_private(address: str) -> bool:
    """Whether nobody else can read what is sent to this address: by TLS, or loopback."""
    parts = urlsplit(address)
    try:
        return parts.scheme == "tls" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the scheduler last heard of a worker."""

    at: float  # by the scheduler's clock
    is_running: bool = True  # whether it starts tasks: Dask pauses a worker that runs out of memory


class Link:
    """A client of a cluster, and the cluster itself if it belongs to this command."""

    def __init__(self, transfer: TransferSettings) -> None:
        self.name = transfer.cluster
        self._open = contextlib.ExitStack()
        try:
            _load()
            from distributed import Client

            address, security = (
                self._own(int(self.name.removeprefix(_LOCAL))) if self.is_own else self._theirs(transfer)
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about other library versions: each worker is asked about what matters
                self._client = Client(address, security=security, timeout=CONNECT_SECONDS, set_as_default=False)
        except BaseException as error:
            self.close()
            if isinstance(error, RecvaultError) or not isinstance(error, Exception):
                raise
            raise self._lost(error) from error

    @property
    def is_own(self) -> bool:
        """Whether its processes are this command's own."""
        return self.name.startswith(_LOCAL)

    def _lost(self, error: Exception) -> EngineLost:
        if self.is_own:
            why = redact_text(f"{type(error).__name__}: {error}")
            return EngineLost(
                f"the cluster {self.name} cannot be started here: {why}",
                "are memory, processes and open files limited on this machine? it will be tried again",
            )
        return EngineLost(
            f"the cluster at {self.name} does not answer ({type(error).__name__})", "is its scheduler running?"
        )

    def _own(self, count: int) -> tuple[str, Any]:
        """Start a scheduler and workers here; other users of this machine have no certificate for it."""
        from distributed import LocalCluster
        from distributed.security import Security

        security = Security.temporary()
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            protocol="tls://",
            security=security,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
        self._open.callback(cluster.close, timeout=CONNECT_SECONDS)
        return cluster.scheduler_address, security

    def _theirs(self, transfer: TransferSettings) -> tuple[str, Any]:
        from distributed.security import Security

        if not is_private(self.name):
            raise ConfigError(f"{self.name}: without TLS a cluster must be on loopback", "use tls://host:port")
        if not self.name.startswith("tls:"):
            return self.name, None
        if (files := transfer.cluster_tls) is None:
            raise ConfigError(
                f"{self.name} needs certificates",
                "set transfer.cluster_tls = { ca = PATH, cert = PATH, key = PATH }",
            )
        for path in (files.ca, files.cert, files.key):
            try:
                path.read_bytes()
            except OSError as error:
                raise ConfigError(f"transfer.cluster_tls: {path} cannot be read: {error.strerror}") from error
        return self.name, Security(
            require_encryption=True,
            tls_ca_file=str(files.ca),
            tls_client_cert=str(files.cert),
            tls_client_key=str(files.key),
        )

    def heartbeats(self, seconds: float) -> dict[str, Heartbeat]:
        """Return each worker's last sign of life. Raises the library's error if the scheduler is gone."""
        if self._client.status != "running":
            raise ConnectionError(self._client.status)
        found = self._client.sync(self._client.scheduler.identity, callback_timeout=seconds)
        return {
            address: Heartbeat(worker["last_seen"], worker.get("status", _RUNNING) == _RUNNING)
            for address, worker in found["workers"].items()
        }

    def executor(self, address: str) -> Executor:
        """Return an executor for only that worker."""
        found: Executor = self._client.get_executor(pure=False, retries=0, workers=[address], allow_other_workers=False)
        return found

    def ask(self, fn: Callable[..., Any], /, *args: Any, workers: Sequence[str], seconds: float) -> dict[str, Any]:
        """Run a function on workers, beside their tasks; return their answers by address."""
        found: dict[str, Any] = self._client.sync(
            self._client._run, fn, *args, workers=list(workers), callback_timeout=seconds
        )
        return found

    def close(self) -> None:
        """Disconnect; end our own cluster."""
        if (client := getattr(self, "_client", None)) is not None:
            with contextlib.suppress(Exception):
                client.close(timeout=_LEAVE_SECONDS)
        with contextlib.suppress(Exception):
            self._open.close()


def _load() -> None:
    """Import the library so that it neither writes to our streams nor serves pages."""
    for name in ("distributed", "tornado"):  # this module reports problems of the link
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with without(*SCREEN):
            import dask

            plain = {"version": 1, "disable_existing_loggers": False}
            dask.config.set(
                {
                    "logging": plain,
                    "distributed.scheduler.http.routes": [],
                    "distributed.worker.http.routes": [],
                }
            )
            import distributed  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"a cluster needs distributed, which cannot be imported: {error}", "pip install 'recvault[cluster]'"
        ) from error
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # for tasks that a broken link leaves behind
