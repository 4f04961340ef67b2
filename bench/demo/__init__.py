"""Owns the demo: a flash-sale day, sent over HTTP as real senders would, and the proof of what became of it."""
