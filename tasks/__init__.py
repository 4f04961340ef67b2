"""The workers: thin tasks over the rules in ``app``."""
