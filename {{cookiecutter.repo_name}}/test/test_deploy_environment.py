"""The settings: where the database is, and what is said when something is missing."""

import pytest

from deploy import environment

GUIDE = {
    "DB_HOST": "db.example.com",
    "DB_USERNAME": "me",
    "DB_PASSWORD": "p@ss/w:rd#%",
    "DATA_BASE": "mydata",
}
DYNO = {
    "DYNO": "web.1",
    "DATABASE_URL": "postgres://u:p@h/d",
    "SECRET_KEY": "x" * environment.MIN_KEY_LENGTH,
}


def without(settings, name):
    return {key: value for key, value in settings.items() if key != name}


def test_heroku_s_url_gets_the_driver():
    url = environment.database_url({"DATABASE_URL": "postgres://u:p@host:5432/name"})
    assert url == "postgresql+psycopg://u:p@host:5432/name"


def test_the_guide_s_variables_make_a_url():
    url = environment.database_url(GUIDE)
    password = "p%40ss%2Fw%3Ard%23%25"
    assert url == f"postgresql+psycopg://me:{password}@db.example.com:5432/mydata"


def test_database_url_wins_and_what_disagrees_is_named():
    environ = GUIDE | {"DATABASE_URL": "postgres://me:new@db.example.com:5432/mydata"}
    assert environment.database_url(environ).startswith("postgresql+psycopg://me:new@")
    assert environment.stale_credentials(environ) == ["DB_PASSWORD"]


@pytest.mark.parametrize("name", environment.GUIDE_VARIABLES)
def test_a_missing_variable_is_named(name):
    with pytest.raises(environment.ConfigError, match=name):
        environment.database_url(without(GUIDE, name))


@pytest.mark.parametrize("name", ["DATABASE_URL", "SECRET_KEY"])
def test_a_dyno_does_not_start_without(name):
    with pytest.raises(environment.ConfigError, match=name):
        environment.load(without(DYNO, name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "sqlite:///app.db"),
        ("DATABASE_URL", "postgres://"),
        ("SECRET_KEY", "dev"),
        ("FLASK_DEBUG", "1"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "16"),
        ("WEB_CONCURRENCY", "two"),
    ],
)
def test_a_bad_value_is_named(name, value):
    with pytest.raises(environment.ConfigError, match=name):
        environment.load(DYNO | {name: value})


@pytest.mark.parametrize("workers", range(1, environment.MAX_CONNECTIONS + 1))
def test_all_processes_together_stay_within_the_plan(workers):
    settings = environment.load(DYNO | {"WEB_CONCURRENCY": str(workers)})
    options = settings["SQLALCHEMY_ENGINE_OPTIONS"]
    connections = options["pool_size"] + options["max_overflow"]
    assert 1 <= connections * workers <= environment.MAX_CONNECTIONS


def test_tls_is_required_on_a_dyno_only():
    def sslmode(environ):
        options = environment.load(environ)["SQLALCHEMY_ENGINE_OPTIONS"]
        return options["connect_args"].get("sslmode")

    url = {"DATABASE_URL": "postgres://u:p@h/d?sslmode=disable"}
    assert sslmode(DYNO) == "require"
    assert sslmode(without(DYNO, "DYNO")) is None  # as the server likes it
    assert sslmode(DYNO | url) is None  # as the address says
    assert sslmode(DYNO | {"PGSSLMODE": "prefer"}) is None


def test_ci_on_a_dyno_is_no_dyno():
    assert environment.load(DYNO)["ON_DYNO"]
    assert not environment.load(DYNO | {"CI": "true"})["ON_DYNO"]
