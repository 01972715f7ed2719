"""From an installed package to a running recvault: its files, a configuration, and the service."""
