{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.conftest_purpose }}"""

import os
import secrets
from pathlib import Path

import psycopg
import pytest
from dotenv import dotenv_values
from sqlalchemy import text

import config
from database import db
from deploy import database, environment, postgres
from main import init_app

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def database_url():
    """The address of an empty database; never the one that the app itself uses.

    CI may bring a database, as Heroku CI does. On a laptop DATABASE_URL may well be the
    real one, so there the tests make a new database on the local server and drop it.
    """
    given = os.environ.get("DATABASE_URL")
    if "CI" in os.environ and given not in (None, from_env_file()):
        yield given
        return
    try:
        server = postgres.start()
    except environment.ConfigError as error:
        pytest.exit(str(error), returncode=1)
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield server.rpartition("/")[0] + f"/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def from_env_file():
    return dotenv_values(ROOT / ".env").get("DATABASE_URL")


@pytest.fixture(scope="session")
def app(database_url):
    with pytest.MonkeyPatch.context() as patch:
        # Extensions that send mail look at it when the app is made.
        patch.setattr(config, "TESTING", True, raising=False)
        app = init_app({"DATABASE_URL": database_url, "SECRET_KEY": "only for tests"})
    app.config["WTF_CSRF_ENABLED"] = False
    database.add_migrations(app)
    database.upgrade(app)
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app):
    """A visitor without cookies, and empty tables."""
    with app.app_context():
        quoted = db.engine.dialect.identifier_preparer.format_table
        tables = ", ".join(map(quoted, db.metadata.tables.values()))
        if tables:  # their numbers begin at 1 again
            db.session.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
        db.session.commit()
    return app.test_client()
