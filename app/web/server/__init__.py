"""The HTTP server: gunicorn's worker with an event loop in front of its threads."""
