"""Recording services as a real HTTP server, with a menu of faults: for demos, tests and benchmarks.

    with Simulator(seed=7) as simulator:
        account = simulator.add_account("twilio")
        simulator.populate(account, "voice", count=100)
        ...  # point a client at simulator.base_url

It is written from the services' documents and shares no code with the clients that it tests.
"""

from recvault.simulator.callbacks import Callback
from recvault.simulator.faults import MENU, Faults, Plan
from recvault.simulator.media import Media
from recvault.simulator.recording import SimRecording
from recvault.simulator.simulated_service import Logged
from recvault.simulator.simulator import Simulator
from recvault.simulator.switches import Switches
from recvault.simulator.world import SimAccount

__all__ = [
    "MENU",
    "Callback",
    "Faults",
    "Logged",
    "Media",
    "Plan",
    "SimAccount",
    "SimRecording",
    "Simulator",
    "Switches",
]
