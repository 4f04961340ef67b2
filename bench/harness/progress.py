"""Owns the lines on standard error that say what a long measurement does; never part of what it found."""

import sys
import time


def tell(words: str) -> None:
    """Say what is being done."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {words}\n")
    sys.stderr.flush()
