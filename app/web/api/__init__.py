"""The API: everything under /v1, for people with a key."""
