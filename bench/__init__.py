"""Owns what measures Tiercel from outside: the reference model, the demo, the soak and the benches.

Nothing in ``app`` or ``tasks`` imports from here.
"""
