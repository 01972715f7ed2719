"""One budget for each provider account."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from recvault import config
from recvault.app.budgets import Budgets
from recvault.app.configured_sources import Configured
from recvault.http import Limits

SOURCE = """
[[sources]]
name = "{name}"
provider = "{provider}"
account_sid = "AC{number:032x}"
auth_token = {{ env = "TOKEN" }}
requests_per_second = {rate}
max_concurrency = {most}
"""


def budgets(path: Path, *sources: tuple[str, str, int, float, int]) -> Budgets[Limits]:
    names = ("name", "provider", "number", "rate", "most")
    tables = [SOURCE.format(**dict(zip(names, each, strict=True))) for each in sources]
    (path / "config.toml").write_text('[archive]\nbucket = "acme"\n' + "".join(tables))
    settings = config.load(path / "config.toml")
    provider = Configured(settings, clock=lambda: datetime.now(UTC)).provider
    return Budgets(settings.sources, provider, lambda key, rate, most: Limits(rate, most))


def numbers(limits: Limits) -> tuple[float, int]:
    return 1 / limits._budget.gap, limits._budget.most


def test_sources_that_ask_one_account_share_its_budget(tmp_path: Path) -> None:
    """Sources of one account share the smaller limits; another account, or another API's host, has its own."""
    made = budgets(
        tmp_path,
        ("voice", "twilio", 1, 20, 8),
        ("legacy", "twilio-legacy", 1, 5, 32),
        ("other", "twilio", 2, 20, 8),
        ("video", "twilio-video", 1, 20, 8),
    )
    assert made.of("voice") is made.of("legacy")
    assert numbers(made.of("voice")) == (pytest.approx(5), 8)
    assert len({id(made.of(name)) for name in ("voice", "other", "video")}) == 3


def test_a_reload_goes_on_with_the_budgets_whose_numbers_stay(tmp_path: Path) -> None:
    """While the old configuration drains beside the new one, both together stay within the configured limits."""
    before = budgets(
        tmp_path, ("voice", "twilio", 1, 20, 8), ("other", "twilio", 2, 20, 8), ("gone", "twilio", 3, 1, 1)
    )
    for name in ("voice", "other", "gone"):
        before.of(name)
    after = budgets(tmp_path, ("renamed", "twilio", 1, 20, 8), ("other", "twilio", 2, 10, 8))
    after.take_over(before)
    assert after.of("renamed") is before.of("voice")
    assert numbers(after.of("other")) == (pytest.approx(10), 8)
    assert len(after.made) == 2
