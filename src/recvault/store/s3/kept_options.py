"""Compare the settings of a put with the stored object: some stores accept lock, encryption or tags but drop them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from recvault.errors import ConfigError
from recvault.store.inspection import Notice
from recvault.store.s3.bucket_questions import BucketLock, BucketQuestions, NotTold, Written
from recvault.store.s3.options import WriteOptions


def kept(
    options: WriteOptions, questions: BucketQuestions, bucket_lock: BucketLock | NotTold, key: str, now: datetime
) -> str | Notice:
    """Check that an object has the options of `[archive]` that it was put with."""
    wanted = _wanted(options)
    if not wanted:
        return "no storage class, encryption, lock or tags are configured"
    asks_lock = options.lock_mode != "none"
    found = questions.written(key, tags=bool(options.tags), lock=asks_lock, hold=options.legal_hold)
    if isinstance(found, NotTold):
        return f"unknown: {found.why}"
    dropped = [*_dropped(options, found), *_lock_dropped(options, found, now)]
    if _asks_lock(options) and isinstance(bucket_lock, BucketLock) and not bucket_lock.enabled:
        dropped.append("the lock, although it is reported: the bucket has no Object Lock")
    if dropped:
        raise ConfigError(
            f"the store ignores configured settings: {'; '.join(dropped)}",
            "use a store that applies them, or remove them from [archive]: ignored settings protect nothing",
        )
    hidden = [f"{name}: {each.why}" for name, each in _answers(found) if isinstance(each, NotTold)]
    if _asks_lock(options) and isinstance(bucket_lock, NotTold):
        hidden.append(f"object_lock is reported, but it is unknown whether it holds: {bucket_lock.why}")
    if hidden:
        return Notice(
            f"not all settings are reported: {'; '.join(hidden)}",
            "grant the permission if one is named; otherwise check in the store itself",
        )
    return f"kept: {', '.join(wanted)}"


def lock_wanted(options: WriteOptions) -> list[str]:
    """Describe the configured Object Lock settings."""
    wanted = [f"{options.lock_mode} for {options.lock_days} days"] * (options.lock_mode != "none")
    return wanted + ["legal hold"] * options.legal_hold


def _asks_lock(options: WriteOptions) -> bool:
    return options.lock_mode != "none" or options.legal_hold


def _wanted(options: WriteOptions) -> list[str]:
    wanted = [f"storage class {options.storage_class}"] * (options.storage_class != "STANDARD")
    wanted += [f"sse {options.sse}"] * (options.sse != "none")
    wanted += lock_wanted(options)
    wanted += ["tags"] * bool(options.tags)
    return wanted


def _dropped(options: WriteOptions, found: Written) -> Iterator[str]:
    """Yield dropped storage class, encryption and tags."""
    if options.storage_class not in ("STANDARD", found.storage_class):
        yield f"storage_class {options.storage_class}, reported is {found.storage_class}"
    if options.sse not in ("none", found.sse):
        yield f"sse {options.sse}, reported is {found.sse or 'none'}"
    elif _other_key(options.kms_key_id, found.kms_key_id):
        yield f"kms_key_id {options.kms_key_id}, reported is {found.kms_key_id}"
    if not isinstance(found.tags, NotTold) and (missing := [key for key in options.tags if key not in found.tags]):
        yield f"tags {', '.join(missing)}"


def _lock_dropped(options: WriteOptions, found: Written, now: datetime) -> Iterator[str]:
    if options.legal_hold and found.legal_hold is False:
        yield "legal_hold"
    if options.lock_mode == "none" or isinstance(found.lock_mode, NotTold):
        return
    if found.lock_mode != options.lock_mode:
        yield f"object_lock {options.lock_mode}, reported is {found.lock_mode or 'none'}"
    elif found.locked_until and found.locked_until < now + timedelta(days=options.lock_days - 1):
        yield f"object_lock for {options.lock_days} days, locked only until {found.locked_until:%Y-%m-%d}"


def _answers(found: Written) -> Iterator[tuple[str, object]]:
    yield from (("tags", found.tags), ("object_lock", found.lock_mode), ("legal_hold", found.legal_hold))


def _other_key(asked: str | None, shown: str | None) -> bool:
    """Whether another KMS key is reported: the key ID is the end of the ARN; an alias's key is not known."""
    return bool(asked and shown and "alias/" not in asked and asked.rpartition("/")[2] != shown.rpartition("/")[2])
