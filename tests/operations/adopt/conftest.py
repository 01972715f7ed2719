"""An empty stage for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from operations.adopt.stage import Stage, staged
from rig import Rig
from strict_s3 import Bucket, StrictS3


@pytest.fixture
def theirs(strict_s3: StrictS3) -> Iterator[Bucket]:
    """A bucket that others write, at the archive's own server."""
    yield (bucket := strict_s3.bucket())
    strict_s3.forget(bucket)


@pytest.fixture
def stage(rig: Rig, theirs: Bucket) -> Stage:
    """A source and a foreign bucket, both empty."""
    return staged(rig, theirs)
