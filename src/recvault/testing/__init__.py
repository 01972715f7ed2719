"""What a plug-in's author tests with, shipped: the provider contract, a bucket in memory, and a toy to copy."""

import sys

if "pytest" in sys.modules:  # so that a promise that is not kept is told with its values
    sys.modules["pytest"].register_assert_rewrite("recvault.testing.contract", "recvault.testing.hostile")

from recvault.simulator.exchange import Request
from recvault.testing.bench import Bench, Service
from recvault.testing.contract import ProviderContract
from recvault.testing.front import Answer, Front
from recvault.testing.memory import MemoryStore

__all__ = ["Answer", "Bench", "Front", "MemoryStore", "ProviderContract", "Request", "Service"]
