"""Tests of `daemon.hints_listen`: its port, how each source's webhooks are verified, and whether any arrive."""

from __future__ import annotations

from collections.abc import Iterator

from recvault.app import hinting
from recvault.app.runtime import Runtime
from recvault.check import machine
from recvault.check.probe import Notice, Probe, probe
from recvault.config import SourceSettings
from recvault.timefmt import when


def settings(runtime: Runtime) -> Iterator[Probe]:
    """Test whether each source's webhooks can be verified."""
    if runtime.settings.daemon.hints_listen:
        for source in runtime.settings.sources:
            yield probe(f"source {source.name}: hints", _verified, runtime, source)


def arrive(runtime: Runtime) -> Iterator[Probe]:
    """Test whether the daemon can listen, and show when a hint of each source last arrived."""
    wanted = runtime.settings.daemon
    if not wanted.hints_listen:
        return
    yield probe("daemon: hints_listen", machine.free, runtime, wanted.hints_listen, "daemon.hints_listen")
    for source in runtime.settings.sources:
        if hinting.lacking(runtime, source) is None:
            yield probe(f"source {source.name}: hints arrive", _arrived, runtime, source)


def _verified(runtime: Runtime, source: SourceSettings) -> str | Notice:
    if why := hinting.lacking(runtime, source):
        return Notice(f"none: {why}", "polls find everything all the same")
    provider, _ = hinting.verifier(runtime, source)
    return f"verified by {', '.join(provider.hint_settings)}"


def _arrived(runtime: Runtime, source: SourceSettings) -> str | Notice:
    last = hinting.last_arrival(runtime.ledger, source.name) if runtime.has_ledger else None
    if last is not None:
        return f"the last one arrived {when(last)}"
    url = f"{runtime.settings.daemon.hints_url}/{source.name}"
    return Notice("none has arrived yet", f"set {url} as the recording status callback at the provider")
