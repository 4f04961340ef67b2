"""Owns the npm packages: installs them as locked, once, and asks them."""

import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
HOME = HERE.parents[1] / ".tiercel" / "foreign"
FILES = ("package.json", "package-lock.json", "verifiers.mjs")
_INSTALL_S, _ASK_S = 100, 60


def ask(question: dict[str, Any]) -> dict[str, Any]:
    """Return the packages' answer. Skips without node; without the packages it skips locally and fails in CI."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm aren't here")
    _install(npm)
    done = subprocess.run(
        [node, "verifiers.mjs"],
        cwd=HOME,
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
        timeout=_ASK_S,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _install(npm: str) -> None:
    wanted = sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()
    stamp = HOME / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    HOME.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, HOME)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
        why = done.stderr[-500:] if done.returncode else None
    except subprocess.TimeoutExpired:
        why = "npm ci takes too long"
    if why is not None:
        if os.environ.get("CI"):
            pytest.fail(f"npm ci: {why}")
        pytest.skip(f"npm ci: {why}")
    stamp.write_text(wanted)
