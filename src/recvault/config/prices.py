"""What storage costs, as far as it is known: defaults, each with its date and source. `[cost]` replaces them."""

from __future__ import annotations

from collections.abc import Mapping

TWILIO_SAYS = "support.twilio.com article 14486716328091, read 2026-12-01"
S3_SAYS = "aws.amazon.com/s3/pricing, S3 Standard in us-east-1, first 50 TB, as known 2026-12-01"
CONFIGURED = "configuration"

CURRENCY = "USD"
PER_MINUTE: Mapping[str, float] = {"twilio": 0.0005, "twilio-legacy": 0.0005}
"""For a stored minute and month, by provider. Of the others no price was found."""
FREE_MINUTES: Mapping[str, float] = {"twilio": 10_000, "twilio-legacy": 10_000}
"""Stored minutes that cost nothing, of a login with all its sub-accounts."""
BUCKET_PER_GB = 0.023
"""For 2^30 bytes and a month."""
