"""The connection to the database, and who applies the migrations."""

import sys

import click
from flask import current_app
from sqlalchemy.exc import DBAPIError
from werkzeug.serving import is_running_from_reloader

from deploy import transactions
from deploy.environment import ROOT, WORDS, database_url


def init_app(app, db):
    """Connect the app to its database; on a laptop without one, to a local server."""
    if names := ", ".join(app.config["STALE_CREDENTIALS"]):
        app.logger.warning(WORDS["stale_credentials"].format(names=names))
    local = app.config["SQLALCHEMY_DATABASE_URI"] is None
    app.config["LOCAL_DATABASE"] = local
    if local:
        from deploy import postgres  # here, because only a laptop has what it needs

        url = database_url({"DATABASE_URL": postgres.start()})
        app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    with app.app_context():
        for engine in db.engines.values():
            transactions.init_engine(engine)
    app.teardown_appcontext(end_session)
    if local or click.get_current_context(silent=True):  # as in `flask db upgrade`
        add_migrations(app)
    # On Heroku the release phase does this. `flask db …` itself can mend a migration, and
    # `flask status` tells what has to be mended.
    # A reload applies nothing, so that a new migration can be read before it is.
    asked = {"db", "status"} & set(sys.argv)
    if local and not asked and not is_running_from_reloader():
        upgrade(app)


def end_session(error):
    """Give the connection back after a request, also one that was cut meanwhile."""
    session = current_app.extensions["sqlalchemy"].session
    try:
        session.close()
    except DBAPIError:
        # The answer was ready before that, so the visitor need not know.
        current_app.logger.warning("database: a connection was cut after its last use")
        session().invalidate()


def add_migrations(app):
    """Give the app the commands `flask db …`."""
    # Imported here, as the web process never needs it: 9 MB of memory.
    from flask_migrate import Migrate

    # Alembic's settings give % a meaning.
    folder = str(ROOT / "migrations").replace("%", "%%")
    Migrate(app, app.extensions["sqlalchemy"], directory=folder)


def upgrade(app):
    """Bring the tables to the state that the migrations describe."""
    import flask_migrate

    with app.app_context():
        flask_migrate.upgrade()
