"""Serve the simulator as a process of its own: `python -m recvault.simulator`.

It prints one line of JSON with its address and credentials, then serves until SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import json
import signal
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from recvault.simulator.recording import Api
from recvault.simulator.simulator import Simulator
from recvault.simulator.switches import Switches
from recvault.simulator.world import Service as Kind
from recvault.simulator.world import SimAccount

_KINDS: dict[Api, Kind] = {
    "voice": "twilio",
    "video": "twilio",
    "telnyx": "telnyx",
    "signalwire": "signalwire",
    "plivo": "plivo",
    "bandwidth": "bandwidth",
    "ringcentral": "ringcentral",
}
_ENDS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    options = _parser().parse_args()
    # Blocked in all threads and waited for in this one: a handler could run in a server's thread and wake nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    simulator = Simulator(options.seed, _switches(options.switch), port=options.port, media_port=options.media_port)
    simulator.faults.all_on(options.fault_share)
    for fault in options.fault:
        name, _, share = fault.partition("=")
        simulator.faults.share(name, float(share or 0.05))
    with simulator:
        accounts = _fill(simulator, options)
        print(json.dumps(_greeting(simulator, accounts)), flush=True)
        signal.sigwait(_ENDS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recvault.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--media-port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recordings", type=int, default=1000, help="of each API")
    parser.add_argument("--api", action="append", choices=get_args(Api), help="default: every one")
    parser.add_argument("--start", type=_moment, help="of the first recording; default: so that the last is a day old")
    parser.add_argument("--every-seconds", type=float, default=60.0)
    parser.add_argument("--duration", type=float, nargs=2, default=(1.0, 4.0), metavar=("LEAST", "MOST"))
    parser.add_argument("--encrypted-share", type=float, default=0.0)
    parser.add_argument("--conference-share", type=float, default=0.1)
    parser.add_argument("--fault-share", type=float, default=0.0, help="of all requests, over all faults")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help="one fault of the menu")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="a field of Switches")
    return parser


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _switches(settings: list[str]) -> Switches:
    """Parse NAME=VALUE settings; a value is JSON or a plain word."""
    known = {field.name for field in fields(Switches)}
    values: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            raise SystemExit(f"no such switch: {name}; there are {', '.join(sorted(known))}")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return replace(Switches(), **values)


def _fill(simulator: Simulator, options: argparse.Namespace) -> list[SimAccount]:
    accounts: dict[Kind, SimAccount] = {}
    for api in options.api or get_args(Api):
        kind = _KINDS[api]
        account = accounts.get(kind) or simulator.add_account(kind)
        accounts[kind] = account
        simulator.populate(
            account,
            api,
            options.recordings,
            options.start,
            timedelta(seconds=options.every_seconds),
            durations=tuple(options.duration),
            conference_share=options.conference_share,
            encrypted_share=options.encrypted_share,
        )
    return list(accounts.values())


def _greeting(simulator: Simulator, accounts: list[SimAccount]) -> dict[str, Any]:
    return {
        "base_url": simulator.base_url,
        "media_host": simulator.media_host,
        "accounts": [
            {"kind": account.kind, "account_id": account.account_id, "credentials": account.credentials}
            for account in accounts
        ],
    }


if __name__ == "__main__":
    main()
