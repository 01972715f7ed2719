"""Adopt what others laid into a bucket: matched to a recording, proven, copied, committed by a sidecar.

The order is a transfer's: media first, the sidecar last. The other bucket is only read, and the provider is asked for
no more than the proof needs.
"""

from recvault.operations.adopt.adopted import Adopted
from recvault.operations.adopt.adopting import Adopt

__all__ = ["Adopt", "Adopted"]
