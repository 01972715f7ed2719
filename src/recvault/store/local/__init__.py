"""A directory: an archive on a NAS or a disk, each object a plain file under its key.

Invariant: as for every store, nothing that stands under a key is overwritten, by however many processes at once; what
a put returns is on the disk, file and folder entry. A kill leaves nothing under a key that is not whole.
"""
