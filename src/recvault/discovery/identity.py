"""Account identity: before each round, a source takes over what waits under an earlier name of its account.

If a provider has no account id, the configuration names the account. A renamed source would then archive all history
again under another account, so it is first tested whether recordings known under other accounts are found in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from recvault.discovery.scan import by_id
from recvault.discovery.source import AccountLine, Source
from recvault.errors import Denied, NotFound, ProtocolError, Refused
from recvault.ledger import Carrier, Feed, Ledger, Stranded, is_same, renamed
from recvault.log.lines import get_logger
from recvault.monitoring.report import PARTIAL, Report
from recvault.shutdown import Stop

log = get_logger("recvault.discovery.identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Checks a source's accounts before their lists are read. Thread-safe."""

    ledger: Ledger
    carriers: Sequence[Carrier]  # the whole configuration
    stop: Stop
    _asked: set[str] = field(default_factory=set)  # sources that have none of the other accounts' recordings

    def __call__(self, source: Source, accounts: Sequence[str]) -> None:
        """Take over what waits. ConfigError if the source's account is already known under another name."""
        if source.names_account and source.name not in self._asked:
            refuse_renamed(self.ledger, source.feed(source.account_id), source.line(source.account_id))
            self._asked.add(source.name)
        for account_id in accounts:
            feed = source.feed(account_id)
            for name in self.ledger.succession.take_over(feed, self.carriers, self.stop.asked.wait):
                log.info("source.took_over", source=source.name, account_id=account_id, before=name)


def refuse_renamed(ledger: Ledger, feed: Feed, line: AccountLine) -> None:
    """Request recordings of the provider's other known accounts. ConfigError if one is found: it is the same
    account."""
    for known in ledger.namesakes(feed):
        try:
            found = by_id(line.provider, line.session, known.recording_id)
        except (NotFound, Refused, Denied, ProtocolError):
            continue
        if found.recording_id == known.recording_id and is_same(known, found):
            raise renamed(feed, known.account_id, known.recording_id)


def tell_stranded(report: Report, stranded: Iterable[Stranded]) -> None:
    """Add a report row for each account that no source lists."""
    for each in stranded:
        report.failed(each.source, each.provider, each.account_id, str(each.error), PARTIAL)
        log.error("source.gone", source=each.source, account_id=each.account_id, error=str(each.error))
