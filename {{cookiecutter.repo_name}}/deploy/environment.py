"""What the environment says about the app, or one sentence about what is wrong."""

import os
import re
import secrets
import socket
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from dotenv import load_dotenv

import config
from deploy import platforms

ROOT = Path(__file__).resolve().parent.parent
# Fewer make visitors wait for each other: of pages whose query takes 50 ms, 15
# connections answer 250 in a second, 5 answer 90.
MAX_CONNECTIONS = getattr(config, "MAX_CONNECTIONS", 15)
# A query that waits longer, for a lock or because it reads too much, is given up: its
# visitor has gone by then, and others wait behind it.
STATEMENT_TIMEOUT = 4  # seconds
# A connection can go dead on its way, without a word. The app finds out in 4 s, whether
# it waits for an answer or not (in 50, if only one direction is dead), and the server in
# 11, also where its last answer arrived nowhere: it lets go then what a visit had locked.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
# https://www.postgresql.org/docs/current/runtime-config-connection.html
TCP = {
    "connect_timeout": 4,  # seconds
    "keepalives_idle": 2,  # seconds
    "keepalives_interval": 1,  # seconds
    "keepalives_count": 2,
    "tcp_user_timeout": 4000,  # milliseconds; Linux only
}
SERVER_TCP = {
    "tcp_keepalives_idle": 5,  # seconds
    "tcp_keepalives_interval": 2,  # seconds
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 11_000,  # milliseconds; PostgreSQL 12 and newer
}
# What the deployment guide has you copy from the database's credentials.
GUIDE_VARIABLES = ("DB_HOST", "DB_USERNAME", "DB_PASSWORD", "DATA_BASE")
# The address of a pooler in front of the database, as Heroku calls it.
POOLER = "DATABASE_CONNECTION_POOL_URL"
# Shorter keys can be guessed, and so can one that repeats a few characters.
# secrets.token_hex() makes one of 64 characters, of 16 kinds.
MIN_KEY_LENGTH = 32  # characters
MIN_KEY_KINDS = 8
# Hosts that only this computer can be called by.
LOCALHOST = ("localhost", ".localhost", "127.0.0.1")
# For whom the app is served: SERVE_TO.
LAPTOP, INTERNET = "laptop", "internet"

with Path(__file__).with_name("words.toml").open("rb") as file:
    WORDS = tomllib.load(file)


class ConfigError(SystemExit):
    """Ends the program with one sentence, not a traceback: nothing else would help."""

    def __init__(self, sentence, **details):
        """sentence: its name in words.toml. details: what it has placeholders for."""
        super().__init__(WORDS[sentence].format(**details))


def platform(environ):
    """Return the platforms.Platform that serves the internet here, None on a laptop.

    The server command serves the internet (it sets SERVE_TO), unless SERVE_TO says
    laptop; everything else serves a laptop, unless a platform shows itself.
    """
    serve_to = environ.get("SERVE_TO") or LAPTOP
    if serve_to not in (LAPTOP, INTERNET):
        raise ConfigError("serve_to_unknown", value=serve_to)
    found = platforms.find(environ)
    return found or (platforms.SERVER if serve_to == INTERNET else None)


def where(home):
    """Return the words for where settings are set; home: a Platform, None for a laptop."""
    return WORDS["where"][home.name if home else LAPTOP]


def bind(address, port):
    """Return the port, or a free one for 0. Raises OSError where it is in use."""
    with socket.socket() as probe:
        if os.name == "posix":
            # A port that was in use a moment ago is free again.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        return probe.getsockname()[1]


def whole_number(value, most):
    """Return the number from 1 to most that a text holds, None if it holds none."""
    short = value.isdecimal() and len(value) <= len(str(most))
    return int(value) if short and 1 <= int(value) <= most else None


