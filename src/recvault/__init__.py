"""recvault: the recording archive sync daemon."""

__version__ = "0.1.0"
