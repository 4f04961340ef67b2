"""The receiver, the desk, the command line and everything they share with the workers."""
