"""A cluster's workers that query the bucket, as the processes of `bucket_readers` do on one machine.

Invariant: a question that no worker answers is asked here. Only questions and answers travel, in batches.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, wait
from typing import Any

from recvault.errors import EngineLost, WorkerLost
from recvault.log.lines import get_logger
from recvault.store import Reader
from recvault.workers.bucket_readers import Work, answered
from recvault.workers.carrier import BucketAnswers, BucketQuestionsBatch, read
from recvault.workers.spec import Spec

log = get_logger("recvault.workers.cluster_readers")

_LOOK_SECONDS = 0.1


class ClusterReaders:
    """Asks by any executor. Thread-safe."""

    def __init__(self, spec: Spec, inner: Executor, reader: Reader, work: Work) -> None:
        self._spec, self._inner = spec, inner
        self._here, self._work = work(reader), pickle.dumps(work)
        self._requests: dict[str, Counter[str]] = {}

    def ask(self, items: Sequence[Any], look: Callable[[], None]) -> list[Any]:
        """See `answered`. Calls `look` while it waits, which may raise. EngineLost where the cluster is lost."""
        future = self._inner.submit(read, self._spec, BucketQuestionsBatch(self._work, pickle.dumps(list(items))))
        while not wait([future], _LOOK_SECONDS).done:
            look()
        try:
            told: BucketAnswers = future.result()
        except WorkerLost as error:
            log.warning("crew.lost", error=error.message, batches=1)
            return answered(self._here, items)
        if told.refused is not None:
            raise EngineLost(f"the worker {told.carrier} refuses the work: {told.refused}")
        self._requests[told.carrier] = told.requests
        found: list[Any] = pickle.loads(told.packed)  # noqa: S301 - of a worker that has shown what it is
        return found

    @property
    def requests(self) -> Counter[str]:
        """The requests of the workers so far."""
        return sum(list(self._requests.values()), Counter[str]())
