"""Budgets of sources, the age of what waits in a lane, and the count of what the door refused.

Only new columns that may be null, and a new table: code of before goes on.

Revision: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("source", sa.Column("limit_per_s", sa.Float(), nullable=True))
    op.add_column("source", sa.Column("limit_burst", sa.Integer(), nullable=True))
    op.add_column("lane", sa.Column("oldest_due_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "shed",
        sa.Column("lane", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lane", "at", name=op.f("shed_pkey")),
    )


def downgrade() -> None:
    op.drop_table("shed")
    op.drop_column("lane", "oldest_due_at")
    op.drop_column("source", "limit_burst")
    op.drop_column("source", "limit_per_s")
