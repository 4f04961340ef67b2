"""What senders ask besides taking events: to leave, to erase, to list.

Old code goes on beside it: it knows neither the table nor the column, and both may stay empty.

Revision: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sender_request",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("subject", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("status", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("sender_request_pkey")),
        sa.UniqueConstraint("event_id", name=op.f("sender_request_event_id_key")),
    )
    op.create_index("sender_request_open_idx", "sender_request", ["source_id"], postgresql_where=sa.text("status < 2"))
    op.add_column("source", sa.Column("leaving_since", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("source", "leaving_since")
    op.drop_index("sender_request_open_idx", table_name="sender_request", postgresql_where=sa.text("status < 2"))
    op.drop_table("sender_request")
