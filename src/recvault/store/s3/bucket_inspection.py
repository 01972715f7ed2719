"""What `check` tests on a bucket: its region, Object Lock, and whether a put keeps the configured settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from recvault.errors import ConfigError, StoreRefused
from recvault.store.inspection import Notice, Question
from recvault.store.s3.botocore_errors import LACKS_A_RIGHT
from recvault.store.s3.bucket_questions import BucketLock, BucketQuestions, NotTold, Reached
from recvault.store.s3.kept_options import kept, lock_wanted
from recvault.store.s3.options import WriteOptions

if TYPE_CHECKING:
    from recvault.store.s3.s3_store import S3Store


class BucketInspection:
    """See Inspection."""

    lesser = LACKS_A_RIGHT

    def __init__(self, store: S3Store, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self._questions = BucketQuestions(store)
        self._lock: BucketLock | NotTold = BucketLock()

    def before(self, root: str) -> Iterator[Question]:
        """See Inspection.before."""
        reached: list[Reached] = []
        yield Question("list", lambda: self._list(root, reached), needed=True)
        for each in reached:
            if each.region not in (None, self._region):
                yield Question("region", lambda each=each: self._elsewhere(each))  # type: ignore[misc]
        self._lock = self._questions.lock()
        yield Question("Object Lock", self._locks)

    def after(self, key: str) -> Iterator[Question]:
        """See Inspection.after."""
        yield Question("versions", self._versions)
        options = self._store.options
        yield Question("settings applied", lambda: kept(options, self._questions, self._lock, key, self._clock()))

    def default_lock(self) -> str | None:
        """See Inspection.default_lock."""
        lock = self._questions.lock()
        return f"{lock.mode} for {lock.length}" if isinstance(lock, BucketLock) and lock.mode else None

    def explained(self, verb: str, refusal: StoreRefused) -> StoreRefused:
        """See Inspection.explained. For unknown or expired credentials the store's message is enough."""
        rights = {"list": ["s3:ListBucket"], "put": _put_rights(self._store.options), "get": ["s3:GetObject"]}
        if refusal.code not in LACKS_A_RIGHT:
            return refusal
        granted = StoreRefused(refusal.message, f"grant {', '.join(rights[verb])} to these credentials")
        return granted.answered(refusal.status, refusal.code)

    @property
    def _region(self) -> str:
        return str(self._store.client.meta.region_name)

    def _list(self, root: str, reached: list[Reached]) -> str:
        try:
            reached.append(self._questions.reach(root))
        except StoreRefused as refusal:
            raise self.explained("list", refusal) from refusal
        name, at, endpoint_url = self._store.where.partition(" at ")
        return f"{name} answers{at}{endpoint_url}"

    def _elsewhere(self, reached: Reached) -> Notice:
        if reached.elsewhere:
            raise self._questions.other_region(reached.region or "")
        return Notice(
            f"the store reports {reached.region}, but accepts requests for {self._region}",
            f'set archive.region = "{reached.region}"',
        )

    def _locks(self) -> str | Notice:
        """Compare the bucket's lock with the configured one. Whether a put keeps its lock is checked on the put."""
        found, wants = self._lock, lock_wanted(self._store.options)
        if isinstance(found, NotTold):
            if not wants:
                return f"unknown: {found.why}"
            hint = "check in the store itself whether it locks: some accept the setting and lock nothing"
            return Notice(f"it is unknown whether the bucket has it: {found.why}", hint)
        if not found.enabled and wants:
            raise ConfigError(
                f"object_lock requests {' and '.join(wants)}, but the bucket has no Object Lock",
                'enable Object Lock on the bucket, or set archive.object_lock = { mode = "none" }',
            )
        if not found.enabled:
            return "not enabled on the bucket, and not configured"
        if wants:
            return f"enabled on the bucket; each put requests {' and '.join(wants)}"
        if found.mode:
            return f"each object is locked by the bucket's default: {found.mode} for {found.length}"
        return Notice(
            "archived objects are not locked: the bucket has Object Lock but no default retention, and object_lock "
            "requests none",
            'set archive.object_lock = { mode = "GOVERNANCE", days = … }, or a default retention on the bucket',
        )

    def _versions(self) -> str:
        """Versions matter if two writers can collide: an overwritten object remains as an older version."""
        state = self._questions.versioning()
        if isinstance(state, NotTold):
            return f"unknown: {state.why}"
        said = {"Enabled": "kept", "Suspended": "suspended: new objects have none", "Off": "not kept"}.get(state, state)
        if state == "Enabled" or self._store.facts.conditional:
            return said
        return f"{said}: if two machines write at once, the later one overwrites"


def _put_rights(options: WriteOptions) -> list[str]:
    """Return the permissions that a put needs with the configured options."""
    rights = ["s3:PutObject"]
    rights += ["s3:PutObjectAcl"] * bool(options.acl)
    rights += ["s3:PutObjectTagging"] * bool(options.tags)
    rights += ["s3:PutObjectRetention"] * (options.lock_mode != "none")
    rights += ["s3:PutObjectLegalHold"] * options.legal_hold
    rights += ["kms:GenerateDataKey"] * (options.sse == "aws:kms")
    return rights
