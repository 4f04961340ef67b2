"""Times and campaigns of events, a weight for each source, and indexes for a fair choice between sources.

Older code goes on with this schema: it names none of the new columns, each of which has a default or may be null, and
what it asked of the replaced indexes the new ones answer, too. Only a dispatcher of before then sorts a lane's whole
backlog at each step: start it anew first.

Revision: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BACKLOG = sa.text("status = 0 AND dispatched_at IS NULL")
_EXPIRES = sa.text("status = 0 AND expires_at IS NOT NULL")
_CAMPAIGN = sa.text("status = 0 AND campaign IS NOT NULL")


def upgrade() -> None:
    op.add_column("event", sa.Column("campaign", sa.Text(), nullable=True))
    op.add_column("event", sa.Column("promoted", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("event", sa.Column("effective_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("event", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("source", sa.Column("weight", sa.SmallInteger(), server_default=sa.text("1"), nullable=False))
    op.create_check_constraint(op.f("source_weight_check"), "source", "weight BETWEEN 1 AND 100")
    op.create_index(
        "event_fair_idx",
        "event",
        ["lane", "source_id", sa.text("priority DESC"), "due_at"],
        postgresql_where=_BACKLOG,
    )
    # As _BACKLOG, in words of its own, so that no statement can take one index for the other.
    own_words = sa.text("status + 0 = 0 AND dispatched_at IS NULL")
    op.create_index("event_lane_due_idx", "event", ["lane", "due_at"], postgresql_where=own_words)
    op.create_index("event_expires_idx", "event", ["promoted", "expires_at"], postgresql_where=_EXPIRES)
    op.create_index("event_campaign_idx", "event", ["source_id", "campaign", "promoted"], postgresql_where=_CAMPAIGN)
    op.create_index("campaign_ends_at_idx", "campaign", ["ends_at"], postgresql_where=sa.text("ends_at IS NOT NULL"))
    op.drop_index("event_due_idx", table_name="event")
    op.drop_index("event_due_at_idx", table_name="event")


def downgrade() -> None:
    op.create_index("event_due_at_idx", "event", ["due_at"], postgresql_where=_BACKLOG)
    op.create_index("event_due_idx", "event", ["lane", sa.text("priority DESC"), "due_at"], postgresql_where=_BACKLOG)
    op.drop_index("campaign_ends_at_idx", table_name="campaign")
    op.drop_index("event_campaign_idx", table_name="event")
    op.drop_index("event_expires_idx", table_name="event")
    op.drop_index("event_lane_due_idx", table_name="event")
    op.drop_index("event_fair_idx", table_name="event")
    op.drop_constraint(op.f("source_weight_check"), "source")
    op.drop_column("source", "weight")
    for name in ("expires_at", "effective_at", "promoted", "campaign"):
        op.drop_column("event", name)
