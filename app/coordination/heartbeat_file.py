"""Owns pulses: each long-running process writes a small file about its work, for whoever watches it on this machine.

A file and not the database or the broker: what is watched must not be what may be away. The time is the machine's
monotonic clock, which all its processes share.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from config.settings import tiercel_home


@dataclass(frozen=True, slots=True)
class HeartbeatFile:
    """The last sign of life of one process."""

    name: str
    """What it is: ``dispatcher``, ``beat``, or a worker's queue."""
    pid: int = field(default_factory=os.getpid)
    born: str = ""
    """Tells it from a later process of the same pid; empty where the system can't say."""
    at: float = field(default_factory=time.monotonic)
    taken: int = 0
    """Messages that a worker has begun to work on."""
    busy: int = 0
    """Those it works on now."""
    oldest_s: float = 0.0
    """How long it has held the oldest of its messages."""


def write(pulse: HeartbeatFile) -> None:
    """Write this process's pulse; a disk that is full harms no work."""
    with suppress(OSError):
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{pulse.name}-{pulse.pid}"
        new = path.with_suffix(".new")
        new.write_bytes(orjson.dumps({**asdict(pulse), "born": born(pulse.pid)}))
        new.replace(path)


def read(name: str) -> Sequence[HeartbeatFile]:
    """Return the pulses of the processes of this name that still live here; forget those of others."""
    found = []
    for path in sorted(_folder().glob(f"{name}-*")):
        try:
            pulse = HeartbeatFile(**orjson.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
        if born(pulse.pid) == pulse.born and _lives(pulse.pid):
            found.append(pulse)
        else:
            path.unlink(missing_ok=True)
    return found


def born(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; empty where there is none, or no /proc."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _folder() -> Path:
    home = tiercel_home()
    # A container's root may be read-only; its /tmp is its own.
    if home.is_dir() and os.access(home, os.W_OK):
        return home / "pulse"
    return Path(tempfile.gettempdir()) / f"tiercel-pulse-{os.geteuid()}"
