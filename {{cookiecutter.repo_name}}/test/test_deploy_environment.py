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
    "SECRET_KEY": "a key of these tests alone, long enough",
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


@pytest.mark.parametrize("host", ["::1", "[::1]", "DB.example.com"])
def test_a_host_of_any_kind_makes_a_url_and_is_not_stale(host):
    environ = GUIDE | {"DB_HOST": host}
    url = environment.database_url(environ)
    assert environment.split(url).hostname == host.strip("[]").lower()
    assert environment.stale_credentials(environ | {"DATABASE_URL": url}) == []


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
        ("SECRET_KEY", " " * 64),
        ("SECRET_KEY", "change-me" + " " * 64),
        ("SECRET_KEY", "x" * 64),
        ("SECRET_KEY", "python -c 'import secrets; print(secrets.token_hex())'"),
        ("FLASK_DEBUG", "1"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "16"),
        ("WEB_CONCURRENCY", "two"),
        ("WEB_CONCURRENCY", "1" * 5000),
    ],
)
def test_a_bad_value_is_named(name, value):
    with pytest.raises(environment.ConfigError, match=name):
        environment.load(DYNO | {name: value})


@pytest.mark.parametrize("value", ["15", 0, 7.5, None])
def test_a_number_of_connections_that_is_none_is_named(monkeypatch, value):
    monkeypatch.setattr(environment, "MAX_CONNECTIONS", value)
    with pytest.raises(environment.ConfigError, match="MAX_CONNECTIONS"):
        environment.load(DYNO)


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
    assert environment.load(DYNO)["PLATFORM"].name == "Heroku"
    ci = {"CI": "true", "HEROKU_TEST_RUN_ID": "1"}
    assert environment.load(DYNO | ci)["PLATFORM"] is None
    for name in ci:  # a setting that somebody has copied opens nothing
        assert environment.load(DYNO | without(ci, name))["PLATFORM"].name == "Heroku"
    assert environment.load(DYNO | {"CI": ""})["PLATFORM"].name == "Heroku"


MARKS = {
    "Heroku": {"DYNO": "web.1"},
    "Dokku": {"DYNO": "web.1", "GIT_REV": "0a1b2c"},
    "Render": {"RENDER": "true"},
    "Railway": {"RAILWAY_ENVIRONMENT": "production"},
    "Fly": {"FLY_APP_NAME": "app"},
    "Koyeb": {"KOYEB_APP_NAME": "app"},
    "Amvera": {"AMVERA": "1"},
    "nginx": {"BEHIND_NGINX": "1"},
    "server": {"SERVE_TO": "internet"},
}
SECRETS = without(DYNO, "DYNO")


@pytest.mark.parametrize("name", MARKS)
def test_on_the_internet_the_guard_is_up(name):
    settings = environment.load(SECRETS | MARKS[name] | {"SERVE_TO": "internet"})
    assert settings["PLATFORM"].name == name
    assert settings["SESSION_COOKIE_SECURE"]
    tls = settings["SQLALCHEMY_ENGINE_OPTIONS"]["connect_args"].get("sslmode")
    assert tls == ("require" if name == "Heroku" else None)


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("missing", ["DATABASE_URL", "SECRET_KEY"])
def test_a_refusal_speaks_of_the_platform(name, missing):
    words = environment.WORDS["database" if missing == "DATABASE_URL" else "where"]
    expected = words.get(name, environment.WORDS["where"][name]).partition("{")[0]
    with pytest.raises(environment.ConfigError) as refusal:
        environment.load(without(SECRETS, missing) | MARKS[name])
    assert missing in str(refusal.value)
    assert expected in str(refusal.value)


def test_a_platform_is_believed_before_a_setting():
    settings = environment.load(DYNO | {"SERVE_TO": "laptop"})
    assert settings["PLATFORM"].name == "Heroku"


def test_whom_it_serves_has_two_answers():
    with pytest.raises(environment.ConfigError, match="SERVE_TO"):
        environment.load(DYNO | {"SERVE_TO": "everybody"})


