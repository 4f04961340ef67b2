"""The audit log, keys that end and keys for some sources only, and answers kept for idempotent requests.

Only new tables and columns that may be null: the release before runs on this schema. Its keys see all sources, and a
key that is limited to some is not known as such to it: limit keys once every process runs this release.

Revision: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_REFUSE = """
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
_TRIGGER = """
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()
"""
# What was done to the policies before there was an audit log belongs into it.
_BEFORE = """
INSERT INTO audit (at, actor, action, subject, detail)
SELECT at, author, 'policy.' || replace(action, ' ', '-'), 'policy:' || version,
       jsonb_build_object('was', was, 'note', note)
FROM priority_change ORDER BY id
"""


def upgrade() -> None:
    op.add_column("api_key", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_key", sa.Column("source_ids", sa.ARRAY(sa.Integer()), nullable=True))
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
    )
    op.create_index("audit_subject_idx", "audit", ["subject", "id"])
    op.execute(_REFUSE)
    op.execute(_TRIGGER)
    op.execute(_BEFORE)
    op.create_table(
        "desk_request",
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", "digest", name=op.f("desk_request_pkey")),
    )
    op.create_index("desk_request_created_at_idx", "desk_request", ["created_at"])


def downgrade() -> None:
    op.drop_table("desk_request")
    op.drop_table("audit")
    op.execute("DROP FUNCTION audit_is_append_only()")
    op.drop_column("api_key", "source_ids")
    op.drop_column("api_key", "expires_at")
