"""Runs migrations on the connection that ``ml.store.database`` holds, within its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
