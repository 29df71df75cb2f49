"""python -m doctor explain: what a line, or a whole pasted log, means; the cause and not what follows from it."""

import io
import re
import sys
import time
import tomllib

import pytest

from lab import LANGUAGES, ROOT, TEMPLATE

LOG = tomllib.loads((TEMPLATE / "doctor" / "log.toml").read_text(encoding="utf-8"))["log"]


def words(language):
    return tomllib.loads((ROOT / "templates" / language / "doctor.toml").read_text(encoding="utf-8"))


@pytest.fixture
def explain(doctor, capsys):
    """A function: (exit status, what is printed) of `python -m doctor explain LINE`."""

    def explain(line):
        status = doctor.main(["explain", line])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return explain


# Each line, and a word of its cure.
LINES = [
    ("alembic.util.exc.CommandError: Can't locate revision identified by '0002'", "flask db downgrade"),
    ('at=error code=H10 desc="App crashed" method=GET path="/"', "H501"),
    ("Process exited with status 127", "H206"),
    ("bash: gunicorn: command not found", "requirements.txt"),
    ("bash: syntax error near unexpected token `('", "quotation marks"),
    ("Procfile declares types -> (none)", "H401"),
    ('at=error code=H14 desc="No web processes running"', "ps:scale web=1"),
    ("Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds", "0.0.0.0"),
    ("Error R14 (Memory quota exceeded)", "512 MB"),
    ("Can't load plugin: sqlalchemy.dialects:postgres", "postgresql://"),
    ("No default language could be detected for this app.", "root"),
    ("Compiled slug size: 605.7M is too large (max is 500M).", "500 MB"),
    ("ModuleNotFoundError: No module named 'flask_wtf'", "add flask-wtf to requirements.txt"),
    ("ModuleNotFoundError: No module named 'cv2'", "add opencv-python-headless to"),
    ("ImportError: No module named 'PIL.Image'", "add pillow to"),
    ("ModuleNotFoundError: No module named 'my_helpers'", "add its package to"),
    ("ModuleNotFoundError: No module named 'distutils'", "Python itself has lost the module distutils"),
    ("ModuleNotFoundError: No module named 'imp'", "Python itself has lost"),
    ("ModuleNotFoundError: No module named 'pkg_resources'", "setuptools<81"),
    ('FATAL: too many connections for role "u"', "smaller pool"),
    ("ERROR: Invalid requirement: 'requests=2.32.3'", "requests==2.32.3"),
    ("ERROR: Invalid requirement: 'flask = 3.1'", "pip freeze"),
    ("ERROR: Could not open requirements file: [Errno 2] No such file or directory: 'base.txt'", "H210"),
    ("ERROR: No matching distribution found for pywin32==311", "H207"),
    ("ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/", "H211"),
    ("  error: subprocess-exited-with-error", "newer version"),
    ("ERROR: Failed building wheel for greenlet", "newer version"),
    ("Error: pg_config executable not found.", "psycopg2-binary"),
    ("error: externally-managed-environment", "python3 -m venv .venv"),
    ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "opencv-python-headless"),
    ("OSError: libzbar.so.0: cannot open shared object file", "libzbar.so.0"),
    ("Failed to find attribute 'app' in 'main'.", "colon"),
    ('Error loading ASGI app. Could not import module "main".', "main:app"),
    ("Error: Could not import 'wsgi'.", "colon"),
    ("Error: No such command 'db'.", "FLASK_APP"),
    ("TypeError: create_app() takes 0 positional arguments but 2 were given", "brackets"),
    ("TypeError: create_app() takes from 0 to 1 positional arguments but 2 were given", "brackets"),
    ("[2026-11-01 10:00:00 +0000] [4] [CRITICAL] WORKER TIMEOUT (pid:9)", "30 seconds"),
    ("Worker (pid:9) was sent SIGKILL! Perhaps out of memory?", "WEB_CONCURRENCY"),
    ("ImportError: cannot import name 'db' from partially initialized module 'models'", "third file"),
    ("ImportError: attempted relative import with no known parent package", "dot"),
    (
        "ImportError: cannot import name 'url_quote' from 'werkzeug.urls' (/app/x.py)",
        "werkzeug.urls no longer has url_quote",
    ),
    ("ImportError: cannot import name 'Markup' from 'flask'", "flask no longer has Markup"),
    ("ImportError: cannot import name 'create_ap' from 'shop' (/app/shop/__init__.py)", "shop has no create_ap"),
    ("NameError: name 'os' is not defined", "Import os"),
    ("  SyntaxError: invalid syntax", "py_compile"),
    ("IndentationError: unexpected indent", "unexpected indent"),
    ("AssertionError: View function mapping is overwriting an existing endpoint function: index", "Rename"),
    ("werkzeug.routing.exceptions.BuildError: Could not build url for endpoint 'home'.", "view that exists"),
    ("jinja2.exceptions.TemplateNotFound: index.html", "template index.html"),
    ("RuntimeError: Working outside of application context.", "app.app_context()"),
    ("KeyError: 'SECRET_KEY'", "heroku config:set"),
    ("KeyError: '2f4b5c6d7e8f'", "2f4b5c6d7e8f"),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'D:\\\\work\\\\list.csv'", "path"),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'model.pkl'", "Commit it"),
    ("Multiple head revisions are present for given argument 'head'", "flask db merge heads"),
    ("Error: Target database is not up to date.", "flask db upgrade"),
    ('psycopg.errors.UndefinedTable: relation "users" does not exist', "heroku run flask db upgrade"),
    ("psycopg2.errors.UndefinedColumn: column users.age does not exist", "flask db migrate"),
    ('psycopg.errors.DuplicateTable: relation "users" already exists', "stamp head"),
    ('connection to server at "localhost" (127.0.0.1), port 5432 failed: Connection refused', "DATABASE_URL"),
    ('could not translate host name "db" to address: Name or service not known', "heroku config:get"),
    ('FATAL:  password authentication failed for user "u"', "DATABASE_URL"),
    ('FATAL:  no pg_hba.conf entry for host "10.1.1.1", user "u", database "d", SSL off', "sslmode=require"),
    ("psycopg2.OperationalError: server closed the connection unexpectedly", "pool_pre_ping"),
    ("sqlalchemy.exc.ArgumentError: Expected string or URL object, got None", "heroku addons:create"),
    ("! [rejected]        master -> master (non-fast-forward)", "git pull --rebase"),
    ("error: src refspec master does not match any", "HEAD:main"),
    ("fatal: 'heroku' does not appear to be a git repository", "heroku git:remote"),
    ("git@github.com: Permission denied (publickey).", "SSH key"),
    ("remote: error: File data.db is 130.00 MB; this exceeds GitHub's file size limit of 100.00 MB", "git rm --cached"),
    (" !     To create an app, verify your account by adding payment information.", "Billing"),
    ("The CSRF session token is missing.", "SECRET_KEY"),
    ("/usr/bin/env: 'bash\\r': No such file or directory", "LF"),
    ("UnicodeDecodeError: 'utf-8' codec can't decode byte 0xcf in position 3: invalid continuation byte", "UTF-8"),
    ("telegram.error.Conflict: Conflict: terminated by other getUpdates request", "one of them"),
    ("heroku[web.1]: Process exited with status 137", "memory"),
    ("bash: ./start.sh: Permission denied", "git add --chmod=+x"),
]


