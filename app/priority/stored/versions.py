"""Owns the policies' versions: setting one live, keeping a candidate beside it, rolling back. Never commits.

Every change appends to ``priority_change``. Changes go one after another, under a lock of the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.errors import Rejected
from app.events.incoming import JsonObject
from app.models import PolicyState, PriorityChange, PriorityPolicy
from app.priority import Compiled, Policy, PolicyInvalid, read_policy, shipped
from app.priority.stored.diff import Change, diff
from app.security import audit

SHIPPED = 0
"""The version of the policy that Tiercel ships: live until another is set."""
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('tiercel priority policy'))")


class PolicyUnknown(Rejected):
    """No priority policy of this version."""


class PolicyChanged(Rejected):
    """Another priority policy has gone live meanwhile."""


class VersionMissing(Rejected):
    """Say which version yours is made from: the header If-Match, or "version" in the body."""


class NoCandidate(Rejected):
    """There is no candidate policy."""


class PolicyAction(StrEnum):
    """What was done to the policies."""

    SET = "set"
    PROMOTED = "promoted"
    """The candidate went live."""
    ROLLED_BACK = "rolled back"
    PROPOSED = "proposed"
    """A candidate began to run in shadow."""
    WITHDRAWN = "withdrawn"
    """The candidate was taken away."""


_AUDITED = {
    PolicyAction.SET: audit.Action.POLICY_SET,
    PolicyAction.PROMOTED: audit.Action.POLICY_PROMOTED,
    PolicyAction.ROLLED_BACK: audit.Action.POLICY_ROLLED_BACK,
    PolicyAction.PROPOSED: audit.Action.POLICY_PROPOSED,
    PolicyAction.WITHDRAWN: audit.Action.POLICY_WITHDRAWN,
}


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """One version of the policy."""

    version: int
    state: PolicyState
    policy: Policy
    author: str
    note: str
    created_at: datetime | None
    live_from: datetime | None

    def compiled(self) -> Compiled:
        """Return it ready to be asked."""
        return Compiled(self.policy, self.version)


def live(session: Session) -> StoredPolicy:
    """Return the policy that decides.

    Raises:
        PolicyInvalid: this release can't read it.
    """
    return _in_state(session, PolicyState.LIVE) or _shipped(PolicyState.LIVE)


def candidate(session: Session) -> StoredPolicy:
    """Return the policy that runs in shadow.

    Raises:
        NoCandidate: there is none.
        PolicyInvalid: this release can't read it.
    """
    found = _in_state(session, PolicyState.CANDIDATE)
    if found is None:
        raise NoCandidate
    return found


def candidate_version(session: Session) -> int | None:
    """Return the number of the policy that runs in shadow, readable or not; None where there is none."""
    row = _row(session, PolicyState.CANDIDATE)
    return None if row is None else row.version


def find(session: Session, version: int) -> StoredPolicy:
    """Return one version; 0 is the shipped policy.

    Raises:
        PolicyUnknown: there is none.
        PolicyInvalid: this release can't read it.
    """
    row = session.get(PriorityPolicy, version)
    if row is not None:
        return _stored(row)
    if version != SHIPPED:
        raise PolicyUnknown(f"no priority policy {version}")
    return _shipped(PolicyState.RETIRED if _row(session, PolicyState.LIVE) else PolicyState.LIVE)


def history(session: Session, limit: int) -> Sequence[PriorityChange]:
    """Return the last changes, the newest first."""
    return session.scalars(select(PriorityChange).order_by(PriorityChange.id.desc()).limit(limit)).all()


def changes(session: Session, policy: Policy) -> list[Change]:
    """Return what setting a policy would change in the one that is live."""
    return diff(_document(session), policy.document())


def put(session: Session, policy: Policy, *, expected: int | None, author: str, note: str = "") -> StoredPolicy:
    """Make a policy the live one; ``expected`` is the version that is to be live still, None whatever it is.

    Raises:
        PolicyChanged: another version is live.
    """
    _begin(session, expected)
    return _go_live(session, policy, PolicyAction.SET, author, note)


def roll_back(
    session: Session, *, to: int | None = None, expected: int | None = None, author: str, note: str = ""
) -> StoredPolicy:
    """Make an older version's content live again, as a new version; ``to`` is the one that was live before.

    Raises:
        PolicyUnknown: there is no such version, or nothing was live before.
        PolicyChanged: another version than ``expected`` is live.
    """
    now = _begin(session, expected)
    if to is None:
        if now == SHIPPED:
            raise PolicyUnknown("no policy was ever set: there is nothing to roll back")
        # The one before that which is live now, as the history has it: of two roll-backs the second undoes the first.
        went_live = [PolicyAction.SET, PolicyAction.PROMOTED, PolicyAction.ROLLED_BACK]
        to = session.scalars(
            select(PriorityChange.was)
            .where(PriorityChange.action.in_(went_live))
            .order_by(PriorityChange.id.desc())
            .limit(1)
        ).one()
    wanted = find(session, to)
    return _go_live(session, wanted.policy, PolicyAction.ROLLED_BACK, author, note or f"back to {to}")


def propose(session: Session, policy: Policy, *, author: str, note: str = "") -> StoredPolicy:
    """Run a policy in shadow beside the live one, in place of the candidate before."""
    now = _begin(session, None)
    _retire(session, PolicyState.CANDIDATE)
    row = _add(session, policy, PolicyState.CANDIDATE, author, note)
    _log(session, PolicyAction.PROPOSED, row.version, now, diff(_document(session), row.document), author, note)
    return _stored(row)


def withdraw(session: Session, *, author: str, note: str = "") -> StoredPolicy:
    """Take the candidate away; what it has counted stays.

    Raises:
        NoCandidate: there is none.
    """
    now = _begin(session, None)
    row = _candidate_row(session)
    row.state = PolicyState.RETIRED
    _log(session, PolicyAction.WITHDRAWN, row.version, now, [], author, note)
    session.flush()
    return _stored(row)


def promote(session: Session, *, expected: int | None, author: str, note: str = "") -> StoredPolicy:
    """Make the candidate the live policy, under its own version.

    Raises:
        NoCandidate: there is none.
        PolicyChanged: another version than ``expected`` is live.
    """
    now = _begin(session, expected)
    row = _candidate_row(session)
    made = diff(_document(session), row.document)
    _retire(session, PolicyState.LIVE)
    row.state, row.live_from = PolicyState.LIVE, func.clock_timestamp()
    session.flush()
    session.refresh(row)
    _log(session, PolicyAction.PROMOTED, row.version, now, made, author, note)
    return _stored(row)


def _begin(session: Session, expected: int | None) -> int:
    """Wait for other changes to end and return the version that is live then."""
    session.execute(_LOCK)
    row = _row(session, PolicyState.LIVE)
    now = SHIPPED if row is None else row.version
    if expected is not None and expected != now:
        raise PolicyChanged(f"version {now} is live, not {expected}: look at it, and set yours upon it")
    return now


def _go_live(session: Session, policy: Policy, action: PolicyAction, author: str, note: str) -> StoredPolicy:
    made = changes(session, policy)
    was = _row(session, PolicyState.LIVE)
    _retire(session, PolicyState.LIVE)
    row = _add(session, policy, PolicyState.LIVE, author, note)
    _log(session, action, row.version, SHIPPED if was is None else was.version, made, author, note)
    return _stored(row)


def _add(session: Session, policy: Policy, state: PolicyState, author: str, note: str) -> PriorityPolicy:
    newest = session.scalars(select(func.max(PriorityPolicy.version))).one() or SHIPPED
    row = PriorityPolicy(
        version=newest + 1,
        state=state,
        document=policy.document(),
        author=author,
        note=note,
        live_from=func.clock_timestamp() if state is PolicyState.LIVE else None,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def _retire(session: Session, state: PolicyState) -> None:
    row = _row(session, state)
    if row is not None:
        row.state = PolicyState.RETIRED
        session.flush()


def _log(  # noqa: PLR0917  # one change's facts
    session: Session, action: PolicyAction, version: int, was: int, made: list[Change], author: str, note: str
) -> None:
    change = PriorityChange(action=action.value, version=version, was=was, diff=made, author=author, note=note)
    session.add(change)
    session.flush()
    audit.record(session, _AUDITED[action], f"policy:{version}", actor=author, was=was, note=note)


def _row(session: Session, state: PolicyState) -> PriorityPolicy | None:
    return session.scalars(select(PriorityPolicy).filter_by(state=state)).one_or_none()


def _candidate_row(session: Session) -> PriorityPolicy:
    row = _row(session, PolicyState.CANDIDATE)
    if row is None:
        raise NoCandidate
    return row


def _document(session: Session) -> JsonObject:
    row = _row(session, PolicyState.LIVE)
    return shipped().policy.document() if row is None else row.document


def _in_state(session: Session, state: PolicyState) -> StoredPolicy | None:
    row = _row(session, state)
    return None if row is None else _stored(row)


def _shipped(state: PolicyState) -> StoredPolicy:
    return StoredPolicy(SHIPPED, state, shipped().policy, "tiercel", "the policy that Tiercel ships", None, None)


def _stored(row: PriorityPolicy) -> StoredPolicy:
    try:
        policy = read_policy(row.document)
    except PolicyInvalid as error:
        raise PolicyInvalid(f"version {row.version} can't be read by this release: {error}") from None
    return StoredPolicy(row.version, row.state, policy, row.author, row.note, row.created_at, row.live_from)
