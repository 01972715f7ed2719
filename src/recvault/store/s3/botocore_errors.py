"""Translate botocore's errors to ours, each with a hint."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from recvault.errors import ConfigError, RecvaultError, StoreRefused, StoreUnavailable, Translation
from recvault.store.s3.answers import not_the_stores
from recvault.transport import ExchangeFailed

_CREDENTIALS = {
    "401",
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
# By name, because classes of a later botocore cannot be imported; each name also covers its subclasses.
_NO_CREDENTIALS = frozenset(
    {
        "CredentialRetrievalError",
        "LoginError",
        "MetadataRetrievalError",
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "RefreshWithMFAUnsupportedError",
        "SSOError",
        "TokenRetrievalError",
        "UnknownCredentialError",
    }
)
_NO_ANSWER = frozenset(
    {
        "AwsChunkedWrapperError",
        "CapacityNotAvailableError",
        "ChecksumError",
        "ConnectionError",
        "FlexibleChecksumError",
        "HTTPClientError",
        "IncompleteReadError",
        "PaginationError",
        "UnseekableStreamError",
    }
)
# Their text is foreign: a library may quote a header, a program may print a secret, a service may repeat it.
_QUOTING = frozenset(
    {
        "ConnectionError",
        "CredentialRetrievalError",
        "HTTPClientError",
        "LoginAuthorizationCodeError",
        "LoginTokenLoadError",
        "MetadataRetrievalError",
        "ResponseStreamingError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
    }
)
_NETWORK = "check the network and endpoint_url"
_PROXY = "check the proxy in HTTP_PROXY or HTTPS_PROXY, its user and its password; NO_PROXY bypasses it"
_NO_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another credential source of boto3"
_HTML = "an HTML page, probably from a proxy or firewall in between"
_OTHER_REGION = "the bucket is in another region: correct archive.region or endpoint_url"
_UNTRUSTED = (
    "for a store with its own certificate authority, set AWS_CA_BUNDLE to a file with its certificate, or correct the "
    "path"
)
_NEW_KEYS = (
    "the keys are wrong, expired or replaced: new ones are read automatically from a credentials file, or from the "
    "environment after a restart"
)
_REFUSED_AS_MADE = (
    "the store does not support a setting: check storage_class, sse, object_lock, tags, acl and checksums in [archive]"
)
_CONFIG = {
    "301": _OTHER_REGION,
    "307": _OTHER_REGION,
    "AccessControlListNotSupported": "the bucket does not accept ACLs: remove archive.acl",
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
    "PermanentRedirect": _OTHER_REGION,
    "InvalidArgument": _REFUSED_AS_MADE,
    "InvalidRequest": _REFUSED_AS_MADE,
    "NotImplemented": _REFUSED_AS_MADE,
    "InvalidBucketName": "correct archive.bucket",
    "InvalidObjectName": "shorten archive.prefix or key_template: a key has at most 1,024 bytes",
    "InvalidStorageClass": "correct archive.storage_class",
    "InvalidTag": "correct archive.tags",
    "KMS.DisabledException": "correct archive.kms_key_id",
    "KMS.NotFoundException": "correct archive.kms_key_id",
    "KeyTooLongError": "shorten archive.prefix or key_template: a key has at most 1,024 bytes",
    "NoSuchBucket": "the bucket does not exist: create it, or correct archive.bucket",
    "ObjectLockConfigurationNotFoundError": "the bucket has no Object Lock: enable it, or change archive.object_lock",
}
_LATER = {
    "InvalidObjectState": "the object is in an archive class: restore it first",
    "RequestTimeTooSkewed": "correct this machine's clock",
}

_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_ID = 64
_LONGEST_SAID = 500

OF_THE_BUCKET = frozenset(
    {
        "301",
        "307",
        "401",
        "AccessControlListNotSupported",
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "ExpiredTokenException",
        "IllegalLocationConstraintException",
        "InvalidAccessKeyId",
        "InvalidBucketName",
        "InvalidStorageClass",
        "InvalidTag",
        "InvalidToken",
        "KMS.DisabledException",
        "KMS.NotFoundException",
        "NoSuchBucket",
        "ObjectLockConfigurationNotFoundError",
        "PermanentRedirect",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)  # about the bucket, the account or the write settings, whichever key was requested
COLD = frozenset({"InvalidObjectState"})
ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
ENDED = frozenset({"404", "NoSuchUpload", "NoSuchKey"})  # of a multipart upload; which one depends on the store
ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
LACKS_A_RIGHT = frozenset({"AccessDenied"})  # valid credentials without the permission
EXISTS = frozenset({"412", "PreconditionFailed"})
NOT_DONE = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405", "InvalidArgument", "InvalidRequest"})
RACED = frozenset({"409", "ConditionalRequestConflict"})
REPLACED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
)  # the credentials may have been rotated since they were read
OUT_OF_TIME = frozenset({"RequestExpired", "RequestTimeTooSkewed"})  # the signature's time
STALE = REPLACED | OUT_OF_TIME
THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
TRANSIENT = frozenset({"PriorRequestNotComplete", "RequestTimeout", "RequestTimeoutException"})
WRONG_SUM = frozenset({"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})


def code_of(error: ClientError) -> str:
    """Return the error code, or the HTTP status if the body is empty (HEAD) or not S3's."""
    return str(error.response.get("Error", {}).get("Code") or status_of(error) or "")


