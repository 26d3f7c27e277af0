"""Alembic migrations; each leaves a schema that the version before it can use."""
