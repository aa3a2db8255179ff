"""The tables of the store; ``migrations`` makes them, in whichever database."""

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

schema = MetaData()
predictions = Table(
    "predictions",
    schema,
    Column("request", String(32), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("at", Float, index=True),  # Unix time, as all times here
    Column("project", String(100)),
    Column("channel", String(100)),
    Column("version", Integer),
    Column("replay", Boolean),  # sent by a deploy, not by a client
    Column("inputs", Text),
    Column("output", Text),
    Column("milliseconds", Float),
)
# What the other version of a trial said of the same rows
compared = Table(
    "compared",
    schema,
    Column("request", String(32), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("version", Integer),
    Column("candidate", Integer),
    Column("prediction", Text),
)
labels = Table(
    "labels",
    schema,
    Column("number", Integer, primary_key=True),
    Column("request", String(32), index=True),
    Column("row", Integer),
    Column("at", Float),  # when it came
    Column("label", Text),
    Column(
        "since", Float
    ),  # when it came true, as its sender says; the latest of a row is the one that holds
    Column("sender", String(64)),
    Column("project", String(100)),
    Column("channel", String(100)),
)
# What one look of the monitor saw, and what it asks for
looks = Table(
    "looks",
    schema,
    Column("number", Integer, primary_key=True),
    Column("project", String(100)),
    Column("channel", String(100)),
    Column("at", Float),
    Column("version", Integer),
    Column("cause", String(100)),
    Column("figures", Text),
    Index("looks_in_order", "project", "channel", "at"),
)
# Each training that a look asked for, and what became of it
trainings = Table(
    "trainings",
    schema,
    Column("number", Integer, primary_key=True),
    Column("project", String(100)),
    Column("channel", String(100)),
    Column("at", Float),
    Column("cause", String(100)),
    Column("champion", Integer),
    Column("ended", Float),
    Column("outcome", String(100)),
    Index("trainings_in_order", "project", "channel", "at"),
)
# Rows in which a column was broken, or whose labels (of one ``sender``) are: nobody learns from them, until a
# person who looked has ``lifted`` it
quarantines = Table(
    "quarantines",
    schema,
    Column("number", Integer, primary_key=True),
    Column("project", String(100)),
    Column("channel", String(100)),
    Column("column_name", String(200)),
    Column("begins", Float),
    Column("ends", Float),
    Column("why", Text),
    Column("sender", String(64)),
    Column("lifted", Float),
    Index("quarantines_of", "project", "channel"),
)
# What a service refused (by column and rule), failed at, turned away, or did not write down
troubles = Table(
    "troubles",
    schema,
    Column("number", Integer, primary_key=True),
    Column("project", String(100)),
    Column("channel", String(100)),
    Column("at", Float),
    Column("kind", String(20)),
    Column("column_name", String(200)),
    Column("rule", String(300)),
    Column("count", Integer),
    Index("troubles_in_order", "project", "channel", "at"),
)
# How far a training is, written while it goes on; one that ``began`` at a time is one training
curves = Table(
    "curves",
    schema,
    Column("number", Integer, primary_key=True),
    Column("project", String(100)),
    Column("build", String(200)),
    Column("began", Float),
    Column("at", Float),
    Column("iteration", Integer),
    Column("what", String(300)),
    Column("metric", String(100)),
    Column("score", Float),
    Column("validation_score", Float),
    Column("percent_complete", Float),
    Index("curves_in_order", "project", "began", "iteration"),
)
# What became of each stage that judges or deploys
builds = Table(
    "builds",
    schema,
    Column("number", Integer, primary_key=True),
    Column("project", String(100)),
    Column("channel", String(100)),
    Column("at", Float),
    Column("build", String(200)),
    Column("why", Text),
    Column("stage", String(20)),
    Column("outcome", String(20)),
    Column("version", Integer),
    Column("told", Text),
    Index("builds_in_order", "project", "at"),
)
# The state that people were told last, by topic
notices = Table(
    "notices",
    schema,
    Column("project", String(100), primary_key=True),
    Column("topic", String(100), primary_key=True),
    Column("at", Float),
    Column("state", String(300)),
)
