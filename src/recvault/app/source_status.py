"""What the ledger knows about the configured sources. Sends no request to providers or bucket, and loads no clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from recvault.app.configured_sources import Configured
from recvault.errors import UnknownName
from recvault.ledger import ACCOUNTS, RECONCILE, Carrier, Feed, FeedStatus, Ledger, StateCounts, Stranded
from recvault.models import ACCOUNT
from recvault.monitoring.health import Health, judge, judged_stranded
from recvault.monitoring.risks import Reason
from recvault.monitoring.silence import quiet_words
from recvault.monitoring.verdict import Judgement, bucket_at_last, late_manifests, verdict
from recvault.providers.base import readable_apis

_BESIDE = {ACCOUNTS: "the list of sub-accounts", RECONCILE: "the last reconcile"}


class Inquiry(Configured):
    """The ledger, opened on first use, and what it knows."""

    _ledger: Ledger | None = None

    @property
    def ledger(self) -> Ledger:
        """The ledger, opened on first use."""
        if self._ledger is None:
            self._ledger = self.stop.attend(lambda: Ledger.open(self.settings.ledger.path, self.clock()))
            self._open.callback(self._ledger.close)
        return self._ledger

    @property
    def has_ledger(self) -> bool:
        """Whether a ledger exists; queries do not create one."""
        return self.settings.ledger.path.exists()

    def feeds(self) -> list[FeedStatus]:
        """Return every account's list in the ledger, and the accounts of configured sources that have none yet.

        If the list itself has no error, that of its sub-accounts' list or last reconcile is shown instead.
        """
        known = self.ledger.ask.feeds() if self.has_ledger else []
        beside = {each.feed.key[:2]: each for each in known if each.feed.list in _BESIDE and each.error}
        feeds = [_with_error(each, beside.get(each.feed.key[:2])) for each in known if each.feed.list == ACCOUNT.kind]
        met = {status.feed.key[:2] for status in feeds}
        for source in self.settings.sources:
            provider = self.provider(source.name)
            accounts = self.ledger.ask.accounts(source.name) if self.has_ledger else []
            for account_id in accounts or [provider.account_id]:
                if (source.name, account_id) not in met:
                    feed = Feed(source.name, provider.provider, account_id)
                    feeds.append(self.ledger.ask.unread(feed) if accounts else FeedStatus(feed=feed))
        return [each for each in feeds if self.is_configured(each.feed) or each.standing != StateCounts()]

    def judged(self, watched_since: Mapping[str, datetime]) -> list[tuple[FeedStatus, Health]]:
        """Return every list of a configured source with its health, after accounts that no source lists any more.

        `watched_since` says since when each source is watched.
        """
        now, after = self.clock(), self.settings.daemon.stale_after
        found = judged_stranded(self.ledger, self.stranded(), now, after) if self.has_ledger else []
        feeds = [each for each in self.feeds() if self.is_configured(each.feed)]
        return found + [(each, self.health(each, now, watched_since.get(each.feed.source))) for each in feeds]

    def verdict(self, beside: Iterable[Reason] = (), watched_since: Mapping[str, datetime] | None = None) -> Judgement:
        """Judge whether all is safe, from the ledger and `beside`. `watched_since` as for `judged`; None: no daemon
        runs."""
        is_watched = watched_since is not None
        found = late_manifests(self.ledger, self.clock(), is_watched=is_watched) if self.has_ledger else []
        if self.has_ledger and not is_watched:
            found += bucket_at_last(self.ledger)
        return verdict(self.judged(watched_since or {}), [*beside, *found])

    def health(self, feed: FeedStatus, now: datetime, watched_since: datetime | None) -> Health:
        """Judge an account's list of a configured source."""
        return judge(
            feed,
            now=now,
            watched_since=watched_since,
            poll_every=self.source(feed.feed.source).poll_every,
            stale_after=self.settings.daemon.stale_after,
            slow_after=5 * self.settings.transfer.stall_timeout,
            quiet=self._quiet(feed),
        )

    def _quiet(self, feed: FeedStatus) -> str | None:
        """Say that an account is silent, as far as its list was read: if it cannot be read, that is reported itself."""
        after, until = self.source(feed.feed.source).quiet_after, feed.last_success_at
        if after is None or until is None:
            return None
        hours = self.ledger.ask.hours(feed.feed.source, feed.feed.account_id, until - after)
        return quiet_words(hours, until, after)

    def is_configured(self, feed: Feed) -> bool:
        """Whether a list belongs to the configuration, not to an earlier one with another source, account or sub-
        accounts."""
        named = [each for each in self.settings.sources if each.name == feed.source]
        return any(each.subaccounts or feed.account_id == self.provider(each.name).account_id for each in named)

    @cached_property
    def carriers(self) -> list[Carrier]:
        """The configured sources, as needed to decide which recordings are their own."""
        return [
            Carrier(
                source=source.name,
                provider=(asked := self.provider(source.name)).provider,
                api=asked.api,
                apis=readable_apis(asked),
                account_id=asked.account_id,
                subaccounts=source.subaccounts,
                start_from=source.start_from,
            )
            for source in self.settings.sources
        ]

    def stranded(self, *, dead: bool = False) -> list[Stranded]:
        """Return what waits in the ledger, or is dead, and will never be archived by any configured source."""
        return self.ledger.succession.stranded(self.carriers, dead=dead) if self.has_ledger else []

    def find(self, text: str) -> list[dict[str, Any]]:
        """Return the ledger's rows for `ID` or `SOURCE:ID`. UnknownName if there are none."""
        source, colon, rest = text.partition(":")
        named = bool(colon) and any(each.name == source for each in self.settings.sources)
        recording_id, source_name = (rest, source) if named else (text, None)
        rows = self.ledger.ask.find(recording_id, source_name) if self.has_ledger else []
        if not rows:
            raise UnknownName(f"no recording {text} is in the ledger", "`recvault sync` registers what is listed")
        return rows


def _with_error(feed: FeedStatus, beside: FeedStatus | None) -> FeedStatus:
    if feed.error is not None or beside is None:
        return feed
    return replace(feed, error=f"{_BESIDE[beside.feed.list]}: {beside.error}", error_at=beside.error_at)
