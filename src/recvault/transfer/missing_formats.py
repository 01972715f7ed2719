"""Formats of a recording that fail while others arrive: which to wait for, and which to give up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recvault.errors import RecvaultError
from recvault.models import Doubt, Failure, MissingFormat, Verdict
from recvault.transfer.fetch import Line
from recvault.transfer.verdicts import Settled, failure_of

if TYPE_CHECKING:
    from recvault.transfer.attempt import Attempt


class Lacking:
    """Wanted formats of one recording that could not be fetched."""

    def __init__(self, attempt: Attempt, line: Line, wanted: Sequence[str]) -> None:
        self._attempt, self._line, self._wanted = attempt, line, wanted
        self.failures: list[tuple[RecvaultError | Settled, Failure]] = []
        self.formats: tuple[MissingFormat, ...] = ()

    def add(self, media_format: str, error: RecvaultError | Settled) -> None:
        """Note a format that failed. Raise its error instead if other formats cannot change the verdict."""
        failed = failure_of(self._attempt.job, error)
        # If the service may be the cause, the other formats show it: they are requested first.
        if len(self._wanted) == 1 or (failed.doubt is None and not self._is_given_up(failed)):
            raise error
        self.failures.append((error, failed))
        self.formats += (MissingFormat(media_format=media_format, reason=failed.reason),)

    def settle(self, *, some_came: bool) -> None:
        """Raise the first failure of a format that may still come, or any if nothing came."""
        still_open = [
            error
            for (error, failed), lacking in zip(self.failures, self.formats, strict=True)
            if not (self._is_lost(lacking) if _is_away(failed) else self._is_given_up(failed))
        ]
        if still_open:
            raise still_open[0]
        if not some_came:
            raise self.failures[0][0]

    def _is_lost(self, lacking: MissingFormat) -> bool:
        """Whether a format has been unavailable for so long, and so often, while others came, that it is given up."""
        if not self._attempt.is_served:
            return False
        times, since = self._attempt.looking.away(lacking.media_format)
        return times >= self._line.max_attempts and since >= self._line.give_up_after

    def _is_given_up(self, failed: Failure) -> bool:
        """Whether this failure would end the retries: the recording would be dead, and its other formats
        uncommitted."""
        job = self._attempt.job
        if failed.verdict is Verdict.RETRY:
            return not _is_away(failed) and failed.counted and job.faults + 1 >= self._line.max_attempts
        if failed.verdict is Verdict.NOT_READY and job.watched_since is not None:
            return self._attempt.parts.clock() - job.watched_since >= self._line.give_up_after
        return False


def _is_away(failed: Failure) -> bool:
    """Whether it is probably no recording's fault, so does not count."""
    return failed.doubt is Doubt.AWAY
