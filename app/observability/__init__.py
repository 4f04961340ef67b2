"""Metrics and traces that a process makes about itself."""
