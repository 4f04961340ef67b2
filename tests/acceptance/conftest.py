"""Owns the whole system as people run it: every process of the Procfile, on private services."""

import io
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from sqlalchemy import Engine

from app.db.engine import transaction
from app.models import Scope
from app.security import api_keys
from app.security.vault import Vault
from config.settings import Settings
from deploy.local import procfile, readiness
from deploy.local.procfile import Processes, Terminal
from tests.support.spans import Collector, collector
from tests.support.waiting import free_port

ROOT = Path(__file__).parents[2]
_READY_S = 90


@dataclass
class System:
    """A running system and what a test needs to use it."""

    url: str
    engine: Engine
    vault: Vault
    settings: Settings
    processes: Processes
    output: io.StringIO
    key: str
    flower_port: str
    traces: Collector

    def log_text(self) -> str:
        """Return everything that the processes have printed."""
        return self.output.getvalue()

    def get(self, path: str) -> requests.Response:
        """Ask the desk."""
        return requests.get(self.url + path, headers={"Authorization": f"Bearer {self.key}"}, timeout=10)


@pytest.fixture(scope="package")
def traces() -> Iterator[Collector]:
    """What the system's traces go to; every one is sampled."""
    with collector() as found:
        yield found


@pytest.fixture(scope="package")
def system(settings: Settings, schema: Engine, traces: Collector) -> Iterator[System]:
    """Run the Procfile's processes; ready when each of them does its work."""
    home = Path(os.environ["TIERCEL_HOME"])
    port, flower_port = (str(free_port()) for _ in range(2))
    values = {**os.environ, "PORT": port, "FLOWER_PORT": flower_port, "FLOWER_PASSWORD": "flower"}
    values |= {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url, "OTEL_TRACES_SAMPLER": "always_on"}
    values["OTEL_BSP_SCHEDULE_DELAY"] = "500"
    env = procfile.environment(values, home, Path(sys.executable).parent)
    output = io.StringIO()
    processes = Processes(home, Terminal(output))
    commands = procfile.read(ROOT / "Procfile")
    try:
        for name, command in commands.items():
            processes.start(name, command, env, ROOT)
        waiting = readiness.checks(commands, env, "127.0.0.1")
        deadline = time.monotonic() + _READY_S
        while waiting:
            waiting = {name: check for name, check in waiting.items() if check() is None}
            assert not processes.ended(), output.getvalue()
            assert time.monotonic() < deadline, f"not ready: {sorted(waiting)}\n{output.getvalue()}"
        vault = Vault(settings)
        with transaction(schema) as session:
            key = api_keys.create(session, vault, "acceptance", Scope.ADMIN)
        url = f"http://127.0.0.1:{port}"
        yield System(url, schema, vault, settings, processes, output, key, flower_port, traces)
    finally:
        processes.stop()
