"""Which executor runs a command's jobs, by its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from recvault.app.runtime import Runtime
from recvault.store import Reader
from recvault.workers.batches import Batched
from recvault.workers.bucket_readers import Work
from recvault.workers.cluster_readers import ClusterReaders
from recvault.workers.on_demand import OnDemand
from recvault.workers.process_pool import Processes, Sheltered
from recvault.workers.spec import Spec


def executor(runtime: Runtime) -> Executor:
    """Return a cluster, worker processes, or threads. Raises ConfigError or EngineLost if a cluster cannot be used."""
    transfer = runtime.settings.transfer
    if transfer.cluster:
        return clustered(runtime)
    return Processes(runtime) if transfer.processes > 1 else Sheltered(runtime)


def of_daemon(runtime: Runtime) -> Executor:
    """The same for a daemon, where processes and a cluster are used only while there is work."""
    transfer = runtime.settings.transfer
    if transfer.cluster:
        return OnDemand(lambda: clustered(runtime), 1, Batched.least)
    if transfer.processes > 1:
        return OnDemand(lambda: Processes(runtime), transfer.processes)
    return Sheltered(runtime)


@contextmanager
def cluster_readers(runtime: Runtime, reader: Reader, work: Work) -> Iterator[tuple[ClusterReaders, int]]:
    """Readers of the bucket in a cluster's workers, and how many workers there are."""
    from recvault.workers.cluster import Cluster

    spec = Spec.of(runtime.settings, runtime.store.facts)
    with Cluster(runtime.settings.transfer, spec, runtime.stop) as cluster:
        yield ClusterReaders(spec, cluster, reader, work), cluster.processes


def clustered(runtime: Runtime) -> Batched:
    """Return an executor that sends batches to the cluster."""
    from recvault.workers.cluster import Cluster

    spec = Spec.of(runtime.settings, runtime.store.facts)
    cluster = Cluster(runtime.settings.transfer, spec, runtime.stop)
    try:
        return Batched(runtime, spec, cluster)
    except BaseException:
        cluster.shutdown()
        raise
