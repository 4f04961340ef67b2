"""Owns a proxy in front of one service, for a test to break the connections through it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import free_port

ROOT = Path(__file__).parents[2]


@dataclass
class Proxied:
    """A port that leads to the service, as long as the proxy passes."""

    port: int
    process: subprocess.Popen[str]

    def become(self, mode: str) -> None:
        """Misbehave from now on, as ``tests.faults.proxy`` says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{self.port} {mode}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@contextmanager
def proxied(target: int) -> Iterator[Proxied]:
    """Begin to pass on to a loopback port."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.faults.proxy", f"{port}:{target}"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Proxied(port, process)
        finally:
            process.kill()
