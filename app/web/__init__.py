"""The receiver (webhooks of senders) and the API (the API for people)."""
