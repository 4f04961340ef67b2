"""Priority policies, their history and their shadows; an event's score.

Everything is new or nullable: the release before runs on this schema.

Revision: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_REFUSE = """
CREATE FUNCTION priority_change_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'priority_change is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
_TRIGGER = """
CREATE TRIGGER priority_change_append_only BEFORE UPDATE OR DELETE ON priority_change
FOR EACH ROW EXECUTE FUNCTION priority_change_is_append_only()
"""


def upgrade() -> None:
    op.create_table(
        "priority_policy",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("live_from", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("version", name=op.f("priority_policy_pkey")),
    )
    op.create_index(
        "priority_policy_state_idx", "priority_policy", ["state"], unique=True, postgresql_where=sa.text("state <> 3")
    )
    op.create_table(
        "priority_change",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("was", sa.Integer(), nullable=False),
        sa.Column("diff", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("priority_change_pkey")),
    )
    op.execute(_REFUSE)
    op.execute(_TRIGGER)
    op.create_table(
        "priority_shadow",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("against", sa.Integer(), nullable=False),
        sa.Column("live_lane", sa.SmallInteger(), nullable=False),
        sa.Column("candidate_lane", sa.SmallInteger(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "version", "against", "live_lane", "candidate_lane", "rule", name=op.f("priority_shadow_pkey")
        ),
    )
    op.add_column("event", sa.Column("score", sa.SmallInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("event", "score")
    op.drop_table("priority_shadow")
    op.drop_table("priority_change")
    op.execute("DROP FUNCTION priority_change_is_append_only()")
    op.drop_table("priority_policy")
