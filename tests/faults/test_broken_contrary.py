"""recvault broken on purpose: some contrary history detects each break, or they prove nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from faults.contrary import drawn, fault
from recvault.discovery.identity import Identity
from recvault.http.circuit import Circuit
from recvault.store.s3 import answers
from recvault.store.s3.object_writer import Writer

pytestmark = pytest.mark.long

MOST = 6  # histories, one of which must detect it


def any_answer_counts() -> Any:
    """Any answer to a put counts as success, without checking key or content."""
    return _both(
        mock.patch.object(answers, "stored", lambda answer, where: ""),
        mock.patch.object(Writer, "read_back", lambda self, put: None),
    )


@contextlib.contextmanager
def _both(*patches: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def one_refusal_refuses_the_account() -> Any:
    """Any refusal opens the circuit, without testing the account's list."""
    return mock.patch.object(Circuit, "is_listed", lambda self: False)


def nothing_is_taken_over() -> Any:
    """Recordings under a source's earlier name stay there."""
    return mock.patch.object(Identity, "__call__", lambda self, source, accounts: None)


VOICE = ("voice",)
# The first seed: chosen for a quick find; if histories are drawn differently one day, it takes longer.
BREAKS: tuple[tuple[Callable[[], Any], int], ...] = (
    (any_answer_counts, 9),
    (one_refusal_refuses_the_account, 39),
    (nothing_is_taken_over, 4),
)


@pytest.mark.parametrize(("broken", "first"), BREAKS, ids=[broken.__name__ for broken, _ in BREAKS])
def test_some_contrary_history_finds_every_break(broken: Callable[[], Any], first: int) -> None:
    """Every break is detected by one of a few histories."""
    with broken():
        assert any(fault(drawn(VOICE, seed)) for seed in range(first, first + MOST))