def status_of(error: ClientError) -> int:
    """Return the HTTP status."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def botocore_errors(where: str) -> Translation:
    """Translate botocore's errors to ours. Callers must catch a missing key and a failed condition first."""
    return BotocoreErrors(where)


class BotocoreErrors(Translation):
    """See botocore_errors."""

    __slots__ = ("_where",)

    def __init__(self, where: str) -> None:
        self._where = where

    def translated(self, error: BaseException) -> RecvaultError | None:
        where = self._where
        if isinstance(error, ClientError):
            return _client_error(error, where)
        if isinstance(error, ResponseParserError):
            return not_the_stores(where, "cannot be read")
        return _botocore_error(error, where) if isinstance(error, BotoCoreError) else None


def _not_reached(failed: ExchangeFailed, url: str, where: str) -> StoreUnavailable:
    """Use the transport's message: a URL may contain a signature."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    hints = {"certificate": _UNTRUSTED, "tls": _UNTRUSTED, "proxy": _PROXY}
    return StoreUnavailable(f"{where} cannot be reached: {host} {failed.words}", hints.get(failed.cause, _NETWORK))


def _botocore_error(error: BotoCoreError, where: str) -> RecvaultError:
    failed = error.kwargs.get("error")
    if isinstance(failed, ExchangeFailed):
        return _not_reached(failed, str(error.kwargs.get("endpoint_url", "")), where)
    kinds, said = {kind.__name__ for kind in type(error).__mro__}, _said(error)
    if kinds & _NO_CREDENTIALS:
        return StoreRefused(f"no credentials for {where}: {said}", _NO_KEYS)
    if "SSLError" in kinds:
        return StoreUnavailable(f"{where} cannot be reached: {said}", _UNTRUSTED)
    if kinds & _NO_ANSWER:
        return StoreUnavailable(f"{where} cannot be reached: {said}", _NETWORK)
    if "NoRegionError" in kinds:
        return ConfigError(f"no region for {where}", "set archive.region")
    return ConfigError(
        f"invalid request for {where}: {said}",
        "check [archive] in the configuration, and the AWS settings (AWS_…, ~/.aws/config)",
    )


def _said(error: BotoCoreError) -> str:
    """Return botocore's message, without text that it only quotes."""
    kind = type(error).__name__
    if kind not in _QUOTING:
        return str(error)
    cause, provider = error.kwargs.get("error"), error.kwargs.get("provider")
    if cause is not None:
        return f"{kind}: {type(cause).__name__}"
    return f"{kind}: {provider}" if provider else kind


def _request_mark(error: ClientError) -> str:
    """Return the store's request ID, which its support asks for; empty if it sent none."""
    said = str(error.response.get("ResponseMetadata", {}).get("RequestId") or "")
    kept = _NOT_OF_AN_ID.sub("", said)[:_LONGEST_ID]
    return f" [request {kept}]" if kept else ""


def refusal(error: ClientError, where: str) -> str:
    """Describe the store's error response."""
    said = str(error.response.get("Error", {}).get("Message") or "")[:_LONGEST_SAID]
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if code_of(error) == str(status_of(error)) and str(headers.get("content-type", "")).startswith("text/html"):
        said = _HTML
    return f"the store answered {code_of(error)} for {where}{f': {said}' if said else ''}{_request_mark(error)}"


def _client_error(error: ClientError, where: str) -> RecvaultError:
    code = code_of(error)
    return _kind(refusal(error, where), code, status_of(error)).answered(status_of(error) or None, code)


def _kind(text: str, code: str, status: int) -> RecvaultError:
    if code in _CONFIG:
        return ConfigError(text, _CONFIG[code])
    if code in _LATER:
        return StoreUnavailable(text, _LATER[code])
    if code in REPLACED:
        return StoreRefused(text, _NEW_KEYS)
    if code in _CREDENTIALS or status in (401, 403):
        return StoreRefused(text, "check the credentials and the bucket's policy: they must allow put, get and list")
    return StoreUnavailable(text)
