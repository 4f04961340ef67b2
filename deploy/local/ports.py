"""Owns which loopback ports the private servers use: chosen free once, remembered, chosen anew when taken."""

import json
import random
import socket
from pathlib import Path

# Below the range from which kernels take the ports of outgoing connections.
RANGE = range(20_000, 30_000)
NAMES = ("postgresql", "amqp", "distribution", "epmd", "management", "redis")


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def is_open(port: int) -> bool:
    """Tell whether something on loopback accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def choose(home: Path) -> dict[str, int]:
    """Return a port for each name in NAMES, the same as last time unless somebody else has taken one."""
    remembered = home / "ports.json"
    ports: dict[str, int] = {}
    if remembered.is_file():
        ports = {name: int(port) for name, port in json.loads(remembered.read_text()).items() if name in NAMES}
    for name in NAMES:
        while name not in ports or not is_free(ports[name]):
            candidate = random.SystemRandom().choice(RANGE)
            if candidate not in ports.values():
                ports[name] = candidate
    remembered.write_text(json.dumps(ports, indent=1) + "\n")
    return ports


def listener(port: int) -> str | None:
    """Return "pid (command)" of who listens on a port, None where that can't be seen (other users, other systems)."""
    listening = "0A"
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for row in table.read_text().splitlines()[1:] if table.is_file() else []:
            columns = row.split()
            if columns[3] == listening and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{columns[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else []:
        try:
            if str(link.readlink()) in inodes:
                command = (link.parents[1] / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                return f"process {link.parts[2]} ({command.strip()[:80]})"
        except OSError:
            continue
    return None
