"""Recordings handed over as files: a bag for an auditor, shards or a manifest for training. By the bucket alone."""
