"""Answers, what the other version of a trial said, labels."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "predictions",
        sa.Column("request", sa.String(32), primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float, index=True),
        sa.Column("project", sa.String(100)),
        sa.Column("channel", sa.String(100)),
        sa.Column("version", sa.Integer),
        sa.Column("replay", sa.Boolean),
        sa.Column("inputs", sa.Text),
        sa.Column("output", sa.Text),
        sa.Column("milliseconds", sa.Float),
    )
    op.create_table(
        "compared",
        sa.Column("request", sa.String(32), primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("version", sa.Integer),
        sa.Column("candidate", sa.Integer),
        sa.Column("prediction", sa.Text),
    )
    op.create_table(
        "labels",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("request", sa.String(32), index=True),
        sa.Column("row", sa.Integer),
        sa.Column("at", sa.Float),
        sa.Column("label", sa.Text),
    )
