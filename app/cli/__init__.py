"""The ``tiercel`` command: the API for a person at a terminal."""

from app.cli.main import main

__all__ = ["main"]
