"""An empty stage for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.verify.stage import Stage
from strict_s3 import Bucket


@pytest.fixture
def stage(tmp_path: Path, strict_bucket: Bucket) -> Iterator[Stage]:
    """A ledger and a bucket, both empty."""
    made = Stage(tmp_path, strict_bucket)
    yield made
    made.ledger.close()
