"""Delete at the provider, one recording after another, and find out what came of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from recvault.errors import ConfigError, Denied, NotFound, RecvaultError, Refused, Resting, Unavailable
from recvault.http import Session
from recvault.models import Phase, Recording
from recvault.operations.prune.deletion_records import Deletion, DeletionOutcome, Identity
from recvault.providers.base import Provider

_MOST_DENIED = 3  # in a row: these credentials may not delete
_MOST_UNKNOWN = 5  # in a row: the provider is down
_TOO_MANY = 429
_PAGE = re.compile(rb"\s*<(!doctype html|html)\b", re.IGNORECASE)


@dataclass(slots=True)
class Deleter:
    """Deletes recordings of one account. Raises what ends the work on this account; for one thread."""

    provider: Provider
    session: Session
    _denied: int = field(default=0, init=False)
    _unknown: int = field(default=0, init=False)
    _is_there: bool = field(default=False, init=False)  # the account's list was answered

    def delete(self, recording: Recording) -> DeletionOutcome:
        """Delete one recording. An answer that leaves it open is followed by the question whether it is still there."""
        try:
            reply = self.session.send(self.provider.delete_request(recording))
        except Denied as error:
            self._denied += 1
            if self._denied >= _MOST_DENIED:
                raise
            return self._came(recording, Deletion.KEPT, str(error))
        except NotFound:
            outcome = self._found(recording, "the provider answered 404 to the deletion, but still has it")
        except (Refused, Unavailable) as error:
            if isinstance(error, Resting) or error.status == _TOO_MANY:
                raise
            outcome = self._found(recording, str(error))
        else:
            if _PAGE.match(reply.body):
                outcome = self._found(recording, "a web page answered the deletion, probably of a proxy in between")
            else:
                outcome = self._came(recording, Deletion.DELETED)
        self._denied = 0
        return outcome

    def ask(self, identity: Identity, call_id: str | None = None) -> DeletionOutcome:
        """Ask the provider about a deletion that a kill left open."""
        return self._found(_known(self.provider, identity, call_id), "the provider still has it")

    def _found(self, recording: Recording, why: str) -> DeletionOutcome:
        """Ask whether it is still there."""
        try:
            reply = self.session.send(self.provider.refresh_request(recording))
            is_gone = self.provider.parse_recording(reply).phase is Phase.GONE
        except NotFound as error:
            self._list_account(error)
            is_gone = True
        except (ConfigError, Denied, Refused, Unavailable) as error:
            if isinstance(error, Resting):
                raise
            return self._uncertain(recording, error)
        return self._came(recording, *((Deletion.GONE, None) if is_gone else (Deletion.KEPT, why)))

    def _list_account(self, error: NotFound) -> None:
        """Make sure, once, that the account is there: a wrong base_url, or a proxy, answers 404 to everything."""
        if self._is_there or self.session.own_list is None:
            return
        try:
            self.provider.parse_page(self.session.send(self.session.own_list()))
        except (Denied, NotFound, Refused) as other:
            raise Unavailable(f"{error.message}; and so was the account's list: {other.message}") from other
        self._is_there = True

    def _uncertain(self, recording: Recording, error: RecvaultError) -> DeletionOutcome:
        self._unknown += 1
        if self._unknown >= _MOST_UNKNOWN:
            raise error
        return DeletionOutcome(identity=recording.identity, deletion=Deletion.UNKNOWN, message=str(error))

    def _came(self, recording: Recording, deletion: Deletion, message: str | None = None) -> DeletionOutcome:
        self._unknown = 0
        return DeletionOutcome(identity=recording.identity, deletion=deletion, message=message)


def _known(provider: Provider, identity: Identity, call_id: str | None) -> Recording:
    """Return a recording of which only the id is known, as far as a request about it needs it."""
    name, account_id, recording_id = identity
    return Recording(
        provider=name,
        api=provider.api,
        account_id=account_id,
        recording_id=recording_id,
        call_id=call_id,
        created_at=datetime.min.replace(tzinfo=UTC),
        status=None,
        phase=Phase.UNFINISHED,
        formats=(),
    )
