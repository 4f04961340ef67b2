"""Owns a traceback's fingerprint: what makes two failures the same one, whatever their values. Pure."""

import hashlib
import traceback
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a failure came from."""

    fingerprint: str
    """The same for the same error by the same way through the code; line numbers don't count, so that it outlives
    an edit elsewhere in the file."""
    where: str
    """The innermost line of our own, as in ``app/handlers/projections.py:40 in price``."""


def trace_of(error: BaseException) -> Trace:
    """Return the fingerprint of an error that was raised, and where it came from."""
    frames = [
        (_short(frame.filename), frame.name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)
    ]
    way = [f"{file}:{function}" for file, function, _ in frames]
    digest = hashlib.sha256("\n".join([type(error).__qualname__, *way]).encode()).hexdigest()
    ours = [frame for frame in frames if "site-packages" not in frame[0] and not frame[0].startswith("/")]
    file, function, line = (ours or frames or [("", "", 0)])[-1]
    return Trace(digest[:_DIGITS], f"{file}:{line} in {function}" if file else "")


def _short(filename: str) -> str:
    path = Path(filename)
    if "site-packages" in path.parts:
        # Where the packages lie is no part of what failed.
        return "site-packages/" + "/".join(path.parts[path.parts.index("site-packages") + 1 :])
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else filename
