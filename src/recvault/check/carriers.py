"""Tests of a cluster's workers: each reports on itself, and puts its own probe object."""

from __future__ import annotations

from collections.abc import Iterator

from recvault.app.runtime import Runtime
from recvault.check.probe import Probe, probe
from recvault.errors import RecvaultError, Unavailable
from recvault.workers.cluster import inspected, joined
from recvault.workers.equality import Inspected
from recvault.workers.link import Link
from recvault.workers.spec import Spec


def answers(runtime: Runtime) -> Iterator[Probe]:
    """Yield a result for the link, then one for each worker."""
    found: list[Link] = []
    yield (reached := probe("cluster", _reached, runtime, found))
    if not reached.ok:
        return
    [link] = found
    try:
        spec = Spec.of(runtime.settings, runtime.store.facts)
        for address in joined(link):
            yield probe(f"cluster: worker {address}", _worker, link, address, spec)
    finally:
        link.close()


def _reached(runtime: Runtime, found: list[Link]) -> str:
    link = Link(runtime.settings.transfer)
    found.append(link)
    workers = joined(link)
    if not workers:
        link.close()
        raise Unavailable(f"{link.name} answers, and no worker has joined it", "start workers")
    return f"{link.name} answers, {len(workers)} worker{'s' if len(workers) > 1 else ''}"


def _worker(link: Link, address: str, spec: Spec) -> str:
    try:
        answer: Inspected = inspected(link, address, spec, probes=True)
    except RecvaultError:
        raise
    except Exception as error:
        raise Unavailable(f"it cannot be asked: {type(error).__name__}", "see its own log") from error
    answer.check(spec)
    return (
        f"recvault {answer.version}, configuration {answer.config}, the same {len(spec.prints)} secrets; "
        "it puts a probe object"
    )
