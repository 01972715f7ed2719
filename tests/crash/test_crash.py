"""The enumerated crash test: before and after every effect of a pass, a crash and a transient error.

A clean pass counts the effects. Then each is struck once: the invariants hold at once, and after further passes the
bucket is that of a clean run. No sleeps, no randomness; the test's id names the step.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from crash.effects import NOW, Effects, Fault, World
from crash.invariants import check_at_once, check_at_the_end, comparable
from recvault.providers import provider_class
from recvault.simulator import Simulator

SIDES, KINDS = ("before", "after"), ("crash", "error")


PROVIDERS = ("twilio", "telnyx")  # permanent media URLs, and signed ones from a refresh


@contextmanager
def world(directory: Path, provider: str = "twilio") -> Iterator[World]:
    """Make a world with three recordings on two pages."""
    with Simulator(seed=3) as simulator, mock.patch.object(provider_class(provider), "page_size", 2):
        simulator.set_now(NOW)
        account = simulator.add_account(provider)
        api = "voice" if provider == "twilio" else provider
        simulator.populate(account, api, 3, NOW - timedelta(days=2), timedelta(hours=1), durations=(0.1, 0.2))
        yield World(directory, simulator, account, provider)


@cache
def clean(provider: str) -> tuple[list[str], dict[str, Any]]:
    """Return the effects of a pass without faults, in order, and its bucket."""
    with tempfile.TemporaryDirectory() as directory, world(Path(directory), provider) as made:
        effects = Effects()
        report = made.run(effects)
        assert report is not None
        assert report.exit_code == 0
        return effects.seen, comparable(made)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault" in metafunc.fixturenames:
        steps = [
            (provider, Fault(*each))
            for provider in PROVIDERS
            for each in itertools.product(clean(provider)[0], SIDES, KINDS)
        ]
        ids = [f"{provider}: {fault.kind} {fault.side} {fault.effect}" for provider, fault in steps]
        metafunc.parametrize(("provider", "fault"), steps, ids=ids)


def test_the_effects_of_a_pass_are_all_counted() -> None:
    """A clean pass has exactly the effects of the architecture, in its order."""
    kinds = [name.partition("#")[0] for name in clean("twilio")[0]]
    assert [kinds.count(kind) for kind in ("request", "download", "put wav", "put json")] == [2, 3, 3, 3]
    for recording in range(3):
        media = [number for number, kind in enumerate(kinds) if kind == "put wav"][recording]
        assert kinds[media - 1 : media + 2] == ["download", "put wav", "put json"]
    assert kinds.index("ledger") < kinds.index("request")


def test_a_fault_at_any_step_loses_nothing(provider: str, fault: Fault, tmp_path: Path) -> None:
    """kill -9 at any instant loses nothing, duplicates nothing, leaves no orphan that the next pass does not clean."""
    with world(tmp_path, provider) as made:
        effects = Effects(fault)
        made.run(effects)
        assert effects.struck, "the planned fault never fired"
        check_at_once(made)
        made.settle()
        check_at_once(made)
        check_at_the_end(made, clean(provider)[1])


def test_after_a_clean_pass_another_changes_nothing(tmp_path: Path) -> None:
    """A pass with nothing to do downloads and puts nothing."""
    with world(tmp_path) as made:
        made.run(Effects())
        effects = Effects()
        made.run(effects)
        assert not [name for name in effects.seen if name.startswith(("put", "download"))]
