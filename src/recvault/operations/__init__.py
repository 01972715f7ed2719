"""Work on ledger and bucket beside the daily round: verify, manifests, rebuild, decrypt, plan, reconcile."""
