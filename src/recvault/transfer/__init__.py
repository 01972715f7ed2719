"""From a job to a receipt: fetch, check, put the media, put the sidecar."""