@pytest.mark.parametrize(("line", "cure"), LINES, ids=[line[:50] for line, _ in LINES])
def test_a_line_is_explained_by_its_cure(explain, line, cure):
    status, text = explain(line)
    assert status == 0, text
    assert cure in text


@pytest.mark.parametrize(
    "before",
    ["2026-11-25T10:00:00.123456+00:00 app[web.1]: ", "remote:        ", "\x1b[31m !     ", "Nov 25 10:00:00 PM  "],
)
def test_what_stands_before_a_line_does_not_matter(explain, before):
    for line, cure in LINES[::4]:
        status, text = explain(before + line + "\x1b[0m")
        assert (status, cure in text) == (0, True), line


# The headlines of https://github.com/heroku/heroku-buildpack-python, v351.
HEADLINES = """
Error: Implicit setup.py file support has been sunset.
Error: Invalid Python version in .python-version.
Error: No Python version was specified.
Error: The requested Python version isn't available.
Error: The runtime.txt file isn't supported when using uv.
Error: Unable to download/install Python.
Error: Unable to read .python-version.
Error: Couldn't find any supported Python package manager files.
Error: Existing 'venv/' directory found.
Error: Failed to run the bin/post_compile script.
Error: Multiple Python package manager files were found.
Error: Multiple Python versions found in .python-version.
Error: No Python version found in .python-version.
Error: The 'heroku-20' stack is no longer supported.
Error: The 'heroku-30' stack isn't recognised.
Error: The cached Python version has reached end-of-life.
Error: The cached Python version isn't recognised.
Error: The requested Python version has reached end-of-life.
Error: The requested Python version isn't recognised.
Error: Unable to download NLTK data.
Error: Unable to install Pipenv.
Error: Unable to install Poetry.
Error: Unable to install uv.
Error: Your .python-version file is spelled incorrectly.
Warning: No Python version was specified.
Warning: The runtime.txt file is deprecated.
Error: Can't parse Pipfile.lock.
Error: Existing '.heroku/python/' directory found.
Error: Invalid Python version in Pipfile.lock.
Error: Invalid Python version in runtime.txt.
Error: No 'Pipfile.lock' found!
Error: One of your dependencies contains broken metadata.
Error: Package installation failed since SQLite headers weren't found.
Error: Package installation failed since the GDAL library wasn't found.
Error: The Python buildpack has already been run this build.
Error: Unable to install dependencies using Pipenv.
Error: Unable to install dependencies using Poetry.
Error: Unable to install dependencies using pip.
Error: Unable to install dependencies using uv.
Error: Unable to install pip.
Internal Error: An unhandled buildpack error occurred.
Warning: A Python patch update is available!
Warning: Support for Python 3.10 is deprecated!
Warning: The .heroku/collectstatic_disabled file is deprecated.
Error: Unable to generate Django static files.
Error: Your app is configured to use the Python buildpack,
""".strip().splitlines()


