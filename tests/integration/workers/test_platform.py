"""Owns that Procfile, docker-compose.yml, Makefile and settings say the same, and how `make up` behaves."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from dotenv import dotenv_values
from sqlalchemy import Engine, text

from app.messaging.messages import queue_name
from app.models import Lane
from config.settings import Settings
from deploy.local import ports, procfile, secrets_file
from deploy.local.processes import birth, end_leftovers, record
from deploy.local.rabbitmq import queue_type
from tests.support.waiting import free_port, wait_until

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
PROCFILE = procfile.read(ROOT / "Procfile")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVERS = {"postgresql", "rabbitmq", "redis", "prometheus", "alertmanager", "grafana", "collector", "jaeger"}


def test_compose_is_what_the_published_schema_allows() -> None:
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_compose_runs_each_line_of_the_procfile_and_nothing_else_of_ours() -> None:
    ours = {name: service["command"] for name, service in COMPOSE["services"].items() if name not in SERVERS}
    assert ours.pop("migrate") == "tiercel db upgrade"
    assert ours.pop("metrics") == "tiercel metrics --serve 9464"
    assert ours == PROCFILE


def test_compose_sets_only_variables_that_the_settings_read() -> None:
    known = {(field.alias or name).upper() for name, field in Settings.model_fields.items()}
    for name, service in COMPOSE["services"].items():
        if name not in SERVERS:
            assert set(service["environment"]) <= known, name


def test_compose_publishes_ports_on_loopback_only() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_collector_has_what_its_pipelines_name_and_listens_where_compose_says() -> None:
    collector = yaml.safe_load((ROOT / "deploy" / "otel" / "collector.yml").read_text())
    (pipeline,) = collector["service"]["pipelines"].values()
    for kind, names in pipeline.items():
        assert set(names) == set(collector[kind])
    assert set(collector["service"]["extensions"]) == set(collector["extensions"])
    service = COMPOSE["services"]["collector"]
    mounted = {volume.split(":")[1]: ROOT / volume.split(":")[0] for volume in service["volumes"]}
    assert mounted[service["command"].removeprefix("--config=")].is_file()
    assert collector["exporters"]["otlp/jaeger"]["endpoint"].partition(":")[0] in COMPOSE["services"]
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].partition(":")[2]
    assert f"http://collector:{port}" in (ROOT / "docs" / "traces.md").read_text()


def test_compose_takes_no_secret_from_the_file() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASS|SECRET|PEPPER", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name


def test_the_procfile_has_a_worker_of_its_own_for_each_lane() -> None:
    queues = [match[1] for line in PROCFILE.values() if (match := re.search(r"--queues (\S+)", line))]
    assert sorted(queues) == sorted(queue_name(lane) for lane in Lane)
    names = [match[1] for line in PROCFILE.values() if (match := re.search(r"--hostname (\S+)", line))]
    assert len(set(names)) == len(queues)


def test_the_procfile_needs_no_shell() -> None:
    # docker-compose.yml starts the same lines without one.
    for line in PROCFILE.values():
        assert not set(line) & set("$;|&<>()`'\"*?#~"), line
        assert shlex.join(shlex.split(line)) == line


def test_every_target_of_the_makefile_is_listed_by_help() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("up", "test", "check", "demo", "bench", "soak", "test-versions", "lock", "clean"):
        assert f"make {target} " in said


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("3.10.8", "classic"),
        ("4.0.5", "classic"),
        ("4.2.9", "classic"),
        ("4.3.0", "quorum"),
        ("5.0", "quorum"),
        ("", "classic"),
    ],
)
def test_quorum_queues_are_used_from_the_rabbitmq_on_that_has_strict_priorities_in_them(
    version: str, expected: str
) -> None:
    assert queue_type(version) == expected


@pytest.mark.parametrize("value", ["plain", "p@ss'word", "back\\slash", 'dou"ble', "ha#sh", "sp ace", "$HOME", "é"])
def test_a_value_survives_the_env_file(tmp_path: Path, value: str) -> None:
    secrets_file.write(tmp_path, {"FLOWER_PASSWORD": value})
    assert secrets_file.read(tmp_path) == {"FLOWER_PASSWORD": value}
    assert dotenv_values(tmp_path / "env") == {"FLOWER_PASSWORD": value}
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600


def test_secrets_are_made_once(tmp_path: Path) -> None:
    first = secrets_file.first_start_secrets(tmp_path, {})
    secrets_file.write(tmp_path, first)
    assert secrets_file.first_start_secrets(tmp_path, {}) == first
    assert secrets_file.first_start_secrets(tmp_path, {"FLOWER_PASSWORD": "mine"})["FLOWER_PASSWORD"] == "mine"


def test_ports_are_remembered_and_a_taken_one_is_chosen_anew(tmp_path: Path) -> None:
    first = ports.choose(tmp_path)
    assert ports.choose(tmp_path) == first
    with socket.create_server(("127.0.0.1", first["redis"])):
        second = ports.choose(tmp_path)
    assert second["redis"] != first["redis"]
    assert {name: port for name, port in second.items() if name != "redis"} == {
        name: port for name, port in first.items() if name != "redis"
    }


def test_what_a_killed_run_left_is_ended_and_a_stranger_with_the_same_pid_is_not(tmp_path: Path) -> None:
    left, stranger = (subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(2))
    record(tmp_path, "left", left.pid, signal.SIGTERM)
    (tmp_path / "run" / "stranger").write_text(f"{stranger.pid} 1 15\n")
    try:
        assert end_leftovers(tmp_path) == ["left"]
        assert left.wait() == -signal.SIGTERM
        assert birth(stranger.pid)
        assert not list((tmp_path / "run").iterdir())
    finally:
        stranger.kill()
        stranger.wait()


def test_gunicorn_accepts_its_configuration(services: dict[str, str]) -> None:
    argv = [*shlex.split(PROCFILE["web"]), "--print-config"]
    env = procfile.environment({**services, "PORT": "18123"}, Path(os.environ["TIERCEL_HOME"]), BIN)
    said = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    settings = dict(re.findall(r"^(\w+) += (.*)$", said, re.MULTILINE))
    assert settings["bind"] == "['127.0.0.1:18123']"
    assert settings["worker_class"] == "app.web.server.worker.EpollWorker"
    assert settings["preload_app"] == "False"
    assert settings["control_socket_disable"] == "True"


def test_whole_pages_in_the_servers_log_are_compressed_where_it_can(engine: Engine) -> None:
    with engine.connect() as connection:
        query = text("SELECT setting, enumvals FROM pg_settings WHERE name = 'wal_compression'")
        setting, known = connection.execute(query).one()
    assert setting == "lz4" or "lz4" not in (known or ())


def test_flower_does_not_start_without_a_password(services: dict[str, str], tmp_path: Path) -> None:
    env = procfile.environment({**services, "FLOWER_PASSWORD": ""}, tmp_path, BIN)
    argv = shlex.split(PROCFILE["flower"])
    result = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert "FLOWER_PASSWORD is empty" in result.stderr


def test_flower_asks_for_the_password_shows_the_broker_and_changes_nothing(
    services: dict[str, str], tmp_path: Path
) -> None:
    # Given a Flower as the Procfile starts it
    values = {**services, "FLOWER_PORT": str(free_port()), "FLOWER_USER": "ops", "FLOWER_PASSWORD": "a b:c'd"}
    base = f"http://127.0.0.1:{values['FLOWER_PORT']}"
    flower = subprocess.Popen(
        shlex.split(PROCFILE["flower"]), cwd=ROOT, env=procfile.environment(values, tmp_path, BIN)
    )
    try:
        wait_until(lambda: _status(f"{base}/healthcheck") == 200)
        # Then its pages and its API ask for the password
        known = ("ops", "a b:c'd")
        for page in ("/", "/workers", "/broker", "/api/workers"):
            assert _status(base + page) == 401
            assert _status(base + page, auth=("ops", "wrong")) == 401
            assert _status(base + page, auth=known) == 200
        # And the broker's own API answers through it, and nothing can be changed
        assert _status(f"{base}/api/queues/length", auth=known) == 200
        refused = requests.post(f"{base}/api/worker/shutdown/high@x", auth=known, timeout=10)
        assert (refused.status_code, refused.text) == (403, "Read only mode is enabled")
    finally:
        flower.terminate()
        flower.wait(30)


def _status(url: str, auth: tuple[str, str] | None = None) -> int | None:
    try:
        return requests.get(url, auth=auth, timeout=10).status_code
    except requests.ConnectionError:
        return None
