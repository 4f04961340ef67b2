"""Each fence stands where the list of fences says, with tests that are there."""

import shutil
from pathlib import Path

import pytest

from tests.faults.fences import FENCES, ROOT, Fence, take_out


@pytest.mark.parametrize("fence", FENCES, ids=lambda fence: fence.name)
def test_a_fence_can_be_taken_out_and_its_tests_exist(fence: Fence, tmp_path: Path) -> None:
    copy = tmp_path / fence.path
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / fence.path, copy)
    take_out(tmp_path, fence)
    compile(copy.read_text(), fence.path, "exec")
    assert copy.read_text() != (ROOT / fence.path).read_text()
    for test in fence.tests:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text()


def test_a_fence_that_was_moved_is_named(tmp_path: Path) -> None:
    fence = Fence("gone", "gate.py", "if newer:", "if True:", ())
    (tmp_path / "gate.py").write_text("if older: pass")
    with pytest.raises(ValueError, match=r"gone: gate\.py has its text 0 times"):
        take_out(tmp_path, fence)
