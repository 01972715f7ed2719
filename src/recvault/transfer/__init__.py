"""From a job to a receipt: fetch, prove, put the media, put the sidecar."""
