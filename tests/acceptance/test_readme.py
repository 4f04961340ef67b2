"""The README's own lines, run as they stand there, beside a running system."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from app.db.engine import transaction
from app.sources import configured
from tests.acceptance.conftest import System
from tests.support.shop import wait_for

ROOT = Path(__file__).parents[2]


def blocks(title: str) -> list[str]:
    """Return the shell blocks below a heading of README.md."""
    section = re.split(
        r"^## ", (ROOT / "README.md").read_text().partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE
    )[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def bash(lines: str, system: System) -> str:
    env = {**os.environ, "PORT": system.url.rpartition(":")[2]}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.skipif(
    not (ROOT / ".venv/bin/tiercel").exists(), reason="the README's lines want .venv, as make makes it"
)
def test_the_readmes_lines_take_a_new_user_to_a_first_event_of_their_own(system: System) -> None:
    with transaction(system.engine) as session:
        for source in configured.listed(session):
            if source.name in {"demo", "shop"}:
                configured.remove(session, source.name)
    short, by_hand, look = blocks("Send an event")
    printed = bash(short, system)
    assert "202 " in printed
    assert "demo" in printed
    printed = bash(by_hand, system)
    assert "HTTP/1.1 202" in printed
    assert '"status":"pending"' in printed
    url = 'URL="http://127.0.0.1:${PORT:-8000}"\n'
    wait_for(
        lambda: system.get("/v1/entities/shop/price/sku-1").status_code,
        lambda status: status == 200,
    )
    printed = bash(url + look, system)
    assert '"data":{"amount":"19.90","currency":"EUR","id":"sku-1"}' in printed
    assert '"items":[{"id":' in printed
