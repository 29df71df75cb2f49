"""Runs the migrations for `flask db …`, on the connection that the app itself uses."""

import re
from pathlib import Path

from alembic import context
from flask import current_app
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from deploy import enums  # noqa: F401 - which Alembic asks
from deploy.environment import WORDS, ConfigError, where

migrate = current_app.extensions["migrate"]
tables = migrate.db.metadata.tables
versions = Path(__file__).with_name("versions").glob("*.py")
made = re.findall(
    r"""(?:create_table\(|rename_table\([^,]+,)\s*["']([^"']+)""",
    "".join(file.read_text(encoding="utf-8") for file in versions),
)


def is_ours(name, kind, parents):
    """Tell whether `flask db migrate` looks at a table, which it drops if no model has it.

    What no migration here has made is somebody else's: a queue's, an extension's.
    """
    return kind != "table" or name in tables or name in made


def not_empty(context, revision, directives):
    """`flask db migrate` without a change writes no file."""
    compared = getattr(context.config.cmd_opts, "autogenerate", False)
    if compared and directives[0].upgrade_ops.is_empty():
        directives.clear()
        print(WORDS["no_changes"])


try:
    connection = migrate.db.engine.connect()
except OperationalError as error:
    cause = " ".join(str(error.orig).split())
    details = {"cause": cause, "where": where(current_app.config["PLATFORM"])}
    raise ConfigError("database_does_not_answer", **details) from error

with connection:
    context.configure(
        connection=connection,
        target_metadata=migrate.db.metadata,
        include_name=is_ours,
        process_revision_directives=not_empty,
        **migrate.configure_args,
    )
    with context.begin_transaction():
        # A migration may take its time; only visitors are not kept waiting.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        # Two releases at once: the second waits here, then finds nothing left to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(20210501)"))
        context.run_migrations()
