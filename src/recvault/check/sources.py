"""Tests of a source: its secrets, a page of its list, its clock, its sub-accounts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from recvault.app.runtime import Runtime
from recvault.check.probe import Notice, Probe, probe
from recvault.config import SourceSettings
from recvault.discovery.identity import refuse_renamed
from recvault.discovery.scan import subaccounts
from recvault.errors import CredentialsRefused, RecvaultError
from recvault.models import ACCOUNT, Window

_CLOCK_TOLERANCE = timedelta(minutes=1)


def settings(runtime: Runtime) -> Iterator[Probe]:
    """Test that every source's settings are complete and its secrets readable."""
    for source in runtime.settings.sources:
        yield probe(f"source {source.name}: settings", _settings, runtime, source.name)


def answers(runtime: Runtime) -> Iterator[Probe]:
    """Test that every source's list answers."""
    for source in runtime.settings.sources:
        yield probe(f"source {source.name}: list", _list, runtime, source)
        if source.subaccounts:
            yield probe(f"source {source.name}: sub-accounts", _accounts, runtime, source)


def _settings(runtime: Runtime, name: str) -> str | Notice:
    lines = runtime.lines(name)
    source = runtime.listed(name)
    detail = f"{lines.provider.name}, account {lines.provider.account_id}, at {lines.provider.base_url}"
    if not (source.names_account and runtime.has_ledger):
        return detail
    known = {each.account_id for each in runtime.ledger.namesakes(source.feed(source.account_id))}
    if others := sorted(known - {each.account_id for each in runtime.carriers if each.provider == source.provider}):
        return Notice(
            f"{detail}; the ledger does not know this account, but knows {', '.join(others)}, which no source names "
            "any longer",
            f'if the source was renamed, add account = "{others[0]}" in its [[sources]] entry, or all history will be '
            "archived a second time",
        )
    return detail


def _list(runtime: Runtime, source: SourceSettings) -> str:
    """Read the newest page of a day's list, and compare the provider's clock with ours."""
    lines = runtime.lines(source.name)
    line = lines(lines.provider.account_id)
    before = runtime.clock()
    feed = (listed := runtime.listed(source.name)).feed(listed.account_id)
    if feed.is_named and runtime.has_ledger:
        refuse_renamed(runtime.ledger, feed, line)
    request = line.provider.list_request(Window(since=before - timedelta(days=1)), ACCOUNT)
    with _refusals_told(source):
        page, reply = next(line.session.pages(line.provider, request))
    if page.rejected:
        raise RecvaultError(
            f"{len(page.rejected)} rows of the list cannot be read: {page.rejected[0].reason}",
            "they are quarantined: see `recvault failures`; check that base_url is this provider's",
        )
    with contextlib.suppress(KeyError, ValueError, TypeError):
        _check_clock(parsedate_to_datetime(reply.headers["date"]), before, runtime.clock())
    return f"the list answers: {len(page.recordings)} recordings of the last day on its first page"


def _check_clock(theirs: datetime, before: datetime, after: datetime) -> None:
    off = theirs - after if theirs > after else before - theirs
    if off > _CLOCK_TOLERANCE:
        raise RecvaultError(
            f"this machine's clock is {round(off.total_seconds())} s off the provider's", "synchronise it with NTP"
        )


def _accounts(runtime: Runtime, source: SourceSettings) -> str:
    lines = runtime.lines(source.name)
    line = lines(lines.provider.account_id)
    with _refusals_told(source):
        found = [*subaccounts(line.provider, line.session)]
    closed = sum(not each.is_active for each in found)
    return f"{len(found) - closed} active accounts" + (f", {closed} closed or suspended" if closed else "")


@contextlib.contextmanager
def _refusals_told(source: SourceSettings) -> Iterator[None]:
    """Say where to correct refused credentials: 401 is a wrong secret, 403 a missing permission."""
    try:
        yield
    except CredentialsRefused as error:
        places = " and ".join(f"{key} ({_place(source, key)})" for key in source.secrets)
        if error.status == 403:
            hint = f"the credentials lack a permission: allow {places} to list and read recordings of this account"
        else:
            hint = f"the credentials are wrong: correct {places} or the account id"
        raise CredentialsRefused(error.message, hint).answered(error.status) from error


def _place(source: SourceSettings, key: str) -> str:
    """Return where a secret is configured, never its value."""
    secret = source.secrets[key]
    if secret.env is not None:
        return f"environment variable {secret.env}"
    return secret.file if secret.file is not None else f"credential {secret.credential}"
