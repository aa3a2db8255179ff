"""Whose labels nobody learns from; of a column that was broken there is no sender."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the sender."""
    op.add_column("quarantines", sa.Column("sender", sa.String(64)))
