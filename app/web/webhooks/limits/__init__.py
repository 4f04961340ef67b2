"""The receiver's limits: who may send how much now. Nothing here decides what is right, only what is let in."""
