"""The canary: forbidden values are planted where they could come from, and searched for where they could go."""

from __future__ import annotations

import sys
from pathlib import Path

import forked
from cli.commands import environment
from recvault.simulator import SimAccount, Simulator
from rig import SOURCES, Rig

APIS = {"twilio": ("voice", "video"), "telnyx": ("telnyx",), "signalwire": ("signalwire",)}


def forbidden(accounts: dict[str, SimAccount]) -> list[str]:
    """Return every secret, and the patterns of signatures, credentials and phone numbers."""
    plain = {"account_sid", "project_id"}
    pairs = [pair for account in accounts.values() for pair in account.credentials.items()]
    secrets = [value for key, value in pairs if key not in plain]
    marks = ["X-Amz-Signature=", "X-Amz-Credential=", "Authorization", "Basic ", "Bearer ", "+1555"]
    return [*secrets, "test-secret-key", *marks]


def test_no_output_holds_a_secret_a_signature_or_a_phone_number(rig: Rig, tmp_path: Path) -> None:
    """Debug output of every verb, with faults of every kind, has no secrets on stdout, stderr or in the ledger."""
    accounts: dict[str, SimAccount] = {}
    for name, (provider, kind) in SOURCES.items():
        if kind not in accounts:
            accounts[kind] = rig.simulator.add_account(kind)
            for api in APIS[kind]:
                rig.simulator.populate(accounts[kind], api, count=12)
        rig.add_source(name, provider, accounts[kind])
    rig.simulator.faults.all_on(0.2)
    written = ""
    for verb in ("check", "sync", "sync --json", "status --json", "failures", "failures --json"):
        written += run(rig, verb)
    rig.simulator.faults.off()
    written += run(rig, "sync") + run(rig, f"show {next(iter(rig.sidecars()))}")
    assert "transfer.archived" in written
    for word in forbidden(accounts):
        assert word not in written, f"{word!r} was written"


def test_no_output_holds_a_token_of_an_account(rig: Rig) -> None:
    """Debug output shows none of the auth tokens in the list of accounts."""
    main = rig.simulator.add_account("twilio")
    below = rig.simulator.add_account("twilio", parent=main)
    rig.simulator.populate(below, "voice", count=2)
    rig.add_source("voice", "twilio", main, subaccounts=True)
    written = run(rig, "sync") + run(rig, "status --json")
    assert below.account_id in written
    for account in (main, below):
        assert account.secret not in written


def run(rig: Rig, verb: str) -> str:
    command = [sys.executable, "-m", "recvault", "-vv", "--config", str(rig.config_path), *verb.split()]
    code, stdout, stderr = forked.run(command, environment(rig.root), rig.root, seconds=120)
    assert code in (0, 3, 75, 77, 78), stderr[-2000:]
    ledger = rig.root / "ledger.db"
    text = ledger.read_bytes().decode("latin-1") if ledger.exists() else ""
    # The ledger has the provider's rows, including numbers, but no signatures or secrets.
    assert "X-Amz-Signature" not in text
    return stdout + stderr


def test_the_simulator_plants_what_the_canary_looks_for(simulator: Simulator) -> None:
    """The simulator's rows contain phone numbers and signed URLs, so that the search can fail."""
    import httpx

    account = simulator.add_account("telnyx")
    simulator.populate(account, "telnyx", count=1)
    headers = {"Authorization": f"Bearer {account.credentials['api_key']}"}
    body = httpx.get(f"{simulator.base_url}/v2/recordings", headers=headers).text
    assert "X-Amz-Signature=" in body
    assert '"+1' in body
