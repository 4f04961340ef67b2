"""API keys, encrypted secrets, the audit log, idempotency keys."""
