"""When a person let models learn from rows again that the monitor had left out."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the time."""
    op.add_column("quarantines", sa.Column("lifted", sa.Float))
