"""What `check` asks a bucket: its region, Object Lock and versioning, and how an object was stored.

Only asked by an operator's command, never while archiving. If the store does not support a question, or the credentials
do not permit it, the answer is `NotTold`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from recvault.errors import ConfigError
from recvault.store.s3.answers import listed
from recvault.store.s3.botocore_errors import botocore_errors, code_of, status_of

if TYPE_CHECKING:
    from recvault.store.s3.s3_store import S3Store

T = TypeVar("T")

_ELSEWHERE = frozenset(
    {"301", "302", "307", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)
_NO_LOCK = frozenset({"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"})


@dataclass(frozen=True, slots=True)
class NotTold:
    """No answer to a question, and why."""

    why: str
    refused: bool = False  # a permission is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A bucket's answer: the region that it names, and whether it redirects there."""

    region: str | None = None
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketLock:
    """The bucket's Object Lock. `mode` is its default retention; None if it has none."""

    enabled: bool = False
    mode: str | None = None
    length: str = ""  # "30 days", "7 years"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The settings an object was stored with, as a HEAD reports them."""

    storage_class: str = "STANDARD"
    sse: str | None = None
    kms_key_id: str | None = None
    lock_mode: str | NotTold | None = None
    locked_until: datetime | None = None
    legal_hold: bool | NotTold = False
    tags: Mapping[str, str] | NotTold = field(default_factory=dict)


class BucketQuestions:
    """Asks a store's bucket, using the store's client."""

    def __init__(self, store: S3Store) -> None:
        self._client = store.client
        self._bucket = store.bucket

    def reach(self, prefix: str) -> Reached:
        """List one key: tests credentials, bucket and permission to list. Returns the region if the store reports it.

        boto3 follows redirects to the bucket's region by itself, so the first response is inspected here.
        """
        answers: list[Reached] = []
        with self._noting(answers), botocore_errors(f"s3://{self._bucket}"):
            try:
                page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
                listed(page, prefix, f"s3://{self._bucket}")
            except ClientError:
                if answers and answers[-1].elsewhere and answers[-1].region:
                    raise self.other_region(answers[-1].region) from None
                raise
        return answers[0] if answers else Reached()

    def other_region(self, region: str) -> ConfigError:
        """Return the error for a bucket that reports another region."""
        return ConfigError(
            f"the bucket {self._bucket} is in another region, {region}", f'set archive.region = "{region}"'
        )

    def lock(self) -> BucketLock | NotTold:
        """Whether the bucket has Object Lock, and its default retention."""

        def ask() -> BucketLock:
            try:
                found = self._client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                if code_of(error) in _NO_LOCK:
                    return BucketLock()
                raise
            return _lock(found["ObjectLockConfiguration"])

        return self._told(ask, "s3:GetBucketObjectLockConfiguration")

    def versioning(self) -> str | NotTold:
        """`Enabled`, `Suspended` or `Off`."""

        def ask() -> str:
            return str(self._client.get_bucket_versioning(Bucket=self._bucket).get("Status") or "Off")

        return self._told(ask, "s3:GetBucketVersioning")

    def written(self, key: str, *, tags: bool, lock: bool, hold: bool) -> Written | NotTold:
        """Return an object's settings. Tags, lock and hold are asked for if needed: a HEAD may omit them."""

        def ask() -> Written:
            where = {"Bucket": self._bucket, "Key": key}
            found = self._client.head_object(**where)
            mode, held = found.get("ObjectLockMode"), found.get("ObjectLockLegalHoldStatus") == "ON"
            return Written(
                storage_class=found.get("StorageClass") or "STANDARD",
                sse=found.get("ServerSideEncryption"),
                kms_key_id=found.get("SSEKMSKeyId"),
                lock_mode=self._retention(where) if lock and not mode else mode,
                locked_until=found.get("ObjectLockRetainUntilDate"),
                legal_hold=self._hold(where) if hold and not held else held,
                tags=self._tags(where) if tags else {},
            )

        return self._told(ask, "s3:GetObject")

    def _retention(self, where: Mapping[str, str]) -> str | NotTold | None:
        """Return the lock's mode. A HEAD omits it if the credentials may not read it."""

        def ask() -> str | None:
            mode: str | None = self._client.get_object_retention(**where)["Retention"]["Mode"]
            return mode

        answer = self._told(ask, "s3:GetObjectRetention")
        return None if isinstance(answer, NotTold) and not answer.refused else answer

    def _hold(self, where: Mapping[str, str]) -> bool | NotTold:
        def ask() -> bool:
            return bool(self._client.get_object_legal_hold(**where)["LegalHold"]["Status"] == "ON")

        answer = self._told(ask, "s3:GetObjectLegalHold")
        return False if isinstance(answer, NotTold) and not answer.refused else answer

    def _tags(self, where: Mapping[str, str]) -> Mapping[str, str] | NotTold:
        def ask() -> Mapping[str, str]:
            found = self._client.get_object_tagging(**where)
            return {each["Key"]: each["Value"] for each in found.get("TagSet", ())}

        return self._told(ask, "s3:GetObjectTagging")

    def _told(self, ask: Callable[[], T], right: str) -> T | NotTold:
        """Return the answer, or why there is none. Raises only if the store cannot be reached."""
        with botocore_errors(f"s3://{self._bucket}"):
            try:
                return ask()
            except ClientError as error:
                if status_of(error) == 403:
                    return NotTold(f"these credentials lack {right}", refused=True)
                return NotTold("this store does not report it")  # 501, 405, 400, 404; 500 from rclone and Swift
            except (KeyError, ResponseParserError):  # 200 without an answer to this question
                return NotTold("this store does not report it")

    @contextmanager
    def _noting(self, answers: list[Reached]) -> Iterator[None]:
        """Record every response to a list request, including redirects."""

        def note(response: tuple[Any, Mapping[str, Any]] | None, **_: Any) -> None:
            if response is not None:
                error = response[1].get("Error", {})
                region = response[0].headers.get("x-amz-bucket-region") or error.get("Region") or None
                answers.append(Reached(region=region, elsewhere=error.get("Code") in _ELSEWHERE))

        event = "needs-retry.s3.ListObjectsV2"
        self._client.meta.events.register_first(event, note)
        try:
            yield
        finally:
            self._client.meta.events.unregister(event, note)


def _lock(found: Mapping[str, Any]) -> BucketLock:
    """KeyError if ObjectLockEnabled is missing: some stores answer any such query with a key listing."""
    default = found.get("Rule", {}).get("DefaultRetention", {})
    days, years = default.get("Days"), default.get("Years")
    length = f"{days} days" if days else f"{years} years" if years else ""
    return BucketLock(enabled=found["ObjectLockEnabled"] == "Enabled", mode=default.get("Mode") or None, length=length)
