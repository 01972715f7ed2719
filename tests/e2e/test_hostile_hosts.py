"""A hostile provider fails alone: the recordings of the next source are archived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from recvault.shutdown import Stop
from recvault.simulator import Simulator
from recvault.simulator.exchange import Request
from recvault.testing import Answer, Front
from recvault.testing.front import forward
from rig import Rig

COUNT = 12  # more than the failures in a row that pause a store


def too_long(request: Request, answer: Answer) -> Answer:
    return replace(answer, claimed=10**17)


def led_to_metadata(request: Request, answer: Answer) -> Answer:
    return Answer(status=302, headers=(("Location", "https://169.254.169.254/latest/meta-data/iam/"),))


def led_home_in_disguise(request: Request, answer: Answer) -> Answer:
    return Answer(status=302, headers=(("Location", "https://[::ffff:127.0.0.1]:1/metrics"),))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (too_long, "spool.too_small"),
        (led_to_metadata, "media.unsafe_address"),
        (led_home_in_disguise, "media.unsafe_address"),
    ],
)
def test_a_host_that_lies_fails_alone(
    rig: Rig,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Request, Answer], Answer],
    reason: str,
) -> None:
    """Absurd lengths and redirects to this machine's services each fail one recording, and nothing else."""

    def media_alone(request: Request, answer: Answer) -> Answer:
        return spoil(request, answer) if request.path.endswith(".wav") else answer

    monkeypatch.setattr(Stop, "sleep", lambda self, seconds: None)  # before retries
    rig.transfer = {"retry_base": "1h", "retry_max": "1h"}
    with Front(forward(simulator.base_url, {})) as front:
        front.spoil = media_alone
        for name, base_url in (("liar", front.origin), ("honest", simulator.base_url)):
            account = simulator.add_account("twilio")
            simulator.populate(account, "voice", count=COUNT, conference_share=0)
            rig.add_source(name, "twilio", account, base_url=base_url)
        report = rig.sync()
        with rig.runtime() as runtime:
            failures = runtime.ledger.ask.failures()
    archived = {source: row.archived for (source, _), row in report.accounts.items()}
    assert archived == {"liar": 0, "honest": COUNT}
    assert {(row["source"], row["state"], row["reason"]) for row in failures} == {("liar", "failing", reason)}
    assert (len(failures), report.exit_code) == (COUNT, 3)
