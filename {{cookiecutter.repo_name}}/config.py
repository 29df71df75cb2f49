{%- set ru = cookiecutter.language == "ru" -%}
"""The settings: what the environment says, or one sentence about what is wrong."""

import os
import secrets
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from dotenv import load_dotenv

ROOT = Path(__file__).resolve().parent
PROJECT_NAME = {{ cookiecutter.__project_name_python }}
DESCRIPTION = {{ cookiecutter.__description_python }}

# The smallest Heroku Postgres plan allows 20 connections. The web processes together
# use at most 15: the rest is for `heroku run` and for the overlap of two deploys.
# Fewer make visitors wait for each other: of pages whose query takes 50 ms, 15
# connections answer 250 in a second, 5 answer 90.
MAX_CONNECTIONS = 15
# Requests that one web process works on at the same time. A visitor with a slow phone
# holds a thread without using it: 64 of them would block 8 threads for everybody, and
# with 128 nobody notices. A thread that waits takes 0.1 MB and no database connection.
THREADS = 128

# New notes in one minute, from all visitors together. More than that is a flood.
NOTES_PER_MINUTE = 100

# What the deployment guide has you copy from the database's credentials.
GUIDE_VARIABLES = ("DB_HOST", "DB_USERNAME", "DB_PASSWORD", "DATA_BASE")

# Shorter keys can be guessed. secrets.token_hex() makes one of 64 characters.
MIN_KEY_LENGTH = 32  # characters


class ConfigError(SystemExit):
    """Ends the program with one sentence, not a traceback: nothing else would help."""


def load(environ=None):
    """Return the settings as a dict for app.config.

    environ: a mapping to read from (default: the process environment, plus the file
    .env for what is not set there). Raises ConfigError.
    """
    if environ is None:
        load_dotenv(ROOT / ".env")
        environ = os.environ
    # CI runs on a dyno too, but its database has no TLS and its key is no secret.
    on_dyno = "DYNO" in environ and "CI" not in environ
    workers = worker_count(environ)
    url = database_url(environ)
    debug = environ.get("FLASK_DEBUG", "").lower()
    if on_dyno and debug not in ("", "0", "false", "no"):
        # The debugger runs whatever a visitor types.
        raise ConfigError(
            "{{ 'FLASK_DEBUG включена, а на Heroku это открывает приложение всем: удалите её в Settings, Config Vars.' if ru else 'FLASK_DEBUG is on, which on Heroku opens the app to everybody: remove it under Settings, Config Vars.' }}",
        )
    if url is None and on_dyno:
        raise ConfigError(
            "{{ 'База данных не подключена: на странице приложения Heroku откройте Resources и добавьте Heroku Postgres (переменная DATABASE_URL появится сама).' if ru else 'No database is configured: on the app\'s Heroku page open Resources and add Heroku Postgres (it sets DATABASE_URL by itself).' }}",
        )
    return {
        "ON_DYNO": on_dyno,
        "WORKERS": workers,
        "STALE_CREDENTIALS": stale_credentials(environ),
        "SECRET_KEY": secret_key(environ, on_dyno),
        "SQLALCHEMY_DATABASE_URI": url,
        "SQLALCHEMY_ENGINE_OPTIONS": {
            "pool_size": MAX_CONNECTIONS // workers,
            "max_overflow": 0,
            # An error message must not hold what visitors have written.
            "hide_parameters": True,
            # A request that gets no connection within this time is told to come back.
            "pool_timeout": 4,  # seconds
            # The server may have restarted since a connection was last used.
            "pool_pre_ping": True,
            "connect_args": {
                "connect_timeout": 4,  # seconds
                "sslmode": ssl_mode(environ, on_dyno),
                # A query that waits longer, for a lock or because it reads too much, is
                # given up: its visitor has gone by then, and others wait behind it.
                "options": "-c statement_timeout=4s",
            },
        },
        # A dyno is reached over https only; a laptop over plain http.
        "SESSION_COOKIE_SECURE": on_dyno,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "MAX_CONTENT_LENGTH": 64 * 1024,  # bytes: a note is short
    }


