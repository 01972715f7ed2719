"""Which executor runs jobs: what was started for one that cannot be made is ended."""

from __future__ import annotations

from typing import Any, cast

import pytest

from recvault.app.runtime import Runtime
from recvault.workers import executors
from recvault.workers.spec import Spec


def test_a_cluster_without_its_batches_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the thread of batches cannot be started, the cluster that was started for it ends."""
    ended: list[bool] = []

    class Started:
        def __init__(self, *_: Any) -> None: ...

        def shutdown(self) -> None:
            ended.append(True)

    class Parent:
        settings = store = stop = property(lambda self: self)
        transfer = facts = None

    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("recvault.workers.cluster.Cluster", Started)
    monkeypatch.setattr(executors, "Batched", refused)
    monkeypatch.setattr(Spec, "of", lambda *_: None)
    with pytest.raises(RuntimeError, match="new thread"):
        executors.clustered(cast("Runtime", Parent()))
    assert ended == [True]
