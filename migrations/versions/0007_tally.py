"""Numbers that only grow: what became of events, how long it took, what the dispatcher did; when it was up.

Only new tables: code of before goes on. What ended before is counted, too, a minute of the past each second.

Revision: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tally_mark",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("'-infinity'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("tally_mark_pkey")),
    )
    op.create_table(
        "tally_outcome",
        sa.Column("source_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lane", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "lane", "outcome", name=op.f("tally_outcome_pkey")),
    )
    op.create_table(
        "tally_time",
        sa.Column("measured", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("lane", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("measured", "lane", "type", "bucket", name=op.f("tally_time_pkey")),
    )
    op.create_table(
        "tally_work",
        sa.Column("lane", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lane", "step", name=op.f("tally_work_pkey")),
    )
    op.create_table(
        "uptime",
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("minute", name=op.f("uptime_pkey")),
    )


def downgrade() -> None:
    for table in ("uptime", "tally_work", "tally_time", "tally_outcome", "tally_mark"):
        op.drop_table(table)