def database_url(environ):
    """Return the address of the database for SQLAlchemy, None where none is given.

    DATABASE_URL comes first: Heroku keeps it current, copied credentials go stale.
    https://devcenter.heroku.com/articles/connecting-heroku-postgres#connecting-in-python
    """
    if url := environ.get("DATABASE_URL", "").strip():
        scheme, _, rest = url.partition("://")
        if scheme not in ("postgres", "postgresql", "postgresql+psycopg") or not rest:
            raise ConfigError(
                "{{ 'DATABASE_URL должна начинаться с postgres:// – скопируйте её целиком (Settings, Reveal Config Vars).' if ru else 'DATABASE_URL must begin with postgres:// – copy all of it (Settings, Reveal Config Vars).' }}",
            )
        # SQLAlchemy refuses Heroku's postgres://, so the driver is named here.
        return f"postgresql+psycopg://{rest}"

    missing = [name for name in GUIDE_VARIABLES if not environ.get(name)]
    if len(missing) == len(GUIDE_VARIABLES):
        return None
    if missing:
        names = ", ".join(missing)
        raise ConfigError(
            f"{{ 'Данные для входа в базу неполные, не хватает: {names}. Задайте их в Settings, Config Vars (на своём компьютере – в файле .env).' if ru else 'The database credentials are incomplete, missing: {names}. Set them under Settings, Config Vars (on a laptop: in the file .env).' }}",
        )
    port = environ.get("DB_PORT") or "5432"
    if not port.isdecimal():
        raise ConfigError(
            f"{{ 'DB_PORT должна быть числом, например 5432, а не {port!r}.' if ru else 'DB_PORT must be a number such as 5432, not {port!r}.' }}",
        )
    # Quoted, a password may hold any character, even @ and /.
    host, user, password, name = (
        environ["DB_HOST"].strip(),
        quote(environ["DB_USERNAME"], safe=""),
        quote(environ["DB_PASSWORD"], safe=""),
        quote(environ["DATA_BASE"], safe=""),
    )
    return f"postgresql+psycopg://{user}:{password}@{host}:{port}/{name}"


def stale_credentials(environ):
    """Return the names of the guide's variables that disagree with DATABASE_URL."""
    url = urlsplit(environ.get("DATABASE_URL", "").strip())
    if not url.netloc:
        return []
    current = {
        "DB_HOST": url.hostname,
        "DB_USERNAME": unquote(url.username or ""),
        "DB_PASSWORD": unquote(url.password or ""),
        "DATA_BASE": unquote(url.path.lstrip("/")),
    }
    return [n for n, value in current.items() if environ.get(n, value) != value]


def ssl_mode(environ, on_dyno):
    """Return libpq's sslmode. Heroku Postgres takes TLS only; a laptop has none.

    Other homes may say otherwise, with ?sslmode= in DATABASE_URL or with PGSSLMODE.
    """
    query = urlsplit(environ.get("DATABASE_URL", "")).query
    for setting in query.split("&"):
        name, _, value = setting.partition("=")
        if name == "sslmode":
            return value
    return environ.get("PGSSLMODE") or ("require" if on_dyno else "prefer")


def worker_count(environ):
    """Return how many web processes to start; Heroku sets WEB_CONCURRENCY.

    On two cores a second process doubles the pages per second for 20 MB of memory; a
    third adds little but its memory.
    """
    value = environ.get("WEB_CONCURRENCY") or "1"
    if not value.isdecimal() or not 1 <= int(value) <= MAX_CONNECTIONS:
        raise ConfigError(
            f"{{ 'WEB_CONCURRENCY должна быть числом от 1 до {MAX_CONNECTIONS} (каждому процессу нужно своё соединение с базой), а не {value!r}.' if ru else 'WEB_CONCURRENCY must be a number from 1 to {MAX_CONNECTIONS} (each process needs a database connection), not {value!r}.' }}",
        )
    return int(value)


def secret_key(environ, on_dyno):
    """Return the key that signs the session cookie; a laptop's is kept in instance/."""
    key = environ.get("SECRET_KEY", "")
    if key and not (on_dyno and len(key) < MIN_KEY_LENGTH):
        return key
    if on_dyno:
        raise ConfigError(
            "{{ 'SECRET_KEY не задана или слишком короткая: впишите в Settings, Config Vars результат команды python -c \'import secrets; print(secrets.token_hex())\'.' if ru else 'SECRET_KEY is not set or too short: under Settings, Config Vars enter what python -c \'import secrets; print(secrets.token_hex())\' prints.' }}",
        )
    file = ROOT / "instance" / "secret_key"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(), encoding="utf-8")
    return file.read_text(encoding="utf-8")
