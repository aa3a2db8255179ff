"""What a service could not answer, curves of trainings, builds with verdicts, what people were told."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "troubles",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(100)),
        sa.Column("channel", sa.String(100)),
        sa.Column("at", sa.Float),
        sa.Column("kind", sa.String(20)),
        sa.Column("column_name", sa.String(200)),
        sa.Column("rule", sa.String(300)),
        sa.Column("count", sa.Integer),
    )
    op.create_index("troubles_in_order", "troubles", ["project", "channel", "at"])
    op.create_table(
        "curves",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(100)),
        sa.Column("build", sa.String(200)),
        sa.Column("began", sa.Float),
        sa.Column("at", sa.Float),
        sa.Column("iteration", sa.Integer),
        sa.Column("what", sa.String(300)),
        sa.Column("metric", sa.String(100)),
        sa.Column("score", sa.Float),
        sa.Column("validation_score", sa.Float),
        sa.Column("percent_complete", sa.Float),
    )
    op.create_index("curves_in_order", "curves", ["project", "began", "iteration"])
    op.create_table(
        "builds",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(100)),
        sa.Column("channel", sa.String(100)),
        sa.Column("at", sa.Float),
        sa.Column("build", sa.String(200)),
        sa.Column("why", sa.Text),
        sa.Column("stage", sa.String(20)),
        sa.Column("outcome", sa.String(20)),
        sa.Column("version", sa.Integer),
        sa.Column("told", sa.Text),
    )
    op.create_index("builds_in_order", "builds", ["project", "at"])
    op.create_table(
        "notices",
        sa.Column("project", sa.String(100), primary_key=True),
        sa.Column("topic", sa.String(100), primary_key=True),
        sa.Column("at", sa.Float),
        sa.Column("state", sa.String(300)),
    )
