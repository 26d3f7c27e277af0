"""What alembic runs: the migrations over the connection that `app.provenance.database` hands in."""

from alembic import context

from app.provenance.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
