"""What can go wrong, grouped by what to do next.

    RecvaultError
    ├── ConfigError             fix the configuration                             exit 78
    │   └── EndpointRefused     the provider has no such list: base_url, account  exit 78
    ├── CredentialsRefused      fix the credentials or their permissions          exit 77
    │   └── StoreRefused        … those of the bucket
    ├── Unavailable             try again later: nothing is lost                  exit 75
    │   ├── Resting             the provider's Retry-After is not over: nothing was sent
    │   ├── StoreUnavailable    the bucket does not answer
    │   ├── EngineLost          a cluster's scheduler, or all its workers, are gone
    │   ├── LedgerLocked        another process holds the ledger
    │   ├── LedgerUnavailable   the ledger's disk is full
    │   └── ProtocolError       an answer that cannot be used: the scan is repeated
    │       └── NotWhole        an incomplete list: smaller parts may be readable
    ├── UnknownName             use an existing source or recording               exit 2
    ├── LedgerDamaged           rebuild the ledger from the bucket                exit 78
    ├── LedgerStands            a rebuild would replace a sound ledger            exit 2
    ├── Interrupted             a stop was requested                              exit 130, 143
    ├── WorkerLost              a worker process died: its jobs are done again
    └── about one recording: the pass goes on
        ├── NotFound            the provider answers 404 or 410
        ├── Denied              the provider answers 401 or 403 for it alone: the account's list is open exit 3
        ├── Refused             the provider answers 4xx: repeating it is useless
        ├── MediaExpired        a signed URL is refused: request a fresh one
        ├── MediaRejected       the body is not the recording
        ├── NotOpened           no private key decrypts it, or it is corrupt      exit 3
        ├── UnsafeAddress       a URL leads to a forbidden address
        ├── KeyConflict         the key has other bytes: nothing is overwritten
        │   └── TooLarge        … too many to be ours; they are not read
        └── KeyRefused          the bucket refuses this key, but accepts others   exit 3
            └── Cold            … until it is restored from an archive class

Every one pickles: what `__init__` takes goes to `super().__init__`.
"""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any, Self

from recvault.log.masking import mask


class Translation:
    """A context that turns a library's errors into ours.

    A class, because a generator's context costs four times as much, and a small recording passes many.
    """

    __slots__ = ()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and (ours := self.translated(error)) is not None:
            raise ours from error

    def translated(self, error: BaseException) -> Exception | None:
        """Return the error to raise instead of this one; None to let it pass."""
        raise NotImplementedError


class RecvaultError(Exception):
    """An error for the operator: what happened, to what, and what to do.

    Code that depends on an answer reads `status` and `code`, never the message.
    """

    exit_code = 1
    status: int | None = None
    """HTTP's status of the answer that is the cause, where there was one."""
    code: str = ""
    """The store's own name for the cause, such as `AccessDenied`, where it gave one."""

    def __init__(self, message: str, hint: str = "") -> None:
        message, hint = mask(message), mask(hint)  # here: messages are printed, logged, stored and sent in many places
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def answered(self, status: int | None, code: str = "") -> Self:
        """Set status and code, which are pickled too; return itself."""
        self.status, self.code = status, code
        return self

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(RecvaultError):
    """The configuration cannot be used; the message holds every problem, a line each."""

    exit_code = 78


class EndpointRefused(ConfigError):
    """The provider has no such list (400, 404 or 410)."""


class CredentialsRefused(RecvaultError):
    """The provider (401, 403) refuses the credentials."""

    exit_code = 77


class StoreRefused(CredentialsRefused):
    """The bucket refuses the credentials, or a right is missing."""


class Unavailable(RecvaultError):
    """A provider is unreachable or throttles. `retry_after` is in seconds, if given."""

    exit_code = 75

    def __init__(self, message: str, hint: str = "", retry_after: float | None = None, status: int | None = None):
        super().__init__(message, hint)
        self.args = (*self.args, retry_after, status)
        self.retry_after = retry_after
        self.status = status


class Resting(Unavailable):
    """The provider's Retry-After is longer than a request waits; nothing was sent."""


