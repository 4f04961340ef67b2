"""Owns the inbox: store, claim and due, as SQL over the event table. Never commits; the caller's transaction does.

All due and lease arithmetic uses PostgreSQL's clock.
"""
