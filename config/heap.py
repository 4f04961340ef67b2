"""Owns what the garbage collector of a long-lived process looks at."""

import gc

_YOUNG = 5_000
"""A request makes hundreds of objects that are gone by its end: Python's 700 would look at each some times."""


def settle() -> None:
    """Leave what is loaded by now out of every later collection: modules and their like stay until the end.

    Each full collection looked at all of it. And it writes into every object that it looks at, so that after a fork it
    gave each process a copy of its own of all that they shared (gc.freeze, https://docs.python.org/3/library/gc.html).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
