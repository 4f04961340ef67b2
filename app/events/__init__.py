"""The normal form of an event, its versions, and canonical JSON."""
