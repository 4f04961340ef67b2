"""Owns whom a command names as the one who did it."""

import getpass


def whoami() -> str:
    """Return the user of this shell, for what keeps who decided."""
    try:
        return f"user {getpass.getuser()}"
    except (KeyError, OSError):
        return "a user without a name"
