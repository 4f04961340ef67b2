"""Sources: the configured ones, and the kinds of sender that they are of."""
