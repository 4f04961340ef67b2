"""Owns the private servers of a test run, and that no test ever reaches the servers of whoever runs it.

A pytest plugin: ``pytest_plugins = ("tests.support.services",)`` in tests/conftest.py. From the first moment the
settings' variables are gone from the environment and TIERCEL_HOME is a folder of this run's own. The session fixture
``services`` starts PostgreSQL, RabbitMQ and Redis there (no fsync) and puts their URLs into the environment, unless
TEST_DATABASE_URL, TEST_BROKER_URL, TEST_REDIS_URL name servers whose data may be destroyed.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Settings, settings
from deploy.local.errors import AlreadyRunning, ProgramMissing
from deploy.local.processes import birth
from deploy.local.stack import Services

GIVEN = ("DATABASE_URL", "BROKER_URL", "BROKER_MANAGEMENT_URL", "REDIS_URL", "BROKER_QUEUE_TYPE")


def _runs() -> Path:
    folder = Path(tempfile.gettempdir()) / f"tiercel-tests-{os.geteuid()}"
    # Open to traverse: PostgreSQL runs as another user when the tests run as root.
    folder.mkdir(mode=0o711, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        pytest.exit(f"{folder} isn't this user's folder; remove it", returncode=4)
    return folder


def _clean_up_after_killed_runs(runs: Path) -> None:
    for home in runs.iterdir():
        if birth(int(home.name.partition("-")[0])) is not None:
            continue
        abandoned = Services(home, environ={})
        with contextlib.suppress(AlreadyRunning):
            abandoned.lock()
            abandoned.stop()
            abandoned.destroy()


def pytest_configure(config: pytest.Config) -> None:
    """Cut the run off from the environment's settings, and from a `make up` beside it."""
    user_database = os.environ.get("DATABASE_URL")
    if user_database and user_database == os.environ.get("TEST_DATABASE_URL"):
        pytest.exit("TEST_DATABASE_URL is DATABASE_URL: the tests destroy what is in it", returncode=4)
    for name, field in Settings.model_fields.items():
        os.environ.pop(field.alias or name.upper(), None)
    for name in [name for name in os.environ if name.lower() in Settings.model_fields]:
        os.environ.pop(name)
    home = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=_runs()))
    home.chmod(0o711)
    os.environ["TIERCEL_HOME"] = str(home)
    settings.cache_clear()
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


@pytest.fixture(scope="session")
def services() -> Iterator[dict[str, str]]:
    """Run the servers for the session; the value is the environment that leads to them, already in os.environ."""
    given = {name: os.environ[f"TEST_{name}"] for name in GIVEN if os.environ.get(f"TEST_{name}")}
    home = Path(os.environ["TIERCEL_HOME"])
    _clean_up_after_killed_runs(home.parent)
    private = Services(home, durable=False, environ=given)
    try:
        env = private.start()
    except ProgramMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    os.environ.update(env)
    settings.cache_clear()
    yield env
    private.stop()
    private.destroy()
