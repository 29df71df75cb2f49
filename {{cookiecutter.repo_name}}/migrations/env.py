"""Runs the migrations for `flask db …`, on the connection that the app itself uses."""

from alembic import context
from flask import current_app
from sqlalchemy import text

migrate = current_app.extensions["migrate"]

with migrate.db.engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=migrate.db.metadata,
        **migrate.configure_args,
    )
    with context.begin_transaction():
        # Two releases at once: the second waits here, then finds nothing left to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(20210501)"))
        context.run_migrations()
