"""Owns how `make up` knows that a process does its work, not merely that it runs."""

import contextlib
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial

import psycopg2
from amqp.exceptions import AMQPError
from kombu import Connection
from kombu.exceptions import KombuError

from app.coordination.leader_election import Role

_TIMEOUT_S = 2.0

Check = Callable[[], str | None]
"""Returns what shows that it is ready, None while it isn't."""


def checks(commands: dict[str, str], env: dict[str, str], bind: str) -> dict[str, Check]:
    """Return the check of each process that has one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104  # compared, not bound
    base = f"http://[{host}]" if ":" in host else f"http://{host}"
    found: dict[str, Check] = {}
    for name, command in commands.items():
        if queues := re.search(r"--queues[ =](\S+)", command):
            found[name] = partial(_has_consumers, env["BROKER_URL"], queues[1].split(","))
        elif "gunicorn" in command:
            found[name] = partial(_answers, f"{base}:{env['PORT']}/readyz")
        elif " flower" in command:
            found[name] = partial(_answers, f"{base}:{env['FLOWER_PORT']}/healthcheck")
        elif "dispatcher" in command:
            found[name] = partial(_leads, env["DATABASE_URL"])
    return found


def _answers(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310  # http only, see checks()
            return f"{url} answers {answer.status}"
    except (urllib.error.URLError, OSError):
        return None


def _has_consumers(broker_url: str, queues: list[str]) -> str | None:
    try:
        with Connection(broker_url, connect_timeout=_TIMEOUT_S) as connection:
            for queue in queues:
                declared = connection.default_channel.queue_declare(queue, passive=True)  # type: ignore[attr-defined]
                if not declared.consumer_count:
                    return None
    except (AMQPError, KombuError, OSError):
        return None
    return f"{', '.join(queues)} is being consumed"


def _leads(database_url: str) -> str | None:
    try:
        connection = psycopg2.connect(
            re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", database_url), connect_timeout=2
        )
    except psycopg2.OperationalError:
        return None
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND CAST(classid AS bigint) << 32 | CAST(objid AS bigint) = %s",
            (Role.DISPATCHER.value,),
        )
        row = cursor.fetchone()
    return "leads" if row and row[0] else None
