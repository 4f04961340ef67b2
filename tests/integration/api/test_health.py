"""Probes: what lives and works is 0; what lives and doesn't is 1, and is ended where that was asked for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from app.coordination import heartbeat_file, liveness
from app.coordination.heartbeat_file import HeartbeatFile
from app.coordination.liveness import SILENT_S, LivenessCheck
from app.messaging.messages import queue_name
from app.models import Lane
from app.resources import Resources
from config.settings import Settings
from deploy.local.supervise import Watcher, look
from tests.support.cli_run import run
from tests.support.factories import Inbox, incoming
from tests.support.queues import Queues
from tests.support.waiting import wait_until


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives and does nothing, in a home of its own."""
    monkeypatch.setenv("TIERCEL_HOME", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as process:
        yield process
        process.kill()


def silent(name: str, process: subprocess.Popen[bytes], ago_s: float = SILENT_S + 1) -> HeartbeatFile:
    written = HeartbeatFile(name, pid=process.pid, at=time.monotonic() - ago_s)
    heartbeat_file.write(written)
    return written


def test_a_pulse_is_read_until_its_process_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    silent("beat", sleeper)
    assert [one.pid for one in heartbeat_file.read("beat")] == [sleeper.pid]
    assert heartbeat_file.read("dispatcher") == []
    sleeper.kill()
    sleeper.wait()
    assert heartbeat_file.read("beat") == []


def test_a_pulse_of_an_earlier_process_with_this_pid_is_forgotten(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    silent("beat", sleeper)
    (path,) = (tmp_path / "pulse").iterdir()
    path.write_text(path.read_text().replace('"born":"', '"born":"7'))
    assert heartbeat_file.read("beat") == []
    assert not path.exists()


def test_what_cannot_be_read_is_nobodys(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "pulse").mkdir()
    (tmp_path / "pulse" / "beat-7").write_text("half a ")
    assert heartbeat_file.read("beat") == []


def test_where_the_home_cannot_be_written_the_temporary_folder_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERCEL_HOME", "/nowhere/at/all")
    heartbeat_file.write(HeartbeatFile("beat"))
    assert [one.pid for one in heartbeat_file.read("beat")] == [os.getpid()]


@pytest.mark.parametrize("name", ["dispatcher", "beat"])
def test_a_loop_that_does_not_turn_is_ended_where_that_is_asked(
    inbox: Inbox, settings: Settings, sleeper: subprocess.Popen[bytes], name: str
) -> None:
    assert run("health", name, DATABASE_URL=settings.database_url).exit_code == 1
    silent(name, sleeper, ago_s=1)
    assert "works" in run("health", name, DATABASE_URL=settings.database_url).stdout
    silent(name, sleeper)
    result = run("health", name, DATABASE_URL=settings.database_url)
    assert (result.exit_code, sleeper.poll()) == (1, None)
    assert "no sign of life" in result.stdout
    # While the database is away, silence says nothing.
    assert run("health", name, DATABASE_URL="postgresql://127.0.0.1:1/x").exit_code == 0
    assert run("health", name, "--end", DATABASE_URL=settings.database_url).exit_code == 1
    assert sleeper.wait(10) == -signal.SIGKILL


def test_a_worker_that_takes_nothing_is_found(
    inbox: Inbox, resources: Resources, queues: Queues, settings: Settings, sleeper: subprocess.Popen[bytes]
) -> None:
    words = ("health", "worker", "low", "--watch", "20")
    assert run(*words, BROKER_URL=settings.broker_url).exit_code == 1
    silent(queue_name(Lane.LOW), sleeper, ago_s=0)
    assert run("health", "worker", "low", "--watch", "0", BROKER_URL=settings.broker_url).exit_code == 0
    # Given a message that nobody takes
    with Connection(settings.broker_url) as connection:
        resources.publisher.queues()
        connection.SimpleQueue(queue_name(Lane.LOW), no_ack=True, queue_opts={"no_declare": True})
        channel = connection.channel()
        channel.basic_publish(channel.prepare_message(b"{}"), routing_key=queue_name(Lane.LOW))  # type: ignore[attr-defined]  # amqp's
        wait_until(lambda: queues.depth(Lane.LOW) == 1)
    result = run(*words, "--end", BROKER_URL=settings.broker_url)
    assert result.exit_code == 1
    assert "1 messages wait" in result.stdout
    assert sleeper.wait(10) == -signal.SIGKILL
    queues.purge()


def test_a_broker_that_is_away_says_nothing_against_a_worker(
    settings: Settings, sleeper: subprocess.Popen[bytes]
) -> None:
    silent(queue_name(Lane.LOW), sleeper)
    assert run("health", "worker", "low", "--watch", "0", BROKER_URL="amqp://127.0.0.1:1//").exit_code == 0


def test_what_hangs_under_make_up_is_ended_and_named(
    inbox: Inbox, settings: Settings, sleeper: subprocess.Popen[bytes]
) -> None:
    inbox.accept(incoming())
    # Given a silence that began while everything answered
    judge = LivenessCheck(_reachable_since=0.0)
    silent("dispatcher", sleeper)
    queues = dict.fromkeys(Lane, 0)
    assert [pid for pid, _ in look(judge, queues, reachable=True)] == [sleeper.pid]
    assert look(LivenessCheck(), None, reachable=False) == []
    said: list[tuple[str, str]] = []
    watcher = Watcher(settings, lambda: {sleeper.pid: "dispatcher"}, lambda name, text: said.append((name, text)))
    watcher._end(sleeper.pid, "no sign of life")
    assert sleeper.wait(10) == -signal.SIGKILL
    assert said == [("dispatcher", "lives but doesn't work: no sign of life; ending it")]
    watcher._end(1, "a stranger is never ended")
    watcher.start()
    watcher.stop()


def test_whether_a_service_answers_is_told_and_never_raised(resources: Resources, settings: Settings) -> None:
    assert liveness.answers(resources.engine)
    assert liveness.ready(resources.publisher) is not None
    away = Resources.open(
        settings.model_copy(
            update={"database_url": "postgresql+psycopg2://127.0.0.1:1/x", "broker_url": "amqp://127.0.0.1:1//"}
        )
    )
    assert not liveness.answers(away.engine)
    assert liveness.ready(away.publisher) is None
    away.close()
