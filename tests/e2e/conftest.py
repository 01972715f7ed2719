"""What these tests share: a cluster, where one of its kind is wanted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.clusters import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers that outlive each test."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made.with_workers(2)