class StoreUnavailable(Unavailable):
    """The bucket is unreachable or throttles."""


class EngineLost(Unavailable):
    """The engine that ran the jobs of all workers is gone: they are due again, and nothing counts against them."""

    @classmethod
    def of(cls, error: BaseException) -> EngineLost:
        """Return what an engine's own failure means for each job that it has, or was to get."""
        if isinstance(error, EngineLost):
            return error
        if isinstance(error, RecvaultError):
            return cls(error.message, error.hint)
        return cls(f"the workers failed: {type(error).__name__}", "the log has its traceback; it will be tried again")


class LedgerLocked(Unavailable):
    """Another process holds the ledger."""


class LedgerUnavailable(Unavailable):
    """The ledger cannot be written now: its disk is full."""


class ProtocolError(Unavailable):
    """A provider's answer cannot be used: not JSON or XML, a page seen before, a next link to another host."""


class NotWhole(ProtocolError):
    """A list cannot be read completely, or has fewer rows than it announces; smaller parts may be readable."""


class UnknownName(RecvaultError):
    """A command named a source or recording that does not exist."""

    exit_code = 2


class LedgerDamaged(RecvaultError):
    """The ledger's file is not a sound SQLite database of ours. A restart does not help; the operator must act."""

    exit_code = 78


class LedgerStands(RecvaultError):
    """A new ledger was requested, but an undamaged one exists; it is not replaced."""

    exit_code = 2


class Interrupted(RecvaultError):
    """A stop was requested while waiting or streaming."""


class WorkerLost(RecvaultError):
    """The worker process of a job died. `begun`: the job may have started; `alone`: no other job ran in it."""

    def __init__(self, message: str, hint: str = "", *, begun: bool = True, alone: bool = False) -> None:
        super().__init__(message, hint)
        self.begun, self.alone = begun, alone

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), begun=self.begun, alone=self.alone), (self.message, self.hint)


class WorkerBug(Exception):
    """A bug in a worker process: its class, and its traceback as text, because the exception may not be picklable."""

    def __init__(self, kind: str, trace: str) -> None:
        super().__init__(kind, trace)
        self.kind, self.trace = kind, trace

    def __str__(self) -> str:
        return f"{self.kind} in a worker process:\n{self.trace}"


class NotFound(RecvaultError):
    """The provider answers 404 or 410 for one recording or its media."""


class Denied(RecvaultError):
    """The provider answers 401 or 403 for one recording, its media or a list by name; the account's list is open."""

    exit_code = 3


class Refused(RecvaultError):
    """The provider answers a 4xx that repeating the same request will not change."""

    def __init__(self, message: str, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint)
        self.args = (*self.args, status)
        self.status = status


class MediaExpired(RecvaultError):
    """A media host refuses a signed URL: request a fresh one from the provider."""


class MediaRejected(RecvaultError):
    """The body is not the recording. `reason` is a dotted constant, e.g. `media.truncated`."""

    def __init__(self, message: str, hint: str = "", reason: str = "media.rejected") -> None:
        super().__init__(message, hint)
        self.args = (*self.args, reason)
        self.reason = reason


class NotOpened(RecvaultError):
    """No private key decrypts it, or it is corrupt. `worth_again`: another download might succeed."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "", worth_again: bool = False) -> None:
        super().__init__(message, hint)
        self.args = (*self.args, worth_again)
        self.worth_again = worth_again


class NotAsArchived(NotOpened):
    """An object's bytes are not those that were archived: it is missing, or its size or SHA-256 is another."""


class UnsafeAddress(RecvaultError):
    """A redirect or media URL leads to plain http or to a private address that is not listed in `media_hosts`."""


class KeyConflict(RecvaultError):
    """The key contains other bytes; nothing was overwritten."""


class TooLarge(KeyConflict):
    """The object is larger than recvault writes under such a key; it was not read."""


class KeyRefused(RecvaultError):
    """The bucket refuses a request for this key but accepts others."""

    exit_code = 3


class Cold(KeyRefused):
    """The object is in an archive class: only a HEAD is possible."""
