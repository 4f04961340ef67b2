"""The receiver, the API, the command line and everything they share with the workers."""
