"""A directory: an archive on a NAS or a disk, each object a regular file named by its key.

Invariants: as in every store, an existing key is never overwritten, even by concurrent processes; when a put returns,
the file and its folder entry are on the disk. A kill never leaves an incomplete file under a key.
"""
