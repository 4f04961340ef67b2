"""Verified deliveries that could not be mapped, how complete an event's data is, and why an event is held.

A new table and a column that may be null: adding it rewrites nothing, and the release before runs on this schema. It
cannot show events with the outcomes that are new here (unmapped, duplicate): upgrade every process soon.

Revision: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event", sa.Column("completeness", sa.SmallInteger(), nullable=True))
    op.create_table(
        "unmapped",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("headers", postgresql.JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("unmapped_source_idx", "unmapped", ["source_id", "event_id"])


def downgrade() -> None:
    # The release before knows no such outcomes; their bodies, where they are JSON, stay in their events.
    op.execute("UPDATE event SET outcome = 7 WHERE outcome = 9")
    op.execute("UPDATE event SET outcome = 6 WHERE outcome = 10")
    op.drop_table("unmapped")
    op.drop_column("event", "completeness")
