"""Owns a simulated campaign day: one trace through four schedulers (docs/priorities.md). No service is needed."""
