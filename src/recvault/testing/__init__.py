"""What a plug-in's author tests with, shipped: the provider contract, and a bucket in memory."""

from recvault.testing.memory import MemoryStore

__all__ = ["MemoryStore"]
