"""Owns what a long-lived process keeps in memory, and what of it the garbage collector looks at."""

import gc
import sys
from importlib import import_module
from importlib.util import find_spec

_TAKES_ALONG = {"structlog": "rich", "redis": "opentelemetry"}
"""Libraries that load another one where it is installed: for coloured tracebacks, and to count with."""


def load_lean() -> None:
    """Load libraries without what they take along of their own accord; call it before anything else loads them.

    Whoever wants the others can load them afterwards. A library that isn't installed (yet) is left out.
    """
    for library, extra in _TAKES_ALONG.items():
        if library not in sys.modules and extra not in sys.modules and find_spec(library):
            sys.modules[extra] = None  # type: ignore[assignment]  # to import it fails (Python's reference, 5.3.1)
            try:
                import_module(library)
            finally:
                del sys.modules[extra]


def settle() -> None:
    """Leave what is loaded by now out of every later collection: modules and their like stay until the end.

    Each full collection looked at all of it. And it writes into every object that it looks at, so that after a fork it
    gave each process a copy of its own of all that they shared (gc.freeze, https://docs.python.org/3/library/gc.html).
    What is made afterwards is looked at every 20,000 objects and not every 700: hardly any of it is in a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
