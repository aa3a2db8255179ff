"""Labels with a time of their own, looks of the monitor, trainings it asked for, rows not to learn from."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns and tables."""
    op.add_column("labels", sa.Column("since", sa.Float))
    op.add_column("labels", sa.Column("sender", sa.String(64)))
    op.create_table(
        "looks",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(100)),
        sa.Column("channel", sa.String(100)),
        sa.Column("at", sa.Float),
        sa.Column("version", sa.Integer),
        sa.Column("cause", sa.String(100)),
        sa.Column("figures", sa.Text),
    )
    op.create_index("looks_in_order", "looks", ["project", "channel", "at"])
    op.create_table(
        "trainings",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(100)),
        sa.Column("channel", sa.String(100)),
        sa.Column("at", sa.Float),
        sa.Column("cause", sa.String(100)),
        sa.Column("champion", sa.Integer),
        sa.Column("ended", sa.Float),
        sa.Column("outcome", sa.String(100)),
    )
    op.create_index("trainings_in_order", "trainings", ["project", "channel", "at"])
    op.create_table(
        "quarantines",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(100)),
        sa.Column("channel", sa.String(100)),
        sa.Column("column_name", sa.String(200)),
        sa.Column("begins", sa.Float),
        sa.Column("ends", sa.Float),
        sa.Column("why", sa.Text),
    )
    op.create_index("quarantines_of", "quarantines", ["project", "channel"])
