"""The first schema.

Revision: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.SmallInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("api_key_pkey")),
        sa.UniqueConstraint("digest", name=op.f("api_key_digest_key")),
    )
    op.create_table(
        "campaign",
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("budget", sa.Numeric(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "entity_type", "entity_id", "key", name=op.f("campaign_pkey")),
    )
    op.create_table(
        "content_item",
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("slug", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "entity_type", "entity_id", "key", name=op.f("content_item_pkey")),
    )
    op.create_table(
        "currency",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("exchange_rate", sa.Numeric(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=True),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "entity_type", "entity_id", "key", name=op.f("currency_pkey")),
    )
    op.create_table(
        "entity",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Numeric(), nullable=False),
        sa.Column("version_text", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Numeric(), nullable=False),
        sa.Column("operation", sa.SmallInteger(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("final", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("data", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "entity_type", "entity_id", name=op.f("entity_pkey")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Numeric(), nullable=False),
        sa.Column("version_text", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("final", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("state", sa.Boolean(), nullable=False),
        sa.Column("fact", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("data_pointer", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("status", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dispatches", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("generation", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("claim_token", sa.Uuid(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("history", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("event_pkey")),
    )
    op.create_index(
        "event_due_at_idx",
        "event",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 0 AND dispatched_at IS NULL"),
    )
    op.create_index(
        "event_due_idx",
        "event",
        ["lane", sa.literal_column("priority DESC"), "due_at"],
        unique=False,
        postgresql_where=sa.text("status = 0 AND dispatched_at IS NULL"),
    )
    op.create_index(
        "event_entity_idx", "event", ["source_id", "entity_type", "entity_id", "received_at"], unique=False
    )
    op.create_index(
        "event_finished_idx",
        "event",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index("event_lease_idx", "event", ["lease_until"], unique=False, postgresql_where=sa.text("status = 1"))
    op.create_index(
        "event_out_idx",
        "event",
        ["lane", "dispatched_at"],
        unique=False,
        postgresql_where=sa.text("status = 0 AND dispatched_at IS NOT NULL"),
    )
    op.create_index(
        "event_received_idx",
        "event",
        [sa.literal_column("received_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "event_waiting_idx",
        "event",
        ["source_id", "entity_type", "entity_id"],
        unique=False,
        postgresql_where=sa.text("status = 0 AND NOT fact"),
    )
    op.create_index(
        "event_parked_idx",
        "event",
        ["source_id", "entity_type", "entity_id"],
        unique=False,
        postgresql_where=sa.text("parked_at IS NOT NULL"),
    )
    op.create_table(
        "event_conflict",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "fingerprint", name=op.f("event_conflict_pkey")),
    )
    op.create_table(
        "event_key",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "digest", name=op.f("event_key_pkey")),
    )
    op.create_index("event_key_seen_at_idx", "event_key", ["seen_at"], unique=False, postgresql_using="brin")
    op.create_table(
        "fact",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("fact_pkey")),
    )
    op.create_index("fact_entity_idx", "fact", ["source_id", "entity_type", "entity_id"], unique=False)
    op.create_table(
        "lane",
        sa.Column("lane", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("open", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("window", sa.Integer(), server_default=sa.text("2000"), nullable=False),
        sa.Column("out", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("drain_per_s", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("dispatcher_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workers", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("lane", name=op.f("lane_pkey")),
    )
    op.create_table(
        "lead",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("campaign", sa.Text(), nullable=True),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("lead_pkey")),
    )
    op.create_index("lead_entity_idx", "lead", ["source_id", "entity_type", "entity_id"], unique=False)
    op.create_table(
        "price",
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("compare_at", sa.Numeric(), nullable=True),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "entity_type", "entity_id", "key", name=op.f("price_pkey")),
    )
    op.create_table(
        "promotion",
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("percent_off", sa.Numeric(), nullable=True),
        sa.Column("amount_off", sa.Numeric(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "entity_type", "entity_id", "key", name=op.f("promotion_pkey")),
    )
    op.create_table(
        "segment",
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=True),
        sa.Column("members", sa.Integer(), nullable=True),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "entity_type", "entity_id", "key", name=op.f("segment_pkey")),
    )
    op.create_table(
        "source",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("secrets", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("source_pkey")),
        sa.UniqueConstraint("name", name=op.f("source_name_key")),
    )
    # Every event's row is updated two to four times: leave room for HOT updates, and vacuum early.
    op.execute("ALTER TABLE event SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)")
    op.execute("ALTER TABLE entity SET (fillfactor = 80)")
    op.execute("ALTER TABLE lane SET (fillfactor = 10)")
    op.execute("INSERT INTO lane (lane) VALUES (0), (1), (2)")


def downgrade() -> None:
    op.drop_table("source")
    op.drop_table("segment")
    op.drop_table("promotion")
    op.drop_table("price")
    op.drop_index("lead_entity_idx", table_name="lead")
    op.drop_table("lead")
    op.drop_table("lane")
    op.drop_index("fact_entity_idx", table_name="fact")
    op.drop_table("fact")
    op.drop_index("event_key_seen_at_idx", table_name="event_key", postgresql_using="brin")
    op.drop_table("event_key")
    op.drop_table("event_conflict")
    op.drop_index("event_parked_idx", table_name="event", postgresql_where=sa.text("parked_at IS NOT NULL"))
    op.drop_index("event_waiting_idx", table_name="event", postgresql_where=sa.text("status = 0 AND NOT fact"))
    op.drop_index("event_received_idx", table_name="event")
    op.drop_index(
        "event_out_idx", table_name="event", postgresql_where=sa.text("status = 0 AND dispatched_at IS NOT NULL")
    )
    op.drop_index("event_lease_idx", table_name="event", postgresql_where=sa.text("status = 1"))
    op.drop_index("event_finished_idx", table_name="event", postgresql_where=sa.text("finished_at IS NOT NULL"))
    op.drop_index("event_entity_idx", table_name="event")
    op.drop_index(
        "event_due_idx", table_name="event", postgresql_where=sa.text("status = 0 AND dispatched_at IS NULL")
    )
    op.drop_index(
        "event_due_at_idx", table_name="event", postgresql_where=sa.text("status = 0 AND dispatched_at IS NULL")
    )
    op.drop_table("event")
    op.drop_table("entity")
    op.drop_table("currency")
    op.drop_table("content_item")
    op.drop_table("campaign")
    op.drop_table("api_key")
