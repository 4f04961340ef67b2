"""The receiver (the door for senders) and the desk (the API for people)."""