@pytest.mark.parametrize("headline", HEADLINES)
def test_every_headline_of_the_build_is_explained(explain, headline):
    status, text = explain(f"remote:  !     {headline}")
    assert status == 0, text
    assert "…" not in text  # all names are filled in


# https://devcenter.heroku.com/articles/error-codes
CODES = [f"H{n}" for n in (*range(10, 29), 31, 70, *range(80, 84), 99)]
CODES += [f"R{n}" for n in (10, *range(12, 18), 99)] + [f"L{n}" for n in range(10, 16)]


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_the_platform_is_explained(explain, code):
    lines = {"H": f'heroku[router]: at=error code={code} desc="Something" method=GET path="/" status=503'}
    line = lines.get(code[0], f"heroku[web.1]: Error {code} (Something)")
    status, text = explain(line)
    assert status == 0, text
    assert words("en")["log"][code]["means"] in text


@pytest.mark.parametrize(
    "line",
    [
        "all is well",
        "at=info method=GET path=/H10/page status=200",
        "Starting process with command `python -m deploy.server`",
        "State changed from starting to up",
        "lorem ipsum Error dolor",
        "[2026-11-01 10:00:00 +0000] [4] [INFO] Booting worker with pid: 9",
        "Collecting flask==3.1.3 (from -r requirements.txt (line 3))",
        "-----> Installing dependencies using pip 26.1",
        "KeyError: 'name'",
        "ValueError: invalid literal for int() with base 10: 'x'",
    ],
)
def test_what_is_not_known_or_no_fault_is_said_to_be_unknown(explain, line):
    status, text = explain(line)
    assert status == 2
    assert "not known here" in text


# --- whole logs ---

