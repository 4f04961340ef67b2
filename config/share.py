"""Owns how a process group's niceness counts against the other groups on one machine."""

import contextlib
import os
from pathlib import Path


def share_by_niceness() -> None:
    """Give this process's niceness to its session, if it leads one.

    Linux shares the processor between sessions first and counts niceness only inside one (sched(7), autogroup), so
    `nice` alone does nothing between process groups that each lead a session of their own.
    """
    autogroup = Path("/proc/self/autogroup")
    if os.getsid(0) == os.getpid() and autogroup.exists():
        # Not allowed everywhere; a container's own share counts then.
        with contextlib.suppress(OSError):
            autogroup.write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))
