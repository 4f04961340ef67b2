"""Owns the private system that `make bench` measures: a whole `make up` of its own, gone afterwards."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.harness.children import ROOT, free_port
from bench.harness.target import NotRunning
from config.settings import Settings
from deploy.local.processes import end_leftovers, end_session, wait_until
from deploy.local.stack import Services

_START_S = 180.0
_STOP_S = 60.0
_READY = b"Tiercel is ready"
# The limits are counted as ever, but never in the way: what is measured is how much it takes, not how it says no.
WIDE_OPEN = {
    "SOURCE_EVENTS_PER_S": "1000000",
    "SOURCE_BURST": "10000000",
    "PRESSURE_COMMIT_S": "60",
    "PRESSURE_MEMORY": "0.999",
    "PRESSURE_AGE_HIGH_S": "86400",
    "PRESSURE_AGE_MEDIUM_S": "86400",
    "PRESSURE_AGE_LOW_S": "86400",
}


@contextmanager
def private_system() -> Iterator[Path]:
    """Start everything under a temporary home and on free ports, point this process at it; yields the home.

    Raises:
        NotRunning: it doesn't come up; says its last lines.
    """
    home = Path(tempfile.mkdtemp(prefix="tiercel-bench-"))
    before = dict(os.environ)
    # Nobody's own servers, secrets or limits: what is measured is what `make up` starts.
    for name, setting in Settings.model_fields.items():
        os.environ.pop((setting.alias or name).upper(), None)
    port = free_port()
    os.environ.update(WIDE_OPEN)
    # MAKELEVEL: `make up` ends when the process that started it is gone, as it does below make.
    wanted = {"TIERCEL_HOME": str(home), "PORT": str(port), "FLOWER_PORT": str(free_port(port)), "MAKELEVEL": "1"}
    os.environ.update(wanted)
    log = home / "up.log"
    with log.open("wb") as out:
        up = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.up"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: up.poll() is not None or _READY in log.read_bytes(), _START_S)
        if up.poll() is not None or _READY not in log.read_bytes():
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise NotRunning(f"the private system didn't start:\n{tail}")
        yield home
    finally:
        end_session(up.pid, signal.SIGTERM, _STOP_S)
        up.wait()
        end_leftovers(home)
        Services(home, report=lambda *_: None).destroy()
        os.environ.clear()
        os.environ.update(before)
