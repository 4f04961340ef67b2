"""Owns what can go wrong on the way up; each is shown to the operator as one line, without a traceback."""

from pathlib import Path


class CannotStart(Exception):  # noqa: N818  # named for the fact, like every error here
    """Something that Tiercel needs is missing, taken or broken."""


class ProgramMissing(CannotStart):
    """A server program is not on this machine."""


class AlreadyRunning(CannotStart):
    """Another process uses this TIERCEL_HOME."""


class ServiceFailed(CannotStart):
    """A private server ended or stayed silent while it was being started."""

    def __init__(self, name: str, fact: str, log: Path) -> None:
        tail = log.read_text(errors="replace").splitlines()[-12:] if log.is_file() else []
        super().__init__("\n".join([f"{name}: {fact}; its log is {log}:", *(f"    {line}" for line in tail)]))
