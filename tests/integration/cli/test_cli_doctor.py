"""The command line: doctor, with things in order and out of order."""

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from kombu import Connection
from sqlalchemy import Engine

from app.cli import checks
from app.cli.state import SystemState
from app.db.engine import transaction
from app.messaging.messages import queue_name
from app.messaging.publisher import Publisher
from app.models import Lane, Scope
from app.security import api_keys
from config.settings import Settings
from tests.support.cli_run import process, run
from tests.support.factories import Inbox

NOWHERE = {
    "DATABASE_URL": "postgresql://u:hush@127.0.0.1:1/x",
    "BROKER_URL": "amqp://u:hush@127.0.0.1:1//",
    "REDIS_URL": "redis://:hush@127.0.0.1:1/0",
}
NONSENSE = {"DATABASE_URL": "hush", "BROKER_URL": "hush://", "REDIS_URL": "hush"}


def _doctor(**env: str) -> tuple[int, dict[str, Any]]:
    result = run("doctor", "--json", **env)
    assert "hush" not in result.output
    return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)}


@pytest.fixture
def port() -> Iterator[str]:
    """A port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


@pytest.fixture
def workers(settings: Settings) -> Iterator[None]:
    """A consumer on each lane's queue."""
    with Publisher(settings.broker_url, settings.broker_queue_type) as publisher:
        publisher.queues()
    with Connection(settings.broker_url) as connection:
        channel: Any = connection.channel()
        for lane in Lane:
            channel.basic_consume(queue_name(lane), callback=lambda _: None, no_ack=False)
        yield


def test_with_everything_in_order_all_is_ok(inbox: Inbox, workers: None, port: str) -> None:
    inbox.sql("UPDATE lane SET dispatcher_seen_at = clock_timestamp()")
    code, found = _doctor(PORT=port, FLOWER_PORT=port)
    assert {check["state"] for check in found.values()} == {"ok"}, found
    assert code == 0
    assert {"settings", "database", "schema", "clock", "dispatcher", "vault", "broker", "redis"} < set(found)
    assert {f"workers.{lane.name.lower()}" for lane in Lane} < set(found)
    assert all(check["advice"] is None for check in found.values())
    assert "1 listen on events.high" in run("doctor").stdout


def test_without_workers_and_dispatcher_it_says_how_to_start_them(engine: Engine) -> None:
    code, found = _doctor(PORT="1", FLOWER_PORT="1")
    wrong = {name for name, check in found.items() if check["state"] == "wrong"}
    assert wrong == {"dispatcher", "workers.high", "workers.medium", "workers.low"}
    assert {name for name, check in found.items() if check["state"] == "warning"} == {"receiver", "flower"}
    assert all("Procfile" in found[name]["advice"] for name in wrong)
    assert code == 1


def test_a_missing_flower_or_redis_is_a_warning_only(inbox: Inbox, workers: None, port: str) -> None:
    inbox.sql("UPDATE lane SET dispatcher_seen_at = clock_timestamp()")
    code, found = _doctor(PORT=port, FLOWER_PORT="1", REDIS_URL=NOWHERE["REDIS_URL"])
    assert (found["redis"]["state"], found["flower"]["state"], code) == ("warning", "warning", 0)


@pytest.mark.parametrize("env", [NOWHERE, NONSENSE], ids=["nowhere", "nonsense"])
def test_services_that_do_not_answer_are_named_with_what_to_do_and_no_password(env: dict[str, str]) -> None:
    code, found = _doctor(**env)
    assert code == 1
    assert (found["database"]["state"], found["broker"]["state"], found["redis"]["state"]) == (
        "wrong",
        "wrong",
        "warning",
    )
    assert "DATABASE_URL" in found["database"]["advice"]
    skipped = {name for name, check in found.items() if check["state"] == "skipped"}
    of_the_database = {"schema", "clock", "permissions", "dispatcher", "vault", "keys"}
    assert skipped == of_the_database | {*(f"workers.{lane.name.lower()}" for lane in Lane)}


def test_settings_that_cannot_be_read_are_the_whole_answer() -> None:
    code, found = _doctor(PORT="many")
    assert (code, list(found), found["settings"]["state"]) == (1, ["settings"], "wrong")
    assert "PORT" in found["settings"]["detail"]


def test_a_schema_that_is_behind_asks_for_the_upgrade(inbox: Inbox) -> None:
    inbox.sql("ALTER TABLE alembic_version RENAME TO alembic_version_away")
    try:
        code, found = _doctor()
    finally:
        inbox.sql("ALTER TABLE alembic_version_away RENAME TO alembic_version")
    assert (code, found["schema"]["state"], found["vault"]["state"]) == (1, "wrong", "skipped")
    assert "tiercel db upgrade" in found["schema"]["advice"]


