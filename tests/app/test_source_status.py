"""What the ledger knows about a source, judged by that source's settings."""

from __future__ import annotations

from datetime import timedelta

from recvault.monitoring.risks import Risk
from recvault.simulator import Simulator
from rig import START, Rig


def test_each_source_is_quiet_by_its_own_setting(rig: Rig, simulator: Simulator) -> None:
    """A source's quiet_after applies only to it; without one a source may be silent for years."""
    for name, options in (("watched", {"quiet_after": "3d"}), ("left", {})):
        account = simulator.add_account("twilio")
        simulator.add(account, "voice", created_at=START - timedelta(hours=1))
        rig.add_source(name, "twilio", account, **options)
    assert rig.sync_at(START).exit_code == 0
    for days, risks in ((2, []), (3, [("watched", Risk.QUIET)])):
        moment = START + timedelta(days=days)
        with rig.runtime(lambda moment=moment: moment) as runtime:
            reasons = [reason for _, health in runtime.judged({}) for reason in health.reasons]
            found = [(reason.source, reason.risk) for reason in reasons if reason.risk is not Risk.STALE]
        assert found == risks
