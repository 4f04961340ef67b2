"""``python -m tasks``: what it does before Celery."""

import os
import subprocess
import sys

import pytest

_RUN = """
import os, sys
import tasks.worker
from tasks.__main__ import tasks
before, wanted = sys.argv[1:]
os.setpriority(os.PRIO_PROCESS, 0, int(before))
given = ["--app", "tasks.worker:celery", "worker", "--help"]
tasks((["--niceness", wanted] if int(wanted) else []) + given, standalone_mode=False)
print("niceness", os.getpriority(os.PRIO_PROCESS, 0))
"""


@pytest.mark.parametrize(
    ("before", "wanted", "has"),
    [
        pytest.param(0, 7, 7, id="gives way"),
        pytest.param(3, 7, 10, id="gives way further than whoever started it"),
        pytest.param(3, -5, 3, id="may not go first, and works all the same"),
        pytest.param(2, 0, 2, id="isn't told, and keeps what nice gave it"),
    ],
)
def test_a_worker_has_the_niceness_that_it_is_given_where_it_may(
    services: dict[str, str], before: int, wanted: int, has: int
) -> None:
    # Root without just that capability: as another user it might not even read the checkout (a folder of mode 700).
    barred = ["setpriv", "--bounding-set", "-sys_nice"] if os.getuid() == 0 and wanted < before else []
    told = [*barred, sys.executable, "-c", _RUN, str(before), str(wanted)]
    ran = subprocess.run(told, env={**os.environ, **services}, capture_output=True, text=True, check=True)
    assert ran.stdout.endswith(f"niceness {has}\n")
