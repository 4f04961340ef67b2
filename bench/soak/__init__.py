"""Owns the soak: what Tiercel must survive, from mutated requests to crashes, over a longer time."""
