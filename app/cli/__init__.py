"""The ``tiercel`` command: the desk for a person at a terminal."""

from app.cli.main import main

__all__ = ["main"]