def test_a_table_that_is_gone_is_found(inbox: Inbox) -> None:
    inbox.sql("ALTER TABLE lane RENAME TO lane_away")
    try:
        code, found = _doctor()
    finally:
        inbox.sql("ALTER TABLE lane_away RENAME TO lane")
    assert (code, found["dispatcher"]["state"]) == (1, "wrong")


def test_a_secret_that_no_key_opens_names_its_source(inbox: Inbox) -> None:
    code, found = _doctor(TIERCEL_SECRET_KEYS=Fernet.generate_key().decode())
    assert (code, found["vault"]["state"]) == (1, "wrong")
    assert "shop" in found["vault"]["detail"]


def test_missing_keys_are_named(engine: Engine) -> None:
    _, found = _doctor(TIERCEL_SECRET_KEYS="")
    assert found["vault"]["state"] == "wrong"
    assert "TIERCEL_SECRET_KEYS" in found["vault"]["advice"]


def test_queues_of_another_type_are_named(engine: Engine, settings: Settings, workers: None) -> None:
    other = "quorum" if settings.broker_queue_type.value == "classic" else "classic"
    code, found = _doctor(BROKER_QUEUE_TYPE=other)
    assert (code, found["broker"]["state"]) == (1, "wrong")
    assert "BROKER_QUEUE_TYPE" in found["broker"]["advice"]


@pytest.mark.parametrize(
    ("ahead_s", "state"),
    [(0.2, SystemState.OK), (-5.0, SystemState.WARNING), (61.0, SystemState.WRONG), (-61.0, SystemState.WRONG)],
)
def test_a_clock_that_is_off_is_a_warning_and_wrong_where_signatures_fail(ahead_s: float, state: SystemState) -> None:
    assert checks._clock(ahead_s).state is state


def test_the_real_program_prints_a_table_and_exits_1_where_something_is_wrong(engine: Engine) -> None:
    done = process("doctor")
    assert done.returncode == 1
    assert "what to do" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"BIND": "10.0.0.1"}, "TRUSTED_PROXIES"),
        ({"LOG_LEVEL": "debug"}, "LOG_LEVEL"),
        ({"TIERCEL_KEY_PEPPER": "short"}, "TIERCEL_KEY_PEPPER"),
        ({"FLOWER_PASSWORD": ""}, "FLOWER_PASSWORD"),
        ({"RETRY_CAP_S": "0.5"}, "RETRY_CAP_S"),
    ],
)
def test_settings_that_go_badly_together_are_a_warning(inbox: Inbox, env: dict[str, str], said: str) -> None:
    _, found = _doctor(**env)
    assert found["settings"]["state"] == "warning"
    assert said in found["settings"]["detail"]
    assert found["settings"]["advice"]


@pytest.mark.parametrize("bind", ["localhost", "127.0.0.1", "::1"])
def test_loopback_needs_no_proxies(inbox: Inbox, bind: str) -> None:
    assert _doctor(BIND=bind)[1]["settings"]["state"] == "ok"


def test_a_file_of_secrets_that_others_can_read_is_wrong(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    for name in ("database_url", "broker_url", "redis_url"):
        monkeypatch.setenv(name.upper(), getattr(settings, name))
    monkeypatch.setenv("TIERCEL_HOME", str(tmp_path))
    assert "environment" in _doctor()[1]["files"]["detail"]
    env = tmp_path / "env"
    env.write_text("")
    env.chmod(0o644)
    assert _doctor()[1]["files"]["state"] == "wrong"
    env.chmod(0o600)
    assert _doctor()[1]["files"]["state"] == "ok"


def test_a_key_that_ends_soon_is_named(inbox: Inbox) -> None:
    with transaction(inbox.engine) as session:
        api_keys.create(session, inbox.vault, "ending", Scope.READ)
    assert "1 open the API, 0 of them as admin" in _doctor()[1]["keys"]["detail"]
    inbox.sql("UPDATE api_key SET expires_at = now() + interval '1 day'")
    assert "ending" in _doctor()[1]["keys"]["detail"]


def test_secrets_of_an_older_key_ask_for_a_rotation(inbox: Inbox) -> None:
    both = f"{Fernet.generate_key().decode()},{os.environ['TIERCEL_SECRET_KEYS']}"
    found = _doctor(TIERCEL_SECRET_KEYS=both)[1]["vault"]
    assert (found["state"], "tiercel secrets rotate" in found["advice"]) == ("warning", True)


def test_a_role_that_may_not_write_is_named(inbox: Inbox, settings: Settings) -> None:
    inbox.sql("DROP ROLE IF EXISTS reader")
    inbox.sql("CREATE ROLE reader LOGIN PASSWORD 'reader' IN ROLE pg_read_all_data")
    try:
        url = re.sub(r"//[^@]*@", "//reader:reader@", settings.database_url)
        found = _doctor(DATABASE_URL=url)[1]["permissions"]
    finally:
        inbox.sql("DROP ROLE reader")
    assert found["state"] == "wrong"
    assert "INSERT on event" in found["detail"]
