"""What all tests use: the app on a database of its own, and a visitor's client."""

import os
import secrets
from pathlib import Path

import psycopg
import pytest

import config
import database
import local_postgres
from database import db
from main import init_app
from models import Note


@pytest.fixture(scope="session")
def database_url():
    """The address of an empty database; never the one that the app itself uses.

    CI may bring a database, as Heroku CI does. On a laptop DATABASE_URL may well be the
    real one, so there the tests make a new database on the local server and drop it.
    """
    if "CI" in os.environ and os.environ.get("DATABASE_URL"):
        yield os.environ["DATABASE_URL"]
        return
    try:
        server = local_postgres.start()
    except config.ConfigError as error:
        pytest.exit(str(error), returncode=1)
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield server.rpartition("/")[0] + f"/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def app(database_url):
    app = init_app({"DATABASE_URL": database_url, "SECRET_KEY": "only for tests"})
    app.config.update(TESTING=True, WTF_CSRF_ENABLED=False)
    database.add_migrations(app)
    database.upgrade(app)
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app):
    """A visitor without cookies, and an empty table of notes."""
    with app.app_context():
        db.session.execute(db.delete(Note))
        db.session.commit()
    return app.test_client()


@pytest.fixture
def add_notes(app):
    """A function that puts notes straight into the database, oldest first."""

    def add(*bodies):
        with app.app_context():
            for body in bodies:
                db.session.add(Note(body=body))
                db.session.flush()
            db.session.commit()

    return add


@pytest.fixture
def root():
    """The project's folder."""
    return Path(__file__).resolve().parent.parent
