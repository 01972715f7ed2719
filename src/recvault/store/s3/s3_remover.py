"""Versions of a bucket's objects: listed, held and deleted. Needs s3:ListBucketVersions and s3:DeleteObjectVersion."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from recvault.errors import KeyRefused
from recvault.store.removal import Lock, StoredVersion
from recvault.store.s3.botocore_errors import ABSENT, NOT_DONE, botocore_errors, code_of

if TYPE_CHECKING:
    from recvault.store.s3.s3_store import S3Store

_REFUSED = frozenset({"403", "AccessDenied", "ObjectLocked", "InvalidRequest"})
_NO_LOCK = NOT_DONE | {"InvalidBucketState", "ObjectLockConfigurationNotFoundError"}
_GONE = ABSENT | {"NoSuchVersion"}


class S3Remover:
    """See store.Remover."""

    def __init__(self, store: S3Store) -> None:
        self._client, self._bucket = store.client, store.bucket
        self._has_versions = True

    def versions(self, prefix: str) -> Iterator[StoredVersion]:
        """See Remover. A store that has no versions tells its objects."""
        with botocore_errors(f"s3://{self._bucket}/{prefix}"):
            if self._has_versions:
                try:
                    yield from self._versions(prefix)
                except ClientError as error:
                    if code_of(error) not in NOT_DONE:
                        raise
                    self._has_versions = False
                else:
                    return
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for each in page.get("Contents", ()):
                    yield StoredVersion(key=each["Key"], version=None, bytes=each["Size"])

    def _versions(self, prefix: str) -> Iterator[StoredVersion]:
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            found = [(each, False) for each in page.get("Versions", ())]
            found += [(each, True) for each in page.get("DeleteMarkers", ())]
            for each, is_marker in sorted(found, key=lambda pair: pair[0]["Key"]):
                yield StoredVersion(
                    key=each["Key"],
                    version=each["VersionId"],
                    bytes=each.get("Size", 0),
                    is_marker=is_marker,
                    is_latest=each["IsLatest"],
                )

    def lock(self, version: StoredVersion, now: datetime) -> Lock | None:
        """See Remover. Needs s3:GetObjectRetention and s3:GetObjectLegalHold to be told."""
        if version.is_marker:
            return None
        with botocore_errors(f"s3://{self._bucket}/{version.key}"):
            try:
                found = self._client.head_object(**self._named(version))
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
        if found.get("ObjectLockLegalHoldStatus") == "ON":
            return Lock(why="legal hold")
        until = found.get("ObjectLockRetainUntilDate")
        if found.get("ObjectLockMode") and until is not None and until > now:
            return Lock(why=f"{found['ObjectLockMode']} retention", until=until)
        return None

    def hold(self, version: StoredVersion, *, on: bool) -> bool:
        """See Remover."""
        if version.is_marker:
            return True
        with botocore_errors(f"s3://{self._bucket}/{version.key}"):
            try:
                status = {"Status": "ON" if on else "OFF"}
                self._client.put_object_legal_hold(**self._named(version), LegalHold=status)
            except ClientError as error:
                if code_of(error) not in _NO_LOCK | _GONE:
                    raise
                return code_of(error) in _GONE
        return True

    def delete(self, version: StoredVersion) -> None:
        """See Remover."""
        with botocore_errors(f"s3://{self._bucket}/{version.key}"):
            try:
                self._client.delete_object(**self._named(version))
            except ClientError as error:
                if code_of(error) in _GONE:
                    return
                if code_of(error) in _REFUSED:
                    raise KeyRefused(
                        f"s3://{self._bucket}/{version.key} cannot be deleted: {code_of(error)}",
                        "it is locked, or the credentials lack s3:DeleteObjectVersion",
                    ) from error
                raise

    def _named(self, version: StoredVersion) -> dict[str, Any]:
        named = {"Bucket": self._bucket, "Key": version.key}
        return named | ({"VersionId": version.version} if version.version is not None else {})
