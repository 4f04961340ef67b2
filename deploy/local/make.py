"""Owns what a recipe must know of the make that runs it.

GNU make passes TERM on to its recipe, but not INT: told to stop by `kill -INT`, it waits for the recipe for ever.
"""

import os
import signal
from pathlib import Path

_PARENT = os.getppid() if os.environ.get("MAKELEVEL") else None


def told_to_stop() -> bool:
    """Tell whether the make that started this process is gone, or was told to stop and is waiting for us."""
    if _PARENT is None:
        return False
    if os.getppid() != _PARENT:
        return True
    try:
        status = Path(f"/proc/{_PARENT}/status").read_text()
    except OSError:
        return False
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    if fields.get("Name") != "make":
        return False
    # While it waits, make is in its handler of the signal, with the handling already set back to the default.
    bit = 1 << (signal.SIGINT - 1)
    return bool(int(fields.get("SigBlk", "0"), 16) & bit and not int(fields.get("SigCgt", "0"), 16) & bit)
