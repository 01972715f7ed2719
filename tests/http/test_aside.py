"""Requests beside the archiving of recordings: within the account's budget, and no burden on it."""

from __future__ import annotations

import threading

from recvault.http import Aside, Limits, Noted
from recvault.shutdown import Stop


def test_a_request_waits_for_a_place_of_the_account() -> None:
    """With all places taken it is not sent; with one free it is, and gives the place back."""
    stop, account = Stop(), Limits(100_000, 2)
    aside = Aside(account, 100_000)
    sent = threading.Event()

    def ask() -> None:
        with aside.turn(stop):
            sent.set()

    with account.turn(stop, "list"):
        with account.turn(stop):
            asking = threading.Thread(target=ask)
            asking.start()
            assert not sent.wait(0.3)
        asking.join(30)
        assert sent.is_set()
        assert not account.is_full


def test_it_leaves_the_place_of_a_list_of_recordings_alone() -> None:
    """While it runs, a list gets its place at once."""
    stop, account = Stop(), Limits(100_000, 2)
    with Aside(account, 100_000).turn(stop, "list"):
        assert account.is_full
        with account.turn(stop, "list"):
            pass


def test_what_it_is_answered_slows_only_itself() -> None:
    """A refusal and its Retry-After count for the next request beside, not for the account's."""
    account = Limits(100_000, 8)
    aside = Aside(account, 100_000)
    aside.note(Noted(429, rest=200.0))
    assert account.standing.held_by is None
    assert account.rest.status == 0
    assert aside.rest.status == 429
