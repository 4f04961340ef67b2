"""Owns what a running receiver's processes take of memory, seen from outside. Linux only: /proc."""

import statistics
from pathlib import Path
from typing import Self

from bench.harness.target import NotRunning

_TENTH = 0.1
_SAMPLES = 200


def web_processes(port: int) -> list[int]:
    """Return the pids of the processes that serve a port, the one that started the others left out.

    Raises:
        NotRunning: there are none that we may look at.
    """
    inodes = {
        fields[9]
        for name in ("tcp", "tcp6")
        if (table := Path("/proc/net") / name).exists()
        for fields in (line.split() for line in table.read_text().splitlines()[1:])
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
    }
    serving = [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _has_socket(entry, inodes)]
    found = [pid for pid in serving if _parent(pid) in serving] or serving
    if not found:
        raise NotRunning(f"no process that serves port {port} can be seen in /proc")
    return found


def _has_socket(process: Path, inodes: set[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        return any(str(entry.readlink()) in wanted for entry in (process / "fd").iterdir())
    except OSError:
        return False


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pss_mb(pids: list[int]) -> float:
    """Return their proportional set size together: a page that several share counts once (proc(5))."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


class Watch:
    """Looks at processes' memory while something is done: 200 times, by how much of it is done."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._seen: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._seen.append((1.0, pss_mb(self._pids)))

    def at(self, done: float) -> None:
        """Note that so much, from 0 to 1, is done."""
        if len(self._seen) <= done * _SAMPLES:
            self._seen.append((done, pss_mb(self._pids)))

    def first_and_last_mb(self) -> tuple[float, float]:
        """Return the medians of the first tenth and of the last."""
        first = [mb for done, mb in self._seen if done <= _TENTH]
        last = [mb for done, mb in self._seen if done >= 1 - _TENTH]
        return statistics.median(first), statistics.median(last)
