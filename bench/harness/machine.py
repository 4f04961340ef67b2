"""Owns the description of the machine and of everything whose version matters to a figure."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import text

from bench.harness.target import Target
from deploy.local.rabbitmq import server_version

PACKAGES = (
    *("flask", "gunicorn", "celery", "kombu", "amqp", "sqlalchemy", "psycopg2-binary", "redis", "orjson"),
    *("dramatiq", "pika", "procrastinate", "psycopg"),
)
_ROOT = Path(__file__).parents[2]


def describe(target: Target, load_before: float) -> dict[str, Any]:
    """Return processor, memory, kernel, versions of the servers and packages, and how busy the machine was."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "servers": _servers(target),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
        "load_before": round(load_before, 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _servers(target: Target) -> dict[str, str]:
    with target.engine.connect() as connection:
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
        shown = {name: str(connection.execute(text(f"SHOW {name}")).scalar_one()) for name in names}
    broker = urlsplit(target.settings.broker_url)
    version = server_version(
        f"{broker.hostname}:{broker.port or 5672}",
        unquote(broker.username or "guest"),
        unquote(broker.password or "guest"),
        unquote(broker.path[1:]) or "/",
        tls=broker.scheme == "amqps",
    )
    try:
        found = Redis.from_url(target.settings.redis_url).info("server")["redis_version"]
    except RedisError:
        found = ""
    postgresql = shown.pop("server_version")
    return {
        "postgresql": f"{postgresql} ({', '.join(f'{name} {value}' for name, value in shown.items())})",
        "rabbitmq": f"{version} ({target.settings.broker_queue_type} queues)",
        "redis": str(found),
    }