@pytest.mark.parametrize("password", ["a@b", "a/b@c", "a?b", "p@ss/w:rd"])
def test_no_part_of_a_password_is_taken_for_the_host(password):
    url = f"postgres://me:{password}@db.example.com/d"
    with pytest.raises(environment.ConfigError, match="%40") as refusal:
        environment.database_url({"DATABASE_URL": url})
    assert password not in str(refusal.value)


@pytest.mark.parametrize("host", ["db:x", "db:1,db2:2", "db:٣x", "h@a/ss@db"])
def test_an_address_that_cannot_be_read_is_said_without_it(host):
    url = f"postgres://me:pass-word@{host}/d"
    with pytest.raises(environment.ConfigError, match="DATABASE_URL") as refusal:
        environment.load(DYNO | {"DATABASE_URL": url})
    assert "pass-word" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_what_the_address_says_of_a_connection_counts():
    query = "application_name=me@work&connect_timeout=9&options=-c%20work_mem%3D1MB"
    url = f"postgres://u:p@h/d?{query}"
    settings = environment.load(DYNO | {"DATABASE_URL": url})
    args = settings["SQLALCHEMY_ENGINE_OPTIONS"]["connect_args"]
    assert "connect_timeout" not in args
    assert args["options"].startswith("-c statement_timeout=4s ")
    assert args["options"].endswith(" -c work_mem=1MB")


def test_a_pooler_comes_first_and_is_asked_for_no_options():
    pooler = {"DATABASE_CONNECTION_POOL_URL": "postgres://u:p@pooler/d"}
    settings = environment.load(DYNO | pooler)
    args = settings["SQLALCHEMY_ENGINE_OPTIONS"]["connect_args"]
    assert settings["SQLALCHEMY_DATABASE_URI"] == "postgresql+psycopg://u:p@pooler/d"
    assert "options" not in args
    assert args["sslmode"] == "require"


def test_an_empty_setting_is_none():
    environ = {"SERVE_TO": "", "WEB_CONCURRENCY": "", "SECRET_KEY": "k"}
    assert environment.load(environ)["PLATFORM"] is None


def test_a_laptop_s_key_is_never_half_a_key(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    key = environment.laptop_key()
    assert key == environment.laptop_key()
    assert len(key) == 64
    (tmp_path / "instance" / "secret_key").write_bytes(b"")
    assert len(environment.laptop_key()) == 64
    assert [file.name for file in (tmp_path / "instance").iterdir()] == ["secret_key"]


def test_a_laptop_answers_to_its_own_names_and_to_what_is_listed():
    environ = {"SECRET_KEY": "k", "LAPTOP_HOSTS": "192.168.1.5 *.ngrok.app"}
    hosts = environment.load(environ)["TRUSTED_HOSTS"]
    assert {"localhost", "127.0.0.1", "192.168.1.5", ".ngrok.app"} <= set(hosts)
    assert environment.load(DYNO)["TRUSTED_HOSTS"] is None


def test_a_name_is_listed_in_any_letters_and_as_a_part_of_an_address():
    listed = {"LAPTOP_HOSTS": "DESKTOP-AB7,http://A.example:5000/"}
    hosts = environment.load({"SECRET_KEY": "k"} | listed)["TRUSTED_HOSTS"]
    assert hosts[-2:] == ["desktop-ab7", "a.example:5000"]


def test_a_codespace_answers_to_the_name_that_its_port_has():
    domain = {"GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "app.github.dev"}
    environ = {"SECRET_KEY": "k", "CODESPACE_NAME": "fuzzy-pie", "PORT": "8000"}
    hosts = environment.load(environ | domain)["TRUSTED_HOSTS"]
    assert hosts[-1] == "fuzzy-pie-8000.app.github.dev"
    assert environment.load(environ)["TRUSTED_HOSTS"] == list(environment.LOCALHOST)
