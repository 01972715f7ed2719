"""An archive to prune: recordings of one account, archived and listed by manifests weeks ago."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from recvault.ledger import Expectations
from recvault.operations.manifests import Manifests
from recvault.operations.prune import MOST, Prune
from recvault.operations.verify.result import Result
from recvault.operations.verify.scope import BucketScope, Sample
from recvault.operations.verify.verify import Verify
from recvault.simulator import SimAccount, Simulator
from rig import Rig

OLD = datetime(2024, 5, 13, 9, tzinfo=UTC)  # archived
NOW = OLD + timedelta(days=40)
AGE = timedelta(days=30)
KINDS: dict[str, tuple[Any, Any]] = {  # the simulator's account and API, by provider
    "twilio": ("twilio", "voice"),
    "twilio-legacy": ("twilio", "voice"),
    "twilio-video": ("twilio", "video"),
    "telnyx": ("telnyx", "telnyx"),
    "signalwire": ("signalwire", "signalwire"),
}


def archived(rig: Rig, count: int = 4, provider: str = "twilio", **options: Any) -> SimAccount:
    """Archive recordings of a new account, and list them in a manifest."""
    kind, api = KINDS[provider]
    rig.simulator.set_now(OLD)
    account = rig.simulator.add_account(kind)
    rig.simulator.populate(account, api, count, OLD - timedelta(days=2), timedelta(minutes=1), durations=(0.1, 0.2))
    rig.add_source("acme", provider, account, **options)
    assert rig.sync_at(OLD).exit_code == 0
    listed(rig)
    rig.simulator.clear_requests()
    return account


def listed(rig: Rig, at: datetime = OLD + timedelta(days=2)) -> None:
    """Write the manifests that are due."""
    with rig.runtime(lambda: at) as runtime:
        runtime.prepare_store()
        Manifests.of(runtime, threads=2).write()


def prune(
    rig: Rig, *, older_than: timedelta = AGE, limit: int = MOST, dry_run: bool = False, at: datetime = NOW
) -> dict[str, Any]:
    """Run a prune and return its report."""
    rig.simulator.set_now(at)
    with rig.runtime(lambda: at) as runtime:
        runtime.prepare_store()
        return Prune(runtime, "acme", older_than, limit=limit, dry_run=dry_run).run().document()


def verified(rig: Rig) -> Result:
    """Compare the whole bucket with the ledger, and repair."""
    with rig.runtime(lambda: NOW) as runtime, Expectations(rig.root / "ledger.db") as expectations:
        runtime.prepare_store()
        return Verify(
            reader=runtime.store.reader(),
            ledger=runtime.ledger,
            expectations=expectations,
            scope=BucketScope(keys=runtime.keys),
            sample=Sample(100.0),
            workers=2,
            stop=runtime.stop,
            clock=runtime.clock,
            repair=True,
        ).run()


def confirmed(simulator: Simulator) -> Counter[str]:
    """Return how often the provider deleted each recording, by its log."""
    done = [each for each in simulator.requests if each.method == "DELETE" and each.status in {200, 204}]
    return Counter(each.path.rpartition("/")[2].partition(".")[0] for each in done)


def away(simulator: Simulator, account: SimAccount) -> set[str]:
    """Return what the provider no longer has."""
    return {each.recording_id for each in simulator.recordings(account) if each.deleted(simulator.now)}


def records(rig: Rig, name: str) -> list[dict[str, Any]]:
    """Return the lines of the records under prunes/: of `intent` or of `done`."""
    found = [body for key, body in rig.objects().items() if key.startswith("prunes/") and f"-{name}." in key]
    return [json.loads(line) for body in found for line in body.splitlines()]


def recorded(rig: Rig) -> set[str]:
    """Return what the records say is deleted."""
    return {each["recording_id"] for each in records(rig, "done") if each["deletion"] in {"deleted", "gone"}}


def pruned(rig: Rig) -> set[str]:
    """Return what the ledger says is deleted at the provider; all of it is still archived."""
    with rig.runtime() as runtime:
        rows = [row for name in _ids(rig) for row in runtime.ledger.ask.find(name)]
    assert {row["state"] for row in rows} == {"archived"}
    return {row["recording_id"] for row in rows if row["pruned_at"]}


def _ids(rig: Rig) -> list[str]:
    return [each.recording_id for account in rig.simulator.accounts for each in rig.simulator.recordings(account)]
