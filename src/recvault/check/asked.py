"""What was asked of a put beside what stands there: some stores take a lock, encryption or tags, and drop them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from recvault.app.runtime import Runtime
from recvault.check.probe import Notice
from recvault.config.models import Archive
from recvault.errors import ConfigError
from recvault.store.s3.bucket_questions import BucketLock, BucketQuestions, NotTold, Written


def as_asked_for(runtime: Runtime, questions: BucketQuestions, bucket_lock: BucketLock | NotTold) -> str | Notice:
    """Compare the options of `[archive]` with the sidecar's schema, which was put with them."""
    archive = runtime.settings.archive
    lock = archive.object_lock
    wanted = _wanted(archive)
    if not wanted:
        return "no storage class, encryption, lock or tags are asked for"
    found = questions.written(
        runtime.keys.schema_key, tags=bool(archive.tags), lock=lock.mode != "none", hold=lock.legal_hold
    )
    if isinstance(found, NotTold):
        return f"not known: {found.why}"
    dropped = [*_dropped(archive, found), *_lock_dropped(runtime, found)]
    if _asks_lock(archive) and isinstance(bucket_lock, BucketLock) and not bucket_lock.enabled:
        dropped.append("the lock, whatever is shown: the bucket has no Object Lock")
    if dropped:
        raise ConfigError(
            f"the store drops what is asked for: {'; '.join(dropped)}",
            "use a store that keeps it, or take it out of [archive]: what is dropped protects nothing",
        )
    hidden = [f"{name}: {each.why}" for name, each in _answers(found) if isinstance(each, NotTold)]
    if _asks_lock(archive) and isinstance(bucket_lock, NotTold):
        hidden.append(f"object_lock is shown, whether it holds is not known: {bucket_lock.why}")
    if hidden:
        return Notice(
            f"not all of it is shown: {'; '.join(hidden)}",
            "grant the right where one is named; else see in the store itself whether it keeps them",
        )
    return f"kept: {', '.join(wanted)}"


def _asks_lock(archive: Archive) -> bool:
    return archive.object_lock.mode != "none" or archive.object_lock.legal_hold


def _wanted(archive: Archive) -> list[str]:
    lock = archive.object_lock
    wanted = [f"storage class {archive.storage_class}"] * (archive.storage_class != "STANDARD")
    wanted += [f"sse {archive.sse}"] * (archive.sse != "none")
    wanted += [f"{lock.mode} for {lock.days} days"] * (lock.mode != "none")
    wanted += ["legal hold"] * lock.legal_hold
    wanted += ["tags"] * bool(archive.tags)
    return wanted


def _dropped(archive: Archive, found: Written) -> Iterator[str]:
    """Class, encryption and tags."""
    if archive.storage_class not in ("STANDARD", found.storage_class):
        yield f"storage_class {archive.storage_class}, shown is {found.storage_class}"
    if archive.sse not in ("none", found.sse):
        yield f"sse {archive.sse}, shown is {found.sse or 'none'}"
    elif _other_key(archive.kms_key_id, found.kms_key_id):
        yield f"kms_key_id {archive.kms_key_id}, shown is {found.kms_key_id}"
    if not isinstance(found.tags, NotTold) and (missing := [key for key in archive.tags if key not in found.tags]):
        yield f"tags {', '.join(missing)}"


def _lock_dropped(runtime: Runtime, found: Written) -> Iterator[str]:
    asked = runtime.settings.archive.object_lock
    if asked.legal_hold and found.legal_hold is False:
        yield "legal_hold"
    if asked.mode == "none" or isinstance(found.lock_mode, NotTold):
        return
    if found.lock_mode != asked.mode:
        yield f"object_lock {asked.mode}, shown is {found.lock_mode or 'none'}"
    elif found.locked_until and found.locked_until < runtime.clock() + timedelta(days=(asked.days or 0) - 1):
        yield f"object_lock for {asked.days} days, locked until {found.locked_until:%Y-%m-%d} alone"


def _answers(found: Written) -> Iterator[tuple[str, object]]:
    yield from (("tags", found.tags), ("object_lock", found.lock_mode), ("legal_hold", found.legal_hold))


def _other_key(asked: str | None, shown: str | None) -> bool:
    """Whether another KMS key is shown: a key's id is the end of its ARN; what an alias stands for is not known."""
    return bool(asked and shown and "alias/" not in asked and asked.rpartition("/")[2] != shown.rpartition("/")[2])
