"""Alembic's environment: runs the migrations over the connection of `database.upgrade`."""

from alembic import context

from app.provenance.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
