"""What can go wrong, grouped by what to do next.

    RecvaultError
    ├── ConfigError             mend the configuration                            exit 78
    │   └── EndpointRefused     the provider has no such list: base_url, account  exit 78
    ├── CredentialsRefused      mend the credentials or their rights              exit 77
    │   └── StoreRefused        … those of the bucket
    ├── Unavailable             try again later: nothing is lost                  exit 75
    │   ├── Resting             the provider's Retry-After is not over: nothing was sent
    │   ├── StoreUnavailable    the bucket does not answer
    │   ├── LedgerLocked        another process holds the ledger
    │   ├── LedgerUnavailable   the ledger's disk is full
    │   └── ProtocolError       an answer that cannot be used: the scan is repeated
    │       └── NotWhole        a list that cannot be read to its end: less of it at once may be
    ├── UnknownName             ask for a source or recording that there is       exit 2
    ├── LedgerDamaged           rebuild the ledger from the bucket                exit 78
    ├── LedgerStands            a rebuild would take the place of a sound ledger  exit 2
    ├── Interrupted             asked to stop                                     exit 130, 143
    ├── WorkerLost              a worker process died: its jobs are done again
    └── about one recording: the pass goes on
        ├── NotFound            the provider answers 404 or 410
        ├── Denied              the provider answers 401 or 403 for it alone: the account's list is open  exit 3
        ├── Refused             the provider answers 4xx: asking again alike is no use
        ├── MediaExpired        a signed URL is refused: ask for a fresh one
        ├── MediaRejected       what came is not the recording
        ├── NotOpened           no private key opens what is encrypted, or its seal is broken   exit 3
        ├── UnsafeAddress       a URL leads where no media may come from
        ├── KeyConflict         the key holds other bytes: nothing is overwritten
        │   └── TooLarge        … so many of them that they are none of ours, and are not read
        └── KeyRefused          the bucket refuses this key, and takes others                       exit 3
            └── Cold            … until it is restored from an archive class

Every one pickles: what `__init__` takes goes to `super().__init__`.
"""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any, Self

from recvault.log.masking import mask


class Translation:
    """A context in which the errors of a library become ours.

    A class, because a context that a generator makes costs four times as much, and a small recording goes through many.
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
        """What to raise in place of this error; None: it passes as it is."""
        raise NotImplementedError


class RecvaultError(Exception):
    """An error for the operator: what happened, to what, and what to do.

    Code asks `status` and `code` where it has to know what was answered, never the words.
    """

    exit_code = 1
    status: int | None = None
    """HTTP's status of the answer that is the cause, where there was one."""
    code: str = ""
    """The store's own name for the cause, such as `AccessDenied`, where it gave one."""

    def __init__(self, message: str, hint: str = "") -> None:
        message, hint = mask(message), mask(hint)  # here, for it is printed, logged, kept and sent in many places
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def answered(self, status: int | None, code: str = "") -> Self:
        """Itself, with what was answered; both are pickled with it."""
        self.status, self.code = status, code
        return self

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(RecvaultError):
    """The configuration cannot be used; the message holds every problem, a line each."""

    exit_code = 78


class EndpointRefused(ConfigError):
    """The provider answers that there is no such list (400, 404 or 410)."""


class CredentialsRefused(RecvaultError):
    """The provider (401, 403) refuses the credentials."""

    exit_code = 77


class StoreRefused(CredentialsRefused):
    """The bucket refuses the credentials, or a right is missing."""


class Unavailable(RecvaultError):
    """A provider cannot be reached or asks for patience. `retry_after` is in seconds, where it was said."""

    exit_code = 75

    def __init__(self, message: str, hint: str = "", retry_after: float | None = None, status: int | None = None):
        super().__init__(message, hint)
        self.args = (*self.args, retry_after, status)
        self.retry_after = retry_after
        self.status = status


class Resting(Unavailable):
    """The provider asked to be left alone for longer than a request waits; nothing was sent."""


class StoreUnavailable(Unavailable):
    """The bucket cannot be reached or asks for patience."""


class LedgerLocked(Unavailable):
    """Another process holds the ledger."""


class LedgerUnavailable(Unavailable):
    """The ledger cannot be written now: its disk is full."""


class ProtocolError(Unavailable):
    """A provider's answer cannot be used: not JSON or XML, a page seen before, a next link to another host."""


class NotWhole(ProtocolError):
    """A list cannot be read to its end, or shows less than it tells of: shorter ones may be whole."""


class UnknownName(RecvaultError):
    """A command was asked about a source or a recording that is not there."""

    exit_code = 2


class LedgerDamaged(RecvaultError):
    """The ledger's file is not a sound SQLite database of ours. To start again mends nothing: a hand is needed."""

    exit_code = 78


class LedgerStands(RecvaultError):
    """A new ledger was asked for where one stands that is not known to be damaged: nothing takes its place."""

    exit_code = 2


class Interrupted(RecvaultError):
    """A stop was asked for while waiting or streaming."""


class WorkerLost(RecvaultError):
    """The worker process that had a job is no more. `begun`: the job may have; `alone`: no other was with it."""

    def __init__(self, message: str, hint: str = "", *, begun: bool = True, alone: bool = False) -> None:
        super().__init__(message, hint)
        self.begun, self.alone = begun, alone

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), begun=self.begun, alone=self.alone), (self.message, self.hint)


class WorkerBug(Exception):
    """A bug that a worker process met: its class, and its traceback as text, because it may not travel itself."""

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
    """The provider answers a 4xx that asking again alike will not change."""

    def __init__(self, message: str, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint)
        self.args = (*self.args, status)
        self.status = status


class MediaExpired(RecvaultError):
    """A media host refuses a signed URL: ask the provider for a fresh one."""


class MediaRejected(RecvaultError):
    """What came is not the recording. `reason` is a dotted constant, e.g. `media.truncated`."""

    def __init__(self, message: str, hint: str = "", reason: str = "media.rejected") -> None:
        super().__init__(message, hint)
        self.args = (*self.args, reason)
        self.reason = reason


class NotOpened(RecvaultError):
    """No private key opens what is encrypted, or its seal is broken. `worth_again`: other bytes might open."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "", worth_again: bool = False) -> None:
        super().__init__(message, hint)
        self.args = (*self.args, worth_again)
        self.worth_again = worth_again


class UnsafeAddress(RecvaultError):
    """A redirect or media URL leads to plain http or to a private address that is not listed in `media_hosts`."""


class KeyConflict(RecvaultError):
    """The key holds other bytes than the ones at hand; nothing was overwritten."""


class TooLarge(KeyConflict):
    """The key holds an object that is larger than any that recvault writes under such a key; it was not read."""


class KeyRefused(RecvaultError):
    """The bucket refuses a request for this key, and takes others: no trouble of the bucket."""

    exit_code = 3


class Cold(KeyRefused):
    """The object is in an archive class: only what a HEAD says of it can be had."""
