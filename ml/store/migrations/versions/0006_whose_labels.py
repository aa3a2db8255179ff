"""Whose service a label was told to: projects share a store, and each is told only of its own answers."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add project and channel; of labels that came before they are not known."""
    for name in ("project", "channel"):
        op.add_column("labels", sa.Column(name, sa.String(100)))
