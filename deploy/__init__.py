"""Owns how Tiercel is set up and run; nothing under app or tasks may import it."""
