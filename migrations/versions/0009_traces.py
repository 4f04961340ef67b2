"""Where an event's trace goes on.

One column that may be null: adding it rewrites nothing, and the release before leaves it null.

Revision: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event", sa.Column("trace", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("event", "trace")
