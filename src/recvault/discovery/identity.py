"""Whose recordings a source lists: before each round, what waits under an earlier name of its account becomes its own.

Where a provider has no id for its account, the configuration's word stands for it. A renamed source would then archive
all history a second time, under another account: it is asked for recordings that are known under others first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from recvault.discovery.scan import by_id
from recvault.discovery.source import AccountLine, Source
from recvault.errors import Denied, NotFound, ProtocolError, Refused
from recvault.ledger import Carrier, Feed, Ledger, Stranded, is_same, renamed
from recvault.log import get_logger
from recvault.monitoring.report import PARTIAL, Report
from recvault.shutdown import Stop

log = get_logger("recvault.discovery.identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Told of a source's accounts before any of their lists is read. Thread-safe."""

    ledger: Ledger
    carriers: Sequence[Carrier]  # the whole configuration
    stop: Stop
    _asked: set[str] = field(default_factory=set)  # sources that listed nothing of other accounts

    def __call__(self, source: Source, accounts: Sequence[str]) -> None:
        """Take over what waits. ConfigError where the source's account is known under another name already."""
        if source.names_account and source.name not in self._asked:
            refuse_renamed(self.ledger, source.feed(source.account_id), source.line(source.account_id))
            self._asked.add(source.name)
        for account_id in accounts:
            feed = source.feed(account_id)
            for name in self.ledger.succession.take_over(feed, self.carriers, self.stop.asked.wait):
                log.info("source.took_over", source=source.name, account_id=account_id, before=name)


def refuse_renamed(ledger: Ledger, feed: Feed, line: AccountLine) -> None:
    """Ask for recordings of the provider's other accounts: who has them lists the same account. ConfigError then."""
    for known in ledger.namesakes(feed):
        try:
            found = by_id(line.provider, line.session, known.recording_id)
        except (NotFound, Refused, Denied, ProtocolError):
            continue
        if found.recording_id == known.recording_id and is_same(known, found):
            raise renamed(feed, known.account_id, known.recording_id)


def tell_stranded(report: Report, stranded: Iterable[Stranded]) -> None:
    """A row in the report for each account that nobody carries."""
    for each in stranded:
        report.failed(each.source, each.provider, each.account_id, str(each.error), PARTIAL)
        log.error("source.gone", source=each.source, account_id=each.account_id, error=str(each.error))
