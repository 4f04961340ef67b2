"""Who leads, periodic work, replays of history, conflicts that can be resolved, tombstones that end.

Old code runs on this schema unchanged: every new column is nullable, every new table is its own.

Revision: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leader",
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("role", name=op.f("leader_pkey")),
    )
    op.create_table(
        "periodic_run",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ran_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("periodic_run_pkey")),
    )
    op.create_table(
        "replay",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("wanted", postgresql.JSONB(), nullable=False),
        sa.Column("per_s", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("matching", sa.Integer(), nullable=False),
        sa.Column("replayed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("position_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("position_id", sa.Uuid(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("replay_pkey")),
    )
    op.create_index("replay_running_idx", "replay", ["created_at"], postgresql_where=sa.text("state = 0"))
    op.add_column("event_conflict", sa.Column("normal", postgresql.JSONB(), nullable=True))
    op.add_column("event_conflict", sa.Column("resolution", sa.SmallInteger(), nullable=True))
    op.add_column("event_conflict", sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("event_conflict", sa.Column("resolved_by", sa.Text(), nullable=True))
    op.create_index(
        "event_conflict_open_idx", "event_conflict", ["received_at"], postgresql_where=sa.text("resolution IS NULL")
    )
    # Tombstones only: a small part of the table, and read by the purge alone.
    op.create_index("entity_tombstone_idx", "entity", ["applied_at"], postgresql_where=sa.text("data IS NULL"))


def downgrade() -> None:
    op.drop_index("entity_tombstone_idx", table_name="entity", postgresql_where=sa.text("data IS NULL"))
    op.drop_index(
        "event_conflict_open_idx", table_name="event_conflict", postgresql_where=sa.text("resolution IS NULL")
    )
    for column in ("resolved_by", "resolved_at", "resolution", "normal"):
        op.drop_column("event_conflict", column)
    op.drop_index("replay_running_idx", table_name="replay", postgresql_where=sa.text("state = 0"))
    op.drop_table("replay")
    op.drop_table("periodic_run")
    op.drop_table("leader")
