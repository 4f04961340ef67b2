"""Owns ``make fences``: takes each fence out of a copy of the code, one at a time, and shows the test that fails then.

A fence is the line that makes a step safe to run twice, late, or half. One whose removal no test notices isn't held
by any; then the exit status is 1.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.stack import Services

ROOT = Path(__file__).parents[2]
MACHINE = (
    "tests/integration/inbox/test_crash_machine.py::"
    "test_whatever_crashes_or_freezes_each_event_ends_once_and_each_row_is_right"
)
_COPIED = (
    "app",
    "bench",
    "config",
    "deploy",
    "migrations",
    "tasks",
    "tests",
    "setup.cfg",
    "pyproject.toml",
    "Procfile",
)


@dataclass(frozen=True, slots=True)
class Fence:
    """One line that holds, and the tests that notice when it doesn't."""

    name: str
    path: str
    text: str
    """Exactly once in the file."""
    without: str
    tests: tuple[str, ...]


def _in(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{module}.py::{name}" for name in names)


FENCES: tuple[Fence, ...] = (
    Fence(
        "the claim's token before any work",
        "app/inbox/finish.py",
        "WHERE id = ANY(CAST(:ids AS uuid[])) AND claim_token = :token\n      ORDER BY",
        "WHERE id = ANY(CAST(:ids AS uuid[])) AND coalesce(CAST(:token AS text), '') <> ''\n      ORDER BY",
        (*_in("integration/workers/test_process", "test_a_frozen_worker_that_wakes_up_changes_nothing"), MACHINE),
    ),
    Fence(
        "the claim's token when an event ends alone",
        "app/inbox/finish.py",
        '_FINISH = text("""\nUPDATE event SET status = :status, outcome = :outcome, finished_at = clock_timestamp(), '
        "claim_token = NULL,\n       lease_until = NULL, error = :error, history = history || CAST(:notes AS jsonb)\n"
        "WHERE id = :id AND claim_token = :token",
        '_FINISH = text("""\nUPDATE event SET status = :status, outcome = :outcome, finished_at = clock_timestamp(), '
        "claim_token = NULL,\n       lease_until = NULL, error = :error, history = history || CAST(:notes AS jsonb)\n"
        "WHERE id = :id AND coalesce(CAST(:token AS text), '') <> ''",
        (*_in("integration/workers/test_process", "test_a_frozen_worker_that_wakes_up_changes_nothing"), MACHINE),
    ),
    Fence(
        "the claim's token when an event is given back",
        "app/inbox/finish.py",
        'error = :error, history = history || CAST(:notes AS jsonb)\nWHERE id = :id AND claim_token = :token\n""")\n'
        "_RETURN_UNTRIED",
        "error = :error, history = history || CAST(:notes AS jsonb)\nWHERE id = :id AND "
        "coalesce(CAST(:token AS text), '') <> ''\n\"\"\")\n_RETURN_UNTRIED",
        (*_in("integration/workers/test_process", "test_a_frozen_worker_that_wakes_up_changes_nothing"), MACHINE),
    ),
    Fence(
        "only what waits is claimed",
        "app/inbox/claim.py",
        "AND CAST(status AS int) = {Status.PENDING:d} AND due_at <= now()\n            FOR UPDATE SKIP LOCKED))",
        "AND due_at <= now()\n            FOR UPDATE SKIP LOCKED))",
        _in("integration/inbox/test_crash_machine", "test_what_runs_or_has_ended_is_not_claimed_again"),
    ),
    Fence(
        "the generation of a pointer",
        "app/inbox/claim.py",
        "own = [(pointer, found[pointer]) for pointer in pointers if pointer in found]",
        "by_id = {p.event_id: w for p, w in found.items()}\n    own = [(p, by_id[p.event_id]) for p in pointers if "
        "p.event_id in by_id]",
        _in("integration/workers/test_process", "test_a_pointer_of_another_generation_or_of_no_event_does_nothing"),
    ),
    Fence(
        "a spent pointer is said to be",
        "app/inbox/claim.py",
        "UPDATE event SET dispatched_at = NULL WHERE id = ANY(CAST(:ids AS uuid[])) "
        "AND CAST(status AS int) = {Status.PENDING:d}",
        "UPDATE event SET dispatched_at = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND false",
        _in(
            "integration/workers/test_process",
            "test_a_pointer_spent_on_another_event_that_fails_leaves_its_own_to_the_dispatcher",
        ),
    ),
    Fence(
        "a running event's lease isn't taken",
        "app/inbox/due.py",
        "ORDER BY lease_until LIMIT 500 FOR UPDATE SKIP LOCKED)",
        "ORDER BY lease_until LIMIT 500)",
        _in("integration/workers/test_process", "test_a_lease_is_not_taken_from_a_worker_that_still_works"),
    ),
    Fence(
        "attempts end",
        "app/inbox/due.py",
        "status = CASE WHEN attempts >= :max_attempts THEN {Status.FAILED:d} ELSE {Status.PENDING:d} END,",
        "status = {Status.PENDING:d},",
        _in("integration/workers/test_process", "test_an_event_whose_last_lease_expires_is_dead"),
    ),
    Fence(
        "leases that ended come back",
        "app/inbox/due.py",
        "WHERE id IN (SELECT id FROM event WHERE status = {Status.PROCESSING:d} AND lease_until < clock_timestamp()",
        "WHERE id IN (SELECT id FROM event WHERE status = {Status.PROCESSING:d} AND false",
        (
            *_in("integration/dispatcher/test_dispatcher", "test_an_event_whose_worker_vanished_is_published_again"),
            MACHINE,
        ),
    ),
    Fence(
        "a fact is recorded once",
        "app/handlers/apply.py",
        "new_fact = event.fact and not one.fact_known",
        "new_fact = event.fact",
        _in("integration/api/test_admin_api", "test_a_replayed_fact_ends_unchanged"),
    ),
    Fence(
        "the version gate",
        "app/handlers/version_gate.py",
        "if offered.position < current.position:",
        "if False:",
        (*_in("unit/test_gate", "test_every_order_of_arrival_ends_in_the_same_state"), MACHINE),
    ),
    Fence(
        "a final tombstone",
        "app/handlers/version_gate.py",
        "if current.final and offered.data is not None:",
        "if False:",
        _in("integration/workers/test_process", "test_elastic_path_deleted_first"),
    ),
    Fence(
        "a key is taken once",
        "app/inbox/store.py",
        "JOIN wins w ON w.event_id = e.id AND w.keys = e.keys",
        "LEFT JOIN wins w ON w.event_id = e.id AND w.keys = e.keys",
        (*_in("integration/inbox/test_store", "test_concurrent_groups_of_the_same_events_store_each_once"), MACHINE),
    ),
    Fence(
        "a source that changed verifies anew",
        "app/inbox/store.py",
        "AND s.revision = k.revision ",
        "",
        _in("integration/inbox/test_store", "test_an_event_verified_under_an_older_source_is_not_stored"),
    ),
    Fence(
        "messages that no queue took are said to be unpublished",
        "app/messaging/messages.py",
        '(0, "", queue_name(lane), True, False)',
        '(0, "", queue_name(lane), False, False)',
        _in("integration/dispatcher/test_publisher", "test_a_queue_that_was_deleted_refuses_and_is_made_again"),
    ),
    Fence(
        "a frozen leader is replaced",
        "app/coordination/leader_election.py",
        "if frozen is not None and frozen == self._suspect:",
        "if False:",
        _in("integration/dispatcher/test_leader", "test_a_leader_that_gives_no_sign_of_life_is_replaced"),
    ),
    Fence(
        "a turn of beat is taken once",
        "tasks/beat.py",
        "WHERE periodic_run.ran_at < clock_timestamp() - make_interval(secs => :period_s / 2)\n",
        "",
        _in("integration/dispatcher/test_leader", "test_a_beat_that_wakes_up_late_finds_its_turn_taken"),
    ),
    Fence(
        "a replay goes on behind what it released",
        "app/inbox/replays.py",
        'behind = "AND (received_at, id) > (:position_at, CAST(:position_id AS uuid))" if replay.position_id else ""',
        'behind = ""',
        _in("integration/inbox/test_replays", "test_a_replay_is_throttled_and_goes_on_where_it_stopped"),
    ),
    Fence(
        "a replay waits for live work",
        "app/dispatcher/loop.py",
        "if beats and self._broker_up and not any(behind):",
        "if beats and self._broker_up:",
        _in("integration/inbox/test_replays", "test_history_runs_in_the_low_lane_and_only_while_nothing_live_waits"),
    ),
    Fence(
        "a tombstone outlives the events it answers",
        "tasks/housekeeping.py",
        "AND NOT EXISTS (SELECT 1 FROM event e WHERE (e.source_id, e.entity_type, e.entity_id) =\n"
        "                      (n.source_id, n.entity_type, n.entity_id))",
        "",
        _in("integration/inbox/test_housekeeping", "test_a_tombstone_goes_when_nothing_could_undo_its_deletion"),
    ),
    Fence(
        "who says when is asked no sooner",
        "tasks/attempt.py",
        "and error.retry_after_s is None",
        "",
        _in("integration/workers/test_retries", "test_a_remotes_retry_after_is_kept_on_the_row_and_tried_no_sooner"),
    ),
)


def main() -> int:
    """Take each fence out and return the exit status."""
    parser = argparse.ArgumentParser(prog="make fences ARGS=…", description="Take each fence out, one at a time.")
    parser.add_argument("--only", default="", help="fences whose name this regular expression finds")
    words = parser.parse_args()
    wanted = [fence for fence in FENCES if re.search(words.only, fence.name)]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tiercel-fences-") as folder:
        Path(folder).chmod(0o711)
        with Services(Path(folder) / "servers", durable=False, environ={}) as services:
            env = _environment(services)
            whole = _copy(Path(folder) / "whole")
            tests = sorted({test for fence in wanted for test in fence.tests})
            if _fails(whole, tests, env):
                _say("the tests fail with every fence in its place: mend that first")
                return 1
            for number, fence in enumerate(wanted):
                copy = _copy(Path(folder) / f"copy-{number}")
                take_out(copy, fence)
                unnoticed = [test for test in fence.tests if not _fails(copy, [test], env)]
                failed += bool(unnoticed)
                noticed = [test.rpartition("::")[2] for test in fence.tests if test not in unnoticed]
                _say(f"{'UNNOTICED' if unnoticed else 'noticed  '}  {fence.name}: {', '.join(unnoticed or noticed)}")
                shutil.rmtree(copy)
    return 1 if failed else 0


def take_out(root: Path, fence: Fence) -> None:
    """Take a fence out of a copy of the code.

    Raises:
        ValueError: it isn't there exactly once.
    """
    path = root / fence.path
    code = path.read_text()
    if code.count(fence.text) != 1:
        raise ValueError(f"{fence.name}: {fence.path} has its text {code.count(fence.text)} times")
    path.write_text(code.replace(fence.text, fence.without))


def _copy(to: Path) -> Path:
    to.mkdir()
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)
    return to


def _environment(services: Services) -> dict[str, str]:
    names = ("DATABASE_URL", "BROKER_URL", "REDIS_URL", "BROKER_QUEUE_TYPE")
    given = {f"TEST_{name}": services.env[name] for name in names}
    # The copy's packages, and not those that this environment has installed.
    return {**os.environ, **given, "PYTHONDONTWRITEBYTECODE": "1"}


def _fails(root: Path, tests: Sequence[str], env: dict[str, str]) -> bool:
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    ended = subprocess.run(argv, cwd=root, env={**env, "PYTHONPATH": str(root)}, capture_output=True, check=False)
    if ended.returncode not in {0, 1}:
        # Neither passed nor failed: not collected, or interrupted.
        raise RuntimeError(ended.stdout.decode()[-2000:] + ended.stderr.decode()[-2000:])
    return ended.returncode == 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
