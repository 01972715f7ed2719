"""What recvault says of its work: log lines and counts, and what neither may hold. Nothing is loaded with it."""
