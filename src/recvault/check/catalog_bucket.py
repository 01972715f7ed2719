"""What the catalog needs: its extra, its key, and a bucket that does not lock what is replaced daily."""

from __future__ import annotations

from collections.abc import Iterator

from recvault.app.runtime import Runtime
from recvault.catalog import spawned
from recvault.check.probe import Notice, Probe, probe


def settings(runtime: Runtime) -> Iterator[Probe]:
    """Test whether the extra is installed, and the key of numbers is readable."""
    if runtime.settings.catalog.enabled:
        yield probe("catalog", _settings, runtime)


def answers(runtime: Runtime) -> Iterator[Probe]:
    """Test whether the bucket would keep each of the catalog's versions as long as recordings."""
    if runtime.settings.catalog.enabled:
        yield probe("catalog: retention", _retention, runtime)


def _settings(runtime: Runtime) -> str:
    spawned.require()
    wanted = runtime.settings.catalog
    if wanted.numbers_key is not None:
        wanted.numbers_key.resolve()
    return f"written daily to {runtime.settings.catalog.bucket or 'the archive'}; numbers: {wanted.numbers}"


def _retention(runtime: Runtime) -> str | Notice:
    days = runtime.settings.catalog.retention_days
    if days is not None:
        return f"each version is locked by GOVERNANCE for {days} days, whatever the bucket's default"
    lock = runtime.catalog_store.inspection(runtime.clock).default_lock()
    if lock is None:
        return "the bucket locks nothing by default"
    return Notice(
        f"the bucket's default retention would lock each daily version of the catalog: {lock}",
        "set catalog.retention_days = 1, or catalog.bucket to a bucket without default retention",
    )
