"""Owns the priority policies as they are kept: versions, history, the one that is live, shadows and backtests.

What a policy says is ``app.priority``'s; here nothing decides about an event.
"""
