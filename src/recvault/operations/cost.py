"""What the providers still store, what that costs a month, and what a prune would save.

An estimate from the ledger: a recording that somebody deleted at the provider still counts until a prune meets it, and
one that no list has shown does not count. What has no known price is told as not known, never as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from recvault.app.source_status import Inquiry
from recvault.config import SourceSettings, prices
from recvault.ledger import StillStored
from recvault.models import JSON
from recvault.monitoring.report import iso
from recvault.providers.calendar import moment_before

SCHEMA = "recvault/cost/v1"
MONTH = timedelta(days=30)  # what a prune would save, unless a source says prune_after


@dataclass(slots=True, kw_only=True)
class Bill:
    """What one login at a provider, with all its sub-accounts, is charged for storage in a month."""

    provider: str  # as configured
    account_id: str
    sources: list[str] = field(default_factory=list)
    recordings: int = 0
    minutes: int = 0
    bytes: int = 0
    unknown: int = 0
    prunable: int = 0
    prunable_minutes: int = 0
    prunable_bytes: int = 0
    per_minute: float | None = None  # None: not known
    free_minutes: float = 0.0
    price_source: str | None = None

    def add(self, each: StillStored) -> None:
        """Add an account's month."""
        for name in ("recordings", "minutes", "bytes", "unknown", "prunable", "prunable_minutes", "prunable_bytes"):
            setattr(self, name, getattr(self, name) + getattr(each, name))

    @property
    def monthly(self) -> float | None:
        """What it costs a month."""
        return self._of(self.minutes)

    @property
    def saving(self) -> float | None:
        """What a prune would save a month, at most."""
        now, then = self.monthly, self._of(self.minutes - self.prunable_minutes)
        return None if now is None or then is None else now - then

    def _of(self, minutes: int) -> float | None:
        return None if self.per_minute is None else max(0.0, minutes - self.free_minutes) * self.per_minute

    def document(self) -> JSON:
        """Return it as JSON."""
        names = ("provider", "account_id", "sources", "recordings", "minutes", "bytes", "unknown", "prunable")
        prices_ = ("prunable_minutes", "prunable_bytes", "per_minute", "free_minutes", "price_source")
        told = {name: getattr(self, name) for name in (*names, *prices_)}
        return {**told, "monthly_cost": _money(self.monthly), "monthly_saving": _money(self.saving)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """The whole estimate."""

    at: datetime
    currency: str
    months: list[StillStored]
    bills: list[Bill]
    bucket_bytes: int  # archived media, pruned or not
    bucket_per_gb: float | None
    bucket_price_source: str | None

    @property
    def bucket_monthly(self) -> float | None:
        """What the archive's media cost in the bucket a month."""
        return None if self.bucket_per_gb is None else self.bucket_bytes / (1 << 30) * self.bucket_per_gb

    def document(self) -> JSON:
        """Return the document that `--json` prints."""
        names = ("source", "provider", "account_id", "month", "recordings", "archived", "minutes", "bytes", "unknown")
        more = ("prunable", "prunable_minutes", "prunable_bytes")
        return {
            "schema": SCHEMA,
            "at": iso(self.at),
            "currency": self.currency,
            "months": [
                {**{name: getattr(each, name) for name in (*names, *more)}, "seconds": round(each.seconds, 3)}
                for each in self.months
            ],
            "providers": [each.document() for each in self.bills],
            "bucket": {
                "bytes": self.bucket_bytes,
                "per_gb": self.bucket_per_gb,
                "price_source": self.bucket_price_source,
                "monthly_cost": _money(self.bucket_monthly),
            },
        }


def cost(inquiry: Inquiry, name: str | None = None) -> CostReport:
    """Estimate it from the ledger, for one source or all. Asks neither provider nor bucket."""
    now, ledger, settings = inquiry.clock(), inquiry.ledger, inquiry.settings
    ages = {source.name: source.prune_after or MONTH for source in settings.sources}
    if name is not None:
        inquiry.source(name)
    months = ledger.still_stored(name, lambda source: moment_before(now, ages.get(source, MONTH)))
    pruned = sum(each.bytes for each in ledger.pruned.so_far() if name in (None, each.source))
    is_set = "bucket_per_gb" in settings.cost.model_fields_set
    is_aws = settings.archive.directory is None and settings.archive.endpoint_url is None
    per_gb = settings.cost.bucket_per_gb if is_set or is_aws else None
    return CostReport(
        at=now,
        currency=settings.cost.currency,
        months=months,
        bills=_bills(inquiry, months),
        bucket_bytes=pruned + sum(each.archived_bytes for each in months),
        bucket_per_gb=per_gb,
        bucket_price_source=None if per_gb is None else prices.CONFIGURED if is_set else prices.S3_SAYS,
    )


def _bills(inquiry: Inquiry, months: Iterable[StillStored]) -> list[Bill]:
    """Sum by login: what is free is free once for all its sub-accounts and sources."""
    logins = {source.name: source for source in inquiry.settings.sources}
    bills = dict[tuple[str, ...], Bill]()
    for each in months:
        source = logins.get(each.source)
        key, bill = _unpriced(each) if source is None else _bill(inquiry, source)
        bill = bills.setdefault(key, bill)
        bill.add(each)
        if each.source not in bill.sources:
            bill.sources.append(each.source)
    return [bills[key] for key in sorted(bills)]


def _unpriced(each: StillStored) -> tuple[tuple[str, ...], Bill]:
    """Return the bill of a source that is no longer configured."""
    return (each.provider, each.account_id), Bill(provider=each.provider, account_id=each.account_id)


def _bill(inquiry: Inquiry, source: SourceSettings) -> tuple[tuple[str, ...], Bill]:
    """Return a source's bill, and what identifies it: a login and a price."""
    settings, asked = inquiry.settings.cost, inquiry.provider(source.name)
    price = settings.per_minute.get(source.provider)
    is_known = prices.PER_MINUTE.get(source.provider) == price
    bill = Bill(
        provider=source.provider,
        account_id=asked.account_id,
        per_minute=price,
        free_minutes=settings.free_minutes.get(source.provider, 0.0),
        price_source=None if price is None else prices.TWILIO_SAYS if is_known else prices.CONFIGURED,
    )
    return (asked.provider, asked.account_id, str(price)), bill


def _money(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 4)
