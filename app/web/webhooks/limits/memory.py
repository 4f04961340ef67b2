"""Owns how full the memory is that this process may use: the container's or the machine's, whichever is fuller."""

from pathlib import Path

_MACHINE = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


def used(machine: Path = _MACHINE, container: Path = _CONTAINER) -> float:
    """Return the share in use, from 0 to 1; 0 where nobody says. What can be freed at once isn't in use."""
    return max(_of_machine(machine), _of_container(container))


def _of_machine(path: Path) -> float:
    try:
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        total, available = (int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return 0.0
    return 1 - available / total if total else 0.0


def _of_container(folder: Path) -> float:
    try:
        most = int((folder / "memory.max").read_text())
        current = int((folder / "memory.current").read_text())
        stat = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
        cache = int(stat.get("inactive_file", 0))
    except (OSError, ValueError):
        return 0.0  # no cgroup v2, or "max": no bound of its own
    return (current - cache) / most if most else 0.0
