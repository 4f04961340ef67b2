"""Owns ``$TIERCEL_HOME/env``: first-start secrets and the URLs in use, for ``tiercel`` in a second terminal.

The settings read it (dotenv), so what is written here must come out of python-dotenv as it went in.
"""

import base64
import contextlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

GENERATED: dict[str, Callable[[], str]] = {
    # A Fernet key (cryptography's format): 32 random bytes in URL-safe base64.
    "TIERCEL_SECRET_KEYS": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "TIERCEL_KEY_PEPPER": lambda: secrets.token_hex(32),
    "FLOWER_PASSWORD": lambda: secrets.token_hex(12),
    # Of the private servers; the settings know them only as parts of the URLs.
    "LOCAL_PASSWORD": lambda: secrets.token_hex(16),
}


def read(home: Path) -> dict[str, str]:
    """Return what the file holds, nothing if there is none."""
    path = home / "env"
    lines = path.read_text().splitlines() if path.is_file() else []
    found = (re.fullmatch(r"(\w+)='(.*)'", line) for line in lines)
    return {match[1]: re.sub(r"\\(.)", r"\1", match[2]) for match in found if match and match[2]}


def first_start_secrets(home: Path, environ: dict[str, str]) -> dict[str, str]:
    """Return the secrets: the environment's, else the file's, else new ones."""
    kept = read(home)
    return {name: environ.get(name) or kept.get(name) or make() for name, make in GENERATED.items()}


def write(home: Path, values: dict[str, str]) -> None:
    """Replace the file, readable by its owner only, at once or not at all."""
    lines = ["# Written by `make up`; the secrets are made once, the rest anew at each start."]
    lines += [f"{key}={_quoted(value)}" for key, value in sorted(values.items())]
    draft = home / "env.new"
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(home / "env")


def _quoted(value: str) -> str:
    # python-dotenv expands ${…} even between single quotes; %24 means the same in the URLs, where alone it can occur.
    escaped = value.replace("${", "%24{").replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
