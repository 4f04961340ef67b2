"""Owns what the garbage collector looks at once a process has settled; in a process of its own, since it stays so."""

import subprocess
import sys
from textwrap import dedent

SETTLED = """
    import gc
    import weakref

    import flask
    from config.heap import settle

    class Ring:
        pass

    before = len(gc.get_objects())
    settle()
    assert gc.get_freeze_count() > 0.9 * before, gc.get_freeze_count()
    assert len(gc.get_objects()) < 0.1 * before, len(gc.get_objects())

    ring = Ring()
    ring.self, seen = ring, weakref.ref(ring)
    del ring
    gc.collect()
    assert seen() is None
"""


def test_what_was_loaded_is_looked_at_no_more_and_what_comes_later_is_collected() -> None:
    result = subprocess.run([sys.executable, "-c", dedent(SETTLED)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
