"""Coordination between processes: leader election, entity locks, heartbeats, liveness."""
