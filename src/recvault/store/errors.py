"""botocore's errors as ours, each with what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from recvault.errors import ConfigError, RecvaultError, StoreRefused, StoreUnavailable

_CREDENTIALS = {
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_CONFIG = {
    "NoSuchBucket": "the bucket does not exist: create it, or mend archive.bucket",
    "PermanentRedirect": "the bucket is in another region: mend archive.region",
    "301": "the bucket is in another region: mend archive.region",
    "IllegalLocationConstraintException": "the bucket is in another region: mend archive.region",
    "InvalidStorageClass": "mend archive.storage_class",
    "ObjectLockConfigurationNotFoundError": "the bucket has no Object Lock: mend archive.object_lock",
    "KMS.NotFoundException": "mend archive.kms_key_id",
}
ABSENT = {"404", "NoSuchKey", "NotFound"}
EXISTS = {"412", "PreconditionFailed"}
RACED = {"409", "ConditionalRequestConflict"}


def code_of(error: ClientError) -> str:
    """The error code, or the HTTP status where a HEAD's empty body left none."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def botocore_errors(bucket: str, key: str) -> Iterator[None]:
    """Raise ours for botocore's. A key's absence and a failed condition are the caller's own to catch first."""
    try:
        yield
    except ClientError as error:
        raise _client_error(error, bucket, key) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StoreRefused(
            f"no credentials for bucket {bucket}: {error}", "set AWS_ACCESS_KEY_ID or any other source boto3 reads"
        ) from error
    except NoRegionError as error:
        raise ConfigError(f"no region for bucket {bucket}", "set archive.region") from error
    except BotoCoreError as error:
        raise StoreUnavailable(
            f"bucket {bucket} cannot be reached: {error}", "check the network and endpoint_url"
        ) from error


def _client_error(error: ClientError, bucket: str, key: str) -> RecvaultError:
    code, said = code_of(error), error.response.get("Error", {}).get("Message", "")
    text = f"bucket {bucket} answered {code} for {key}{f': {said}' if said else ''}"
    if code in _CREDENTIALS:
        return StoreRefused(text, "check the credentials and the bucket's policy: put, get and list are needed")
    if code in _CONFIG:
        return ConfigError(text, _CONFIG[code])
    return StoreUnavailable(text)
