"""Owns what the garbage collector of a long-lived process looks at."""

import gc


def settle() -> None:
    """Leave what is loaded by now out of every later collection: modules and their like stay until the end.

    Each full collection looked at all of it. And it writes into every object that it looks at, so that after a fork it
    gave each process a copy of its own of all that they shared (gc.freeze, https://docs.python.org/3/library/gc.html).
    """
    gc.collect()
    gc.freeze()