CRASH = """
2026-11-25T10:00:00+00:00 heroku[web.1]: Starting process with command `gunicorn main:app`
2026-11-25T10:00:02+00:00 app[web.1]: [2026-11-25 10:00:02 +0000] [2] [INFO] Starting gunicorn 23.0.0
2026-11-25T10:00:03+00:00 app[web.1]: Traceback (most recent call last):
2026-11-25T10:00:03+00:00 app[web.1]:   File "/app/main.py", line 3, in <module>
2026-11-25T10:00:03+00:00 app[web.1]:     import requests
2026-11-25T10:00:03+00:00 app[web.1]: ModuleNotFoundError: No module named 'requests'
2026-11-25T10:00:03+00:00 app[web.1]: [2026-11-25 10:00:03 +0000] [2] [ERROR] Reason: Worker failed to boot.
2026-11-25T10:00:04+00:00 heroku[web.1]: Process exited with status 3
2026-11-25T10:00:04+00:00 heroku[web.1]: State changed from starting to crashed
2026-11-25T10:00:09+00:00 heroku[router]: at=error code=H10 desc="App crashed" method=GET path="/"
"""
BUILD = """
remote: -----> Python app detected
remote:  !     Error: Unable to install dependencies using pip.
remote:        ERROR: Invalid requirement: 'django=5.0' (from line 1 of requirements.txt)
remote:  !     Push rejected, failed to compile Python app.
remote: error: failed to push some refs to 'https://git.heroku.com/app.git'
"""


@pytest.mark.parametrize(
    ("log", "first", "not_told"),
    [
        (CRASH, "The dyno has no module requests", "App crashed"),
        (BUILD, "pip wants two equals signs", "The build has failed"),
        (
            CRASH.replace("ModuleNotFoundError: No module named 'requests'", "KeyError: 'API_TOKEN'"),
            "A config var",
            "App c",
        ),
    ],
)
def test_of_a_log_the_cause_is_told_and_not_what_follows(doctor, capsys, monkeypatch, log, first, not_told):
    for given in (log, log.replace("\n", "\r\n")):
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        assert doctor.main(["explain"]) == 0
        text = capsys.readouterr().out
        assert text.startswith(first)
        assert not_told not in text
        assert "What follows from it: " in text


def test_without_a_cause_the_end_is_explained(explain):
    status, text = explain('heroku[router]: at=error code=H10 desc="App crashed"\nState changed from up to crashed')
    assert (status, text.startswith("App crashed")) == (0, True)


def test_a_log_is_explained_from_a_pipe(baked):
    command = f"echo 'at=error code=H14' | {sys.executable} -m doctor explain"
    assert "No web process" in baked().run("sh", "-c", command).stdout


def test_a_long_log_and_long_lines_take_no_long_time(doctor):
    bad = ["cannot import name '" * 90, "a=" * 1000, "Invalid requirement: " + "x" * 1900, "No module named " * 100]
    lines = (["2026-11-25T10:00:00+00:00 app[web.1]: 10.1.2.3 - - GET /page 200"] * 250 + bad) * 100
    start = time.monotonic()
    assert doctor.explain.log(lines)
    assert time.monotonic() - start < 20  # a pattern that tries all ways would take hours


# --- words ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_lines_and_words_belong_together(doctor, language):
    said = words(language)["log"]
    assert list(LOG) == list(said)
    assert {id for row in LOG.values() for id in row["checks"]} <= set(doctor.explain.steps())
    assert {row.get("kind", "") for row in LOG.values()} == {"", "end", "calm"}
    for key, row in LOG.items():
        groups = set(re.compile(row["line"]).groupindex) | {"newest", "offered", "package"}
        used = set(re.findall(r"\{(\w+)\}", said[key]["means"] + said[key]["fix"]))
        assert used <= groups, key


def test_an_unknown_id_and_an_unknown_line_end_with_two(baked):
    result = baked().run(sys.executable, "-m", "doctor", "explain", "all is well", check=False)
    assert (result.returncode, "not known here" in result.stderr) == (2, True)
