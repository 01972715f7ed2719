"""What a plug-in's author tests with, shipped: the provider contract, and a bucket in memory."""

import sys

if "pytest" in sys.modules:  # so that a promise that is not kept is told with its values
    sys.modules["pytest"].register_assert_rewrite("recvault.testing.contract", "recvault.testing.hostile")

from recvault.testing.bench import Bench, Service
from recvault.testing.contract import ProviderContract
from recvault.testing.front import Answer, Front
from recvault.testing.memory import MemoryStore

__all__ = ["Answer", "Bench", "Front", "MemoryStore", "ProviderContract", "Service"]
