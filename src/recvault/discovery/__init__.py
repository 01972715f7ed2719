"""Which recordings there are: lists are read, rows registered, and only then the watermark moves."""
