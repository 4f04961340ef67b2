"""The webhook endpoint: receive, verify, map, store, publish."""
