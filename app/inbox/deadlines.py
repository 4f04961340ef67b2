"""Owns deadlines: which events are too late to be applied, and which go ahead because they soon would be.

A deadline is an event's own ``expires_at``, or the end of its campaign. Age is none: nothing here looks at how long an
event has waited, so nothing lifts a log into the high lane.
"""

from sqlalchemy import text

from app.db.pipeline import Executor
from app.events.incoming import Operation
from app.models import Outcome, Status

# A campaign's end ends what would still do something for it: states of other things, and its own triggers. It ends no
# fact of anything else (a lead or a redemption has happened), no delete, and nothing that tells about the campaign
# itself: a campaign whose end is moved must learn of it.
_OF_CAMPAIGN = f"event.operation <> {Operation.DELETE:d} AND event.fact = (event.entity_type = 'campaign')"
_ITS_CAMPAIGN = (
    "c.source_id = event.source_id AND c.entity_type = 'campaign' AND c.entity_id = event.campaign AND c.key = ''"
)

EXPIRED = f"""CASE WHEN event.expires_at <= clock_timestamp() THEN 'its expires_at has passed'
     WHEN event.campaign IS NOT NULL AND {_OF_CAMPAIGN} AND EXISTS (
         SELECT 1 FROM campaign c WHERE {_ITS_CAMPAIGN} AND c.ends_at <= clock_timestamp())
     THEN 'its campaign has ended' END"""
"""Why an event is too late, or null: an expression over the row of ``event``."""

_BATCH = 500
# Ends what waited past its own expires_at, a batch at a time.
_EXPIRE = text(f"""
UPDATE event SET status = {Status.COMPLETED:d}, outcome = {Outcome.EXPIRED:d}, finished_at = clock_timestamp(),
    parked_at = NULL,
       history = history || jsonb_build_array(jsonb_build_object(
           'step', 'expired', 'at', clock_timestamp(), 'why', 'its expires_at has passed'))
WHERE id IN (SELECT id FROM event
             WHERE status = {Status.PENDING:d} AND expires_at <= now()
                 AND promoted = ANY(CAST('{{0,1,2}}' AS smallint[]))
             LIMIT {_BATCH} FOR UPDATE SKIP LOCKED)
RETURNING id
""")
# Two steps: to the front of its lane, then one lane up, once. What is in a queue already runs soon enough.
# dispatched_at stands behind coalesce: else the planner, whose figures are always old here, takes an index over the
# whole backlog for almost empty.
_UP = "CASE WHEN CAST(:step AS int) = 2 THEN greatest(lane - 1, 0) ELSE lane END"
# Moves up what nears its deadline.
_PROMOTE = f"""
UPDATE event SET promoted = CAST(:step AS int), priority = 9, lane = {_UP},
       history = history || jsonb_build_array(jsonb_build_object(
           'step', 'promoted', 'at', clock_timestamp(), 'deadline', near.deadline,
           'from', (ARRAY['high', 'medium', 'low'])[lane + 1], 'to', (ARRAY['high', 'medium', 'low'])[{_UP} + 1]))
FROM ({{candidates}} LIMIT {_BATCH} FOR UPDATE OF event SKIP LOCKED) near
WHERE event.id = near.id
RETURNING event.id
"""
_OWN = f"""
SELECT event.id, event.expires_at AS deadline FROM event
WHERE event.status = {Status.PENDING:d} AND coalesce(event.dispatched_at, 'infinity') = 'infinity'
  AND event.promoted = ANY(CAST(:from AS smallint[]))
  AND event.expires_at <= now() + make_interval(secs => :within_s) AND event.expires_at > now()"""
_CAMPAIGNS = f"""
SELECT event.id, c.ends_at AS deadline FROM campaign c JOIN event ON {_ITS_CAMPAIGN}
WHERE c.ends_at <= now() + make_interval(secs => :within_s) AND c.ends_at > now()
  AND event.status = {Status.PENDING:d} AND event.campaign IS NOT NULL
  AND coalesce(event.dispatched_at, 'infinity') = 'infinity'
  AND event.promoted = ANY(CAST(:from AS smallint[])) AND {_OF_CAMPAIGN}"""
_PROMOTES = [text(_PROMOTE.format(candidates=candidates)) for candidates in (_OWN, _CAMPAIGNS)]
_LAST_QUARTER = 4


def expire(session: Executor) -> int:
    """End events whose ``expires_at`` has passed while they waited; tell how many there were.

    A claim finds the others: those in a queue, and those whose campaign has ended.
    """
    return len(session.execute(_EXPIRE).all())


def promote(session: Executor, near_s: float) -> int:
    """Bring forward what waits and whose deadline is near; tell how many events that were.

    Within ``near_s`` of its deadline an event goes to the front of its lane, within the last quarter of that one lane
    up. It goes up once: what began in low ends in medium.
    """
    count = 0
    for step, before, within_s in ((2, [0, 1], near_s / _LAST_QUARTER), (1, [0], near_s)):
        for statement in _PROMOTES:
            values = {"step": step, "from": before, "within_s": within_s}
            count += len(session.execute(statement, values).all())
    return count
