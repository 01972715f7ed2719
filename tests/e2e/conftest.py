"""Shared fixtures: a cluster that tests must not change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.clusters import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers for all tests."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made.with_workers(2)
