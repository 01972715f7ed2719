"""Tests for authors of plug-ins: the provider contract, a server to imitate a service, a bucket in memory.

`toy.py` is a complete plug-in to copy, `toy_service.py` its server and `test_toy.py` its test.
"""

import sys

if "pytest" in sys.modules:  # so that a failing assertion shows its values
    sys.modules["pytest"].register_assert_rewrite("recvault.testing.contract", "recvault.testing.hostile")

from recvault.providers.base import Provider
from recvault.simulator.exchange import Request
from recvault.testing.bench import Bench, Service
from recvault.testing.contract import ProviderContract
from recvault.testing.front import Answer, Front
from recvault.testing.memory import MemoryStore
from recvault.testing.replies import reply_to
from recvault.testing.sounds import sound

__all__ = [
    "Answer",
    "Bench",
    "Front",
    "MemoryStore",
    "Provider",
    "ProviderContract",
    "Request",
    "Service",
    "reply_to",
    "sound",
]
