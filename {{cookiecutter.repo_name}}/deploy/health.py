"""Is it alive? /healthz for monitoring, and `flask status` for the developer."""

import logging
import os
import sys
import time

import click
from flask import Blueprint, current_app, request
from flask.cli import with_appcontext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, TimeoutError

from deploy.environment import WORDS
from deploy.errors import one_line

# Its templates are found where templates/ has none of that name.
bp = Blueprint("deploy", __name__, template_folder="templates")
# What Heroku, Dokku, Railway, Render and Fly call the version that runs.
RELEASES = """
HEROKU_RELEASE_VERSION GIT_REV RAILWAY_GIT_COMMIT_SHA RENDER_GIT_COMMIT FLY_MACHINE_VERSION
"""
# How many connections are open, and how many this user may open (-1: as all together).
CONNECTIONS = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user),
       COALESCE(NULLIF(rolconnlimit, -1), current_setting('max_connections')::int)
FROM pg_roles WHERE rolname = current_user
"""


def init_app(app):
    app.register_blueprint(bp)
    # Answered here, monitoring needs no login where the app demands one for every page.
    app.before_request(answer_first)
    app.cli.add_command(click.Command("status", callback=status, help=say("about")))


def answer_first():
    return healthz() if request.endpoint == "deploy.healthz" else None


@bp.get("/healthz")
def healthz():
    """For monitoring: 200 while the database answers, 503 while it does not."""
    try:
        session().execute(text("SELECT 1"))
    except (DBAPIError, TimeoutError) as error:
        current_app.logger.error("database: %s", one_line(error))
        return {"database": "unreachable"}, 503
    return {"database": "ok"}


def session():
    return current_app.extensions["sqlalchemy"].session


@with_appcontext
def status():
    """Print what is alive: database, tables, connections, release. Exit with 1 if one is not."""
    fine = True
    try:
        began = time.perf_counter()
        session().execute(text("SELECT 1"))
        milliseconds = (time.perf_counter() - began) * 1000
        click.echo(say("database_answers", milliseconds=milliseconds))
        opened, limit = session().execute(text(CONNECTIONS)).one()
        click.echo(say("connections", opened=opened, limit=limit))
        waiting, unknown = migrations()
        sentence = "tables_wait" if waiting else "tables_ready"
        sentence = "tables_unknown" if unknown else sentence
        click.echo(say(sentence, names=", ".join(unknown or waiting)))
        fine = sentence == "tables_ready"
    except (DBAPIError, TimeoutError) as error:
        cause = one_line(getattr(error, "orig", error))
        click.echo(say("database_silent", cause=cause))
        fine = False
    release = next((os.environ[n] for n in RELEASES.split() if os.environ.get(n)), None)
    click.echo(say("release", name=release[:8]) if release else say("release_unknown"))
    click.echo(say("memory_where"))
    sys.exit(0 if fine else 1)


def say(sentence, **details):
    return WORDS["status"][sentence].format(**details)


def migrations():
    """Return (migrations that the database waits for, those it has that are not here)."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    logging.getLogger("alembic").setLevel(logging.WARNING)
    script = ScriptDirectory(current_app.extensions["migrate"].directory)
    have = MigrationContext.configure(session().connection()).get_current_heads()
    known = {revision.revision for revision in script.walk_revisions()}
    if unknown := sorted(set(have) - known):
        return [], unknown
    revisions = script.iterate_revisions("heads", have or "base")
    return [revision.revision for revision in revisions], []
