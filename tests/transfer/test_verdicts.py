"""The table from errors to verdicts."""

from __future__ import annotations

import copy
import pickle

import pytest

from lines import a_recording
from recvault import errors
from recvault.models import BY_CONFIGURATION, Doubt, Job, Verdict
from recvault.transfer.spool import SpoolFull, SpoolTooSmall
from recvault.transfer.verdicts import VERDICTS, failure_of

JOB = Job(source="main", recording=a_recording(), attempt=1, maybe_archived=False)
TABLE: dict[errors.RecvaultError, tuple[Verdict, str, bool]] = {
    errors.Interrupted("x"): (Verdict.RETRY, "drained", False),
    errors.CredentialsRefused("x"): (Verdict.RETRY, "credentials.refused", False),
    errors.Denied("x"): (Verdict.RETRY, "provider.denied", True),
    errors.StoreRefused("x"): (Verdict.RETRY, "store.refused", False),
    errors.StoreUnavailable("x"): (Verdict.RETRY, "store.unavailable", False),
    SpoolTooSmall("x"): (Verdict.RETRY, "spool.too_small", True),
    SpoolFull("x"): (Verdict.RETRY, "spool.full", False),
    errors.ConfigError("x"): (Verdict.RETRY, "config.wrong", False),
    errors.KeyConflict("x"): (Verdict.FATAL, "store.key_conflict", True),
    errors.UnsafeAddress("x"): (Verdict.RETRY, "media.unsafe_address", True),
    errors.MediaExpired("x"): (Verdict.RETRY, "media.expired", True),
    errors.MediaRejected("x", reason="media.magic"): (Verdict.RETRY, "media.magic", True),
    errors.NotFound("x"): (Verdict.RETRY, "media.not_found", True),
    errors.Refused("x"): (Verdict.RETRY, "provider.refused", True),
    errors.Unavailable("x"): (Verdict.RETRY, "provider.unavailable", True),
    errors.ProtocolError("x"): (Verdict.RETRY, "provider.unavailable", True),
    errors.RecvaultError("x"): (Verdict.RETRY, "unexpected", True),
}


@pytest.mark.parametrize("error", TABLE, ids=lambda error: type(error).__name__)
def test_each_error_has_its_verdict(error: errors.RecvaultError) -> None:
    """Only a recording's own errors are counted, not those of the store, the disk or ourselves."""
    failure = failure_of(JOB, error)
    assert (failure.verdict, failure.reason, failure.counted) == TABLE[error]


def test_the_patience_that_was_asked_for_is_kept() -> None:
    """A provider's Retry-After reaches the ledger."""
    assert failure_of(JOB, errors.Unavailable("x", retry_after=90.0)).retry_after == 90.0


@pytest.mark.parametrize("error", TABLE, ids=lambda error: type(error).__name__)
def test_what_was_answered_travels_with_the_error(error: errors.RecvaultError) -> None:
    """Status and code reach another process as data, so that no message must be parsed."""
    there = pickle.loads(pickle.dumps(copy.copy(error).answered(403, "AccessDenied")))
    assert (type(there), str(there), there.status, there.code) == (type(error), str(error), 403, "AccessDenied")


@pytest.mark.parametrize(
    ("error", "doubt"),
    [
        (errors.Unavailable("no answer"), Doubt.AWAY),
        (errors.Unavailable("overloaded", status=503), Doubt.AWAY),
        (errors.Unavailable("broken", status=500), Doubt.ANSWERED),
        (errors.ProtocolError("no row"), Doubt.ANSWERED),
        (errors.Denied("403"), Doubt.ANSWERED),
        (errors.MediaExpired("403 elsewhere"), Doubt.ANSWERED),
        (errors.Refused("400"), Doubt.ANSWERED),
        (errors.UnsafeAddress("plain http"), Doubt.ANSWERED),
        (errors.MediaRejected("a page", reason="media.document"), Doubt.ANSWERED),
        (errors.MediaRejected("noise", reason="media.magic"), None),
        (SpoolTooSmall("x"), None),
        (errors.CredentialsRefused("x"), None),
        (errors.StoreUnavailable("x"), None),
    ],
)
def test_what_others_may_share_is_in_doubt(error: errors.RecvaultError, doubt: Doubt | None) -> None:
    """Errors of the service are in doubt; errors of bytes or bucket are not."""
    assert failure_of(JOB, error).doubt is doubt


def test_what_only_the_operator_can_change_is_in_the_table() -> None:
    """Each reason by configuration is one that a transfer can fail for, and is tried again."""
    retried = {reason for verdict, reason, _ in VERDICTS.values() if verdict is Verdict.RETRY}
    assert set(BY_CONFIGURATION) - retried == set()
