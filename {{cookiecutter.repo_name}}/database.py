{%- set ru = cookiecutter.language == "ru" -%}
"""The database: the models' base, the engine's pool, and who applies migrations."""

import sys

import click
from flask import current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase

import config


class Base(DeclarativeBase):
    """What all models inherit from, through db.Model."""


db = SQLAlchemy(model_class=Base)


def init_app(app):
    """Connect the app to its database; on a laptop without one, to a local server."""
    if names := ", ".join(app.config["STALE_CREDENTIALS"]):
        app.logger.warning(
            "{{ 'Эти переменные расходятся с DATABASE_URL и не используются: %s (DATABASE_URL обновляет Heroku, скопированное устаревает)' if ru else 'These variables disagree with DATABASE_URL and are not used: %s (Heroku keeps DATABASE_URL current, copies go stale)' }}",
            names,
        )
    local = app.config["SQLALCHEMY_DATABASE_URI"] is None
    if local:
        import local_postgres  # here, because only a laptop has what it needs

        app.config["SQLALCHEMY_DATABASE_URI"] = local_postgres.start()
    db.init_app(app)
    app.teardown_appcontext(end_session)
    if local or click.get_current_context(silent=True):  # as in `flask db upgrade`
        add_migrations(app)
    # A laptop's tables are always up to date. On Heroku that is the work of the release
    # phase. `flask db …` itself is left alone, to mend a migration that fails.
    if local and "db" not in sys.argv:
        upgrade(app)


def end_session(error):
    """Give the connection back after a request, also one that was cut meanwhile."""
    try:
        db.session.close()
    except DBAPIError:
        # The answer was ready before that, so the visitor need not know.
        current_app.logger.warning("database: a connection was cut after its last use")
        db.session().invalidate()


def add_migrations(app):
    """Give the app the commands `flask db …`."""
    # Imported here, as the web process never needs it: 9 MB of memory.
    from flask_migrate import Migrate

    Migrate(app, db, directory=config.ROOT / "migrations")


def upgrade(app):
    """Bring the tables to the state that the migrations describe."""
    import flask_migrate

    with app.app_context():
        flask_migrate.upgrade()
