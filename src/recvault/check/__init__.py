"""The tests of `check`: each result is one line that says what is wrong and how to fix it.

Nothing is changed but one small object in the bucket, which is deleted again if permitted.
"""

from __future__ import annotations

from collections.abc import Iterator

from recvault.app.runtime import Runtime
from recvault.check import bucket, catalog_bucket, machine, notifications, proof, sources, ways, webhooks
from recvault.check.probe import Probe

__all__ = ["Probe", "offline", "online", "test_event"]


def offline(runtime: Runtime) -> Iterator[Probe]:
    """Test ledger, spool, secrets and the network path; the configuration is already valid."""
    yield from machine.places(runtime)
    yield from sources.settings(runtime)
    yield from proof.proof(runtime)
    yield from ways.ways(runtime)
    yield from catalog_bucket.settings(runtime)
    yield from notifications.settings(runtime)
    yield from webhooks.settings(runtime)


def online(runtime: Runtime) -> Iterator[Probe]:
    """Test that proxies, sources and bucket answer, with the permissions for archiving; and what the daemon needs."""
    yield from ways.proxied(runtime)
    yield from sources.answers(runtime)
    yield from bucket.answers(runtime)
    yield from catalog_bucket.answers(runtime)
    if runtime.settings.transfer.cluster:
        from recvault.check import carriers  # their library is an extra

        yield from carriers.answers(runtime)
    yield from machine.daemon(runtime)
    yield from notifications.reachable(runtime)
    yield from webhooks.arrive(runtime)


def test_event(runtime: Runtime) -> Iterator[Probe]:
    """Send a test event to each channel of `[notify]`."""
    yield from notifications.told(runtime)
