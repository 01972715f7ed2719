"""What `check` asks of the world: each answer is one line that says what is wrong and how to mend it.

Nothing is changed anywhere but for one small object in the bucket, which is deleted again where the rights allow it.
"""

from __future__ import annotations

from collections.abc import Iterator

from recvault.app.runtime import Runtime
from recvault.check import bucket, machine, proof, sources, ways
from recvault.check.probe import Probe

__all__ = ["Probe", "offline", "online"]


def offline(runtime: Runtime) -> Iterator[Probe]:
    """The configuration is sound already; ledger and spool have a place, secrets can be had, and exchanges a way."""
    yield from machine.places(runtime)
    yield from sources.settings(runtime)
    yield from proof.proof(runtime)
    yield from ways.ways(runtime)


def online(runtime: Runtime) -> Iterator[Probe]:
    """Proxies, sources and the bucket answer, with the rights that archiving needs; what the daemon needs is free."""
    yield from ways.proxied(runtime)
    yield from sources.answers(runtime)
    yield from bucket.answers(runtime)
    yield from machine.daemon(runtime)