def load(environ=None):
    """Return the settings as a dict for app.config. Raises ConfigError.

    environ: a mapping to read from (default: the process environment, then .env).
    """
    if environ is None:
        load_dotenv(ROOT / ".env")
        environ = os.environ
    home = platform(environ)
    workers = worker_count(environ)
    pooler = environ.get(POOLER, "").strip()
    url = database_url({**environ, "DATABASE_URL": pooler} if pooler else environ)
    debug = environ.get("FLASK_DEBUG", "").lower()
    if home and debug not in ("", "0", "false", "no"):
        # The debugger runs whatever a visitor types.
        raise ConfigError("debug_is_on", platform=home.name, where=where(home))
    if home and url is None:
        how = WORDS["database"].get(home.name, WORDS["database"]["other"])
        raise ConfigError("no_database", how=how.format(where=where(home)))
    given = getattr(config, "SQLALCHEMY_ENGINE_OPTIONS", {})
    return {
        "PLATFORM": home,
        "WORKERS": workers,
        "STALE_CREDENTIALS": stale_credentials(environ),
        "SECRET_KEY": secret_key(environ, home),
        "SQLALCHEMY_DATABASE_URI": url,
        "SQLALCHEMY_ENGINE_OPTIONS": {
            **given,
            "pool_size": MAX_CONNECTIONS // workers,
            "max_overflow": 0,
            # The few that calm hours need stay in use, and keep what they have prepared.
            "pool_use_lifo": True,
            # An error message must not hold what visitors have written.
            "hide_parameters": True,
            # A request that gets no connection within this time is told to come back.
            "pool_timeout": 4,  # seconds
            "connect_args": connect_args(url, environ, home, pooler)
            | given.get("connect_args", {}),
        },
        # The internet comes over https only; a laptop over plain http.
        "SESSION_COOKIE_SECURE": bool(home),
        "SESSION_COOKIE_SAMESITE": getattr(config, "SESSION_COOKIE_SAMESITE", "Lax"),
        # Seconds that a browser keeps a static file.
        "SEND_FILE_MAX_AGE_DEFAULT": getattr(config, "SEND_FILE_MAX_AGE_DEFAULT", 600),
        # A page of another site can lead a name of its own to this computer.
        "TRUSTED_HOSTS": None if home else [*LOCALHOST, *laptop_hosts(environ)],
    }


def database_url(environ):
    """Return the address of the database for SQLAlchemy, None where none is given.

    DATABASE_URL comes first: Heroku keeps it current, copied credentials go stale.
    https://devcenter.heroku.com/articles/connecting-heroku-postgres#connecting-in-python
    """
    if url := environ.get("DATABASE_URL", "").strip():
        scheme, _, rest = url.partition("://")
        if scheme not in ("postgres", "postgresql", "postgresql+psycopg") or not rest:
            raise ConfigError("database_url_scheme", where=where(platform(environ)))
        # Quoted wrongly, a part of the password would be taken for the host, and logged.
        login, _, _ = rest.partition("/")
        address, _, _ = rest.partition("?")
        torn = "?" in login or not address.count("@") == login.count("@") <= 1
        try:
            address = split(url)
            torn = torn or address.netloc.endswith(":") or address.port == 0
        except ValueError:  # a port that is no number, say
            torn = True
        if torn:
            # "from None": the cause would show the address with its password.
            details = {"where": where(platform(environ))}
            raise ConfigError("database_url_unquoted", **details) from None
        # SQLAlchemy refuses Heroku's postgres://, so the driver is named here.
        return f"postgresql+psycopg://{rest}"

    missing = [name for name in GUIDE_VARIABLES if not environ.get(name)]
    if len(missing) == len(GUIDE_VARIABLES):
        return None
    if missing:
        details = {"names": ", ".join(missing), "where": where(platform(environ))}
        raise ConfigError("credentials_incomplete", **details)
    port = environ.get("DB_PORT") or "5432"
    if not whole_number(port, 65535):
        raise ConfigError("db_port_no_number", port=port)
    # Quoted, a password may hold any character, even @ and /.
    user, password, name = (quote(environ[n], safe="") for n in GUIDE_VARIABLES[1:])
    host = environ["DB_HOST"].strip()
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host  # IPv6
    return f"postgresql+psycopg://{user}:{password}@{host}:{port}/{name}"


