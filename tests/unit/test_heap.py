"""Owns what the garbage collector looks at once a process has settled; in a process of its own, since it stays so."""

import os
import subprocess
import sys
from textwrap import dedent

import pytest

SETTLED = """
    import gc
    import weakref

    import flask
    from config.heap import settle

    class Ring:
        pass

    before = len(gc.get_objects())
    settle()
    assert gc.get_freeze_count() > 0.9 * before, gc.get_freeze_count()
    assert len(gc.get_objects()) < 0.1 * before, len(gc.get_objects())

    ring = Ring()
    ring.self, seen = ring, weakref.ref(ring)
    del ring
    gc.collect()
    assert seen() is None
"""


def test_what_was_loaded_is_looked_at_no_more_and_what_comes_later_is_collected() -> None:
    result = subprocess.run([sys.executable, "-c", dedent(SETTLED)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


LEAN = """
    import sys

    from config.heap import load_lean

    load_lean()
    assert {"structlog", "redis"} <= sys.modules.keys()
    found = sorted(name for name in sys.modules if name.split(".")[0] in {"rich", "opentelemetry"})
    assert not found, found
    import opentelemetry.sdk.trace
    import rich.console
    load_lean()
    assert "rich" in sys.modules
"""


def test_libraries_leave_out_what_nobody_asked_for_until_somebody_does() -> None:
    result = subprocess.run([sys.executable, "-c", dedent(LEAN)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("app", ["tasks.nothing:celery", "tasks.worker:nothing", "nothing"])
def test_a_worker_without_its_application_says_so_in_one_line(app: str, services: dict[str, str]) -> None:
    words = [sys.executable, "-m", "tasks", "--app", app, "worker"]
    result = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **services})
    assert result.returncode == 2
    assert f"there is no Celery application {app}" in result.stderr
    assert "Traceback" not in result.stderr
