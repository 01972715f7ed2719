"""Operations on ledger and bucket besides passes: verify, manifests, rebuild, decrypt, plan, reconcile."""