def stale_credentials(environ):
    """Return the names of the guide's variables that disagree with DATABASE_URL."""
    url = database_url(environ) if environ.get("DATABASE_URL", "").strip() else None
    if not url:
        return []
    url = split(url)
    user, password = unquote(url.username or ""), unquote(url.password or "")
    host = environ.get("DB_HOST", "")
    if host.strip(" []").lower() != url.hostname:
        host = url.hostname
    names = (host, user, password, url.path[1:])
    current = dict(zip(GUIDE_VARIABLES, names, strict=True))
    return [n for n, value in current.items() if environ.get(n, value) != value]


def split(url):
    """Return the parts of a database's address.

    Without SQLAlchemy, which the server's first process has no other use for: 20 MB.
    """
    scheme, _, rest = url.partition("://")
    address, mark, query = rest.replace("#", "%23").partition("?")
    login, at, place = address.rpartition("@")  # a password may hold [ as well
    return urlsplit(f"{scheme}://{quote(login, safe='%:')}{at}{place}{mark}{query}")


def connect_args(url, environ, home, pooler=""):
    """Return what each connection is made with; what the address itself says comes first."""
    query = parse_qs(split(url).query) if url else {}
    given = {name: values[-1] for name, values in query.items()}
    options = [f"-c statement_timeout={STATEMENT_TIMEOUT}s"]
    options += [f"-c {name}={value}" for name, value in SERVER_TCP.items()]
    # Of two settings the last counts.
    args = {"options": " ".join([*options, given.get("options", "")]).strip()}
    if pooler:  # it refuses them: MOVING-ON.md says how the time limit stays
        args = {}
    # A prepared query would fail when a release changes the columns that it reads, and
    # behind a pooler, which may change the connection with each transaction.
    args["prepare_threshold"] = None
    for name, value in TCP.items():
        if name not in given:
            args[name] = value
    # Where the platform's database has TLS, nothing less is accepted.
    if home and home.tls and "sslmode" not in given and "PGSSLMODE" not in environ:
        args["sslmode"] = "require"
    return args


def laptop_hosts(environ):
    """Return the names that a laptop answers to beside its own, from LAPTOP_HOSTS.

    In a codespace also the one of the port that it forwards:
    https://docs.github.com/en/codespaces/developing-in-a-codespace/default-environment-variables-for-your-codespace
    """
    names = environ.get("LAPTOP_HOSTS", "").replace(",", " ").lower().split()
    # Of an address, its host; browsers send it in small letters.
    names = [re.sub(r"^[a-z]+://|/.*", "", name) for name in names]
    codespace = environ.get("CODESPACE_NAME", "")
    if domain := codespace and environ.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN"):
        names.append(f"{codespace}-{environ.get('PORT', '5000')}.{domain}")
    return [name.removeprefix("*") for name in names]


def worker_count(environ):
    """Return how many web processes to start; Heroku sets WEB_CONCURRENCY to 2."""
    if not isinstance(MAX_CONNECTIONS, int) or MAX_CONNECTIONS < 1:
        raise ConfigError("connections_no_number", value=MAX_CONNECTIONS)
    value = environ.get("WEB_CONCURRENCY") or "1"
    number = whole_number(value, MAX_CONNECTIONS)
    if not number:
        details = {"most": MAX_CONNECTIONS, "value": value}
        raise ConfigError("web_concurrency_no_number", **details)
    return number


def secret_key(environ, home):
    """Return the key that signs the session cookie; a laptop's is kept in instance/."""
    key = environ.get("SECRET_KEY", "").strip()
    short = len(key) < MIN_KEY_LENGTH or len(set(key)) < MIN_KEY_KINDS
    if home and (short or "secrets.token_hex" in key):  # or the command, not its answer
        raise ConfigError("no_secret_key", where=where(home))
    return key or laptop_key()


def laptop_key():
    """Return the key of this copy of the project, which is made at the first start."""
    file = ROOT / "instance" / "secret_key"
    if not file.exists() or not file.stat().st_size:
        file.parent.mkdir(exist_ok=True)
        unfinished = file.with_name(f"secret_key.{os.getpid()}")
        unfinished.touch(mode=0o600)
        unfinished.write_text(secrets.token_hex(), encoding="utf-8")
        unfinished.replace(file)  # complete or not at all
    return file.read_text(encoding="utf-8")
