"""Owns the policies of one process: the live one and the candidate, read once a second, compiled once.

While the database is away, or what it holds can't be read by this release, the last good one goes on; before there was
any, the shipped one.
"""

import structlog
from sqlalchemy import text

from app.db.pipeline import Executor
from app.events.incoming import Incoming
from app.models import PolicyState
from app.priority import Compiled, Decision, PolicyInvalid, read_policy, shipped
from app.priority.stored import shadow
from app.priority.stored.shadow import Shadow

_LOG = structlog.get_logger()
# The document travels only where this process doesn't have it: a version's never changes.
_READ = text(f"""
SELECT version, state, CASE WHEN version = ANY(CAST(:known AS int[])) THEN NULL ELSE document END
FROM priority_policy WHERE state IN ({PolicyState.LIVE:d}, {PolicyState.CANDIDATE:d})
""")


class LivePolicies:
    """What decides in this process, and what runs in shadow."""

    def __init__(self) -> None:
        self.live: Compiled = shipped()
        self.shadow: Shadow | None = None
        self._unusable: set[int] = set()
        self._left: dict[shadow.Cell, int] = {}

    def has_counts(self) -> bool:
        """Whether counts are there that aren't kept yet."""
        return bool(self._left) or (self.shadow is not None and self.shadow.counted)

    def decide(self, incoming: Incoming, *, kind: str, at: float) -> Decision:
        """Return where an event goes now (``at``, Unix seconds); the candidate is asked beside it."""
        live, beside = self.live, self.shadow
        decided = live.decide(incoming, kind=kind, at=at)
        if beside is not None:
            beside.compare(live, decided, incoming, kind=kind, at=at)
        return decided

    def read(self, session: Executor) -> None:
        """Take over what is live and what is candidate now; for one thread."""
        beside = self.shadow
        have = {one.version: one for one in (self.live, beside and beside.candidate) if one}
        found: dict[PolicyState, Compiled] = {}
        known = [*have, *self._unusable]
        empty = True
        for version, state, document in session.execute(_READ, {"known": known}):
            empty = empty and PolicyState(state) is not PolicyState.LIVE
            compiled = have.get(version) or (None if document is None else self._compile(version, document))
            if compiled is not None:
                found[PolicyState(state)] = compiled
        self._take_over(found, empty=empty)

    def keep_counts(self, session: Executor) -> None:
        """Keep what the shadow has counted; what can't be kept now is kept the next time. For one thread."""
        beside = self.shadow
        cells = self._left
        for cell, events in (beside.take() if beside is not None else {}).items():
            cells[cell] = cells.get(cell, 0) + events
        if cells:
            self._left = cells
            shadow.add(session, cells)

    def counts_are_kept(self) -> None:
        """Say that what ``keep_counts`` wrote has been committed."""
        self._left = {}

    def _take_over(self, found: dict[PolicyState, Compiled], *, empty: bool) -> None:
        live = found.get(PolicyState.LIVE, shipped() if empty else self.live)
        if live is not self.live:
            _LOG.info("a priority policy is live", action="policy_live", version=live.version)
        self.live = live
        candidate = found.get(PolicyState.CANDIDATE)
        beside = self.shadow
        if candidate is not (beside and beside.candidate):
            if beside is not None:
                for cell, events in beside.take().items():
                    self._left[cell] = self._left.get(cell, 0) + events
            self.shadow = None if candidate is None else Shadow(candidate)

    def _compile(self, version: int, document: object) -> Compiled | None:
        try:
            return Compiled(read_policy(document), version)
        except PolicyInvalid as error:
            self._unusable.add(version)
            _LOG.error(  # noqa: TRY400  # the text says it all
                "a priority policy can't be read", action="policy_unusable", version=version, error=str(error)
            )
            return None
