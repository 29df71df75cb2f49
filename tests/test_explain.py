"""python -m doctor explain: what a line, or a whole pasted log, means; the cause and not what follows from it."""

import io
import random
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from lab import LANGUAGES, ROOT, TEMPLATE
from test_guide import HEROKU

LOG = tomllib.loads((TEMPLATE / "doctor" / "log.toml").read_text(encoding="utf-8"))["log"]
LINES = tomllib.loads(Path(__file__).with_name("log_lines.toml").read_text(encoding="utf-8"))
BEFORE = [
    "",
    "2026-11-25T10:00:00.123456+00:00 app[web.1]: ",
    "remote: ",
    "\x1b[1;31m",
]


def words(language):
    return tomllib.loads((ROOT / "templates" / language / "log_words.toml").read_text(encoding="utf-8"))


@pytest.fixture
def explain(doctor, capsys):
    """A function: (exit status, what is printed) of `python -m doctor explain LINE`."""

    def explain(line):
        status = doctor.main(["explain", line])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return explain


def first(text):
    """The line of an answer that tells the cause."""
    return text.partition("\n")[0]


# --- lines ---


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("row", LINES)
def test_a_line_is_known_by_its_own_row(doctor, row, before):
    for line in LINES[row]:
        seen = [doctor.explain.meaning(part) for part in doctor.explain.lines(before + line)]
        assert [found and found[0] for found in seen] == [row], line


def test_every_row_has_a_line():
    """So none stands behind another one that takes all its lines."""
    assert LINES.keys() == {key for key in LOG if not re.fullmatch(r"[HRL]\d\d|exception", key)}


# What of a line has to stand in its answer: the name, the package, the command.
CURES = [
    ("ModuleNotFoundError: No module named 'flask_wtf'", "Add flask-wtf to requirements.txt"),
    ("ModuleNotFoundError: No module named 'cv2'", "Add opencv-python-headless to"),
    ("ImportError: No module named 'PIL.Image'", "Add pillow to"),
    ("ModuleNotFoundError: No module named 'sklearn'", "Add scikit-learn to"),
    ("ModuleNotFoundError: No module named 'yaml'", "Add pyyaml to"),
    ("ModuleNotFoundError: No module named 'dotenv'", "Add python-dotenv to"),
    ("ModuleNotFoundError: No module named 'psycopg2'", "Add psycopg2-binary to"),
    ("ModuleNotFoundError: No module named 'my_helpers'", "no module my_helpers"),
    ("ModuleNotFoundError: No module named 'distutils'", "setuptools"),
    ("ModuleNotFoundError: No module named 'imghdr'", "since version 3.13"),
    ("ModuleNotFoundError: No module named 'imp'", "since version 3.12"),
    ("ModuleNotFoundError: No module named 'pkg_resources'", "setuptools<81"),
    ("ImportError: cannot import name 'url_quote' from 'werkzeug.urls' (/app/x.py)", "werkzeug<3"),
    ("ImportError: cannot import name 'soft_unicode' from 'markupsafe'", "markupsafe<2.1"),
    ("ImportError: cannot import name 'Markup' from 'flask'", "flask has no Markup"),
    ("ImportError: cannot import name 'create_ap' from 'shop'", "create_ap cannot be imported (shop)"),
    ("ERROR: Invalid requirement: 'requests=2.32.3'", "requests==2.32.3"),
    ("ERROR: Invalid requirement: 'flask = 3.1'", "flask==3.1"),
    ("ERROR: No matching distribution found for flask==99.1", "flask==99.1"),
    ("ERROR: No matching distribution found for pywin32==311", "Remove the line"),
    ("Failed to find attribute 'server' in 'shop.main'.", "no app server"),
    ("OSError: libzbar.so.0: cannot open shared object file", "libzbar.so.0"),
    ("jinja2.exceptions.TemplateNotFound: Index.html", "Index.html"),
    ("werkzeug.routing.exceptions.BuildError: Could not build url for endpoint 'home'.", "(home)"),
    ("error: src refspec trunk does not match any", "no branch trunk"),
    ("KeyError: 'API_TOKEN'", "(API_TOKEN)"),
    ("KeyError: '0af31b2c9d7e'", "(0af31b2c9d7e)"),
    ("bash: gunicorn: command not found", "(gunicorn)"),
    ("heroku[web.1]: Process exited with status 127", "H206"),
    ("heroku[web.1]: Process exited with status 137", "memory"),
    ("Error: Existing 'my env/' directory found.", "virtual environment my env is committed"),
    ('(psycopg.errors.UndefinedTable) relation "authors" does not exist', "(authors)"),
    ("Error: The requested Python version isn't available.", ".python-version"),
    ("Error: The requested Python version has reached end-of-life.", "3.11, 3.12"),
    ("No default language could be detected for this app.", "H102"),
    ('at=error code=H14 desc="No web processes running"', "H404"),
    ("Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds", "0.0.0.0"),
    ("Can't locate revision identified by '0002'", "flask db downgrade"),
]


@pytest.mark.parametrize(("line", "cure"), CURES, ids=[line[:60] for line, _ in CURES])
def test_an_answer_uses_what_the_line_says(explain, line, cure):
    status, text = explain(line)
    assert status == 0, text
    assert cure in text
    assert "{" not in text


# The headlines of https://github.com/heroku/heroku-buildpack-python, v351.
HEADLINES = """
Error: Can't find the buildpack's build data file.
Error: Can't parse Pipfile.lock.
Error: Couldn't find any supported Python package manager files.
Error: Existing '.heroku/python/' directory found.
Error: Existing 'venv/' directory found.
Error: Failed to run the bin/post_compile script.
Error: Implicit setup.py file support has been sunset.
Error: Invalid Python version in .python-version.
Error: Invalid Python version in Pipfile.lock.
Error: Invalid Python version in runtime.txt.
Error: Multiple Python package manager files were found.
Error: Multiple Python versions found in .python-version.
Error: No 'Pipfile.lock' found!
Error: No Python version found in .python-version.
Error: No Python version was specified.
Error: One of your dependencies contains broken metadata.
Error: Package installation failed since SQLite headers weren't found.
Error: Package installation failed since the GDAL library wasn't found.
Error: The 'heroku-20' stack is no longer supported.
Error: The 'heroku-30' stack isn't recognised.
Error: The Python buildpack has already been run this build.
Error: The cached Python version has reached end-of-life.
Error: The cached Python version isn't recognised.
Error: The requested Python version has reached end-of-life.
Error: The requested Python version isn't available.
Error: The requested Python version isn't recognised.
Error: The runtime.txt file isn't supported when using uv.
Error: Unable to download NLTK data.
Error: Unable to download/install Python.
Error: Unable to generate Django static files.
Error: Unable to install Pipenv.
Error: Unable to install Poetry.
Error: Unable to install dependencies using Pipenv.
Error: Unable to install dependencies using Poetry.
Error: Unable to install dependencies using pip.
Error: Unable to install dependencies using uv.
Error: Unable to install pip.
Error: Unable to install uv.
Error: Unable to read .python-version.
Error: Your .python-version file is spelled incorrectly.
Error: Your app is configured to use the Python buildpack,
Internal Error: An unhandled buildpack error occurred.
Internal Error: Unable to locate the Python stdlib's bundled pip.
Internal error: Unhandled Python major version: 4.
Warning: A Python patch update is available!
Warning: No Python version was specified.
Warning: Support for Python 3.10 is deprecated!
Warning: The .heroku/collectstatic_disabled file is deprecated.
Warning: The runtime.txt file is deprecated.
""".strip().splitlines()


@pytest.mark.parametrize("headline", HEADLINES)
def test_every_headline_of_the_build_is_explained(explain, headline):
    status, text = explain(f"remote: \x1b[1;31m !     {headline}\x1b[0m")
    assert status == 0, text
    assert "…" not in text  # all names are filled in


# https://devcenter.heroku.com/articles/error-codes
CODES = [f"H{n}" for n in (*range(10, 29), 31, 32, *range(80, 84), 99)]
CODES += [f"R{n}" for n in (*range(10, 18), 99)] + [f"L{n}" for n in range(10, 16)]


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_the_platform_is_explained(doctor, explain, capsys, code):
    lines = {"H": f'heroku[router]: at=error code={code} desc="Something" method=GET path="/" status=503'}
    line = lines.get(code[0], f"heroku[web.1]: Error {code} (Something)")
    status, text = explain(line)
    assert (status, first(text)) == (0, words("en")[code]["means"])
    assert explain(code) == (0, text)
    assert doctor.main([code.lower()]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    "line",
    [
        "all is well",
        "I have an error in my app, please help",
        'at=info method=GET path="/H10/page" status=200',
        "Starting process with command `python -m deploy.server`",
        "State changed from starting to up",
        "heroku[web.1]: Idling",
        "lorem ipsum Error dolor",
        "[2026-11-01 10:00:00 +0000] [4] [INFO] Booting worker with pid: 9",
        "[2026-11-01 10:00:00 +0000] [4] [INFO] Listening at: http://0.0.0.0:5123 (4)",
        "[2026-11-01 10:00:00 +0000] [9] [INFO] Worker exiting (pid: 9)",
        "Collecting flask==3.1.3 (from -r requirements.txt (line 3))",
        "Requirement already satisfied: flask",
        "-----> Installing dependencies using pip 26.1",
        "INFO  [alembic.runtime.migration] Will assume transactional DDL.",
        "remote:        Procfile declares types -> release, web",
        "remote: Resolving deltas: 100% (1/1), done.",
        '127.0.0.1 - - "POST /login HTTP/1.1" 302 -',
        "KeyError: 'name'",
        "ValueError: invalid literal for int() with base 10: 'x'",
        "",
    ],
)
def test_what_is_not_known_or_no_fault_is_said_to_be_unknown(explain, line):
    status, text = explain(line or " ")
    assert status == 2
    assert "not known here" in text


@pytest.mark.parametrize("line", LINES["stopped"])
def test_what_is_normal_is_said_to_be_normal(explain, line):
    status, text = explain(f"heroku[web.1]: {line}")
    assert status == 0
    assert "normal" in first(text)


# --- whole logs ---

CRASH = """
2026-11-25T10:00:00+00:00 heroku[web.1]: Starting process with command `gunicorn main:app`
2026-11-25T10:00:02+00:00 app[web.1]: [2026-11-25 10:00:02 +0000] [2] [INFO] Starting gunicorn 23.0.0
2026-11-25T10:00:03+00:00 app[web.1]: [2026-11-25 10:00:03 +0000] [2] [ERROR] Exception in worker process
2026-11-25T10:00:03+00:00 app[web.1]: Traceback (most recent call last):
2026-11-25T10:00:03+00:00 app[web.1]:   File "/app/shop/main.py", line 31, in <module>
2026-11-25T10:00:03+00:00 app[web.1]:     import something
2026-11-25T10:00:03+00:00 app[web.1]:   File "/app/.heroku/python/lib/python3.13/os.py", line 679, in x
2026-11-25T10:00:03+00:00 app[web.1]:     raise KeyError
2026-11-25T10:00:03+00:00 app[web.1]: ModuleNotFoundError: No module named 'bs4'
2026-11-25T10:00:03+00:00 app[web.1]: [2026-11-25 10:00:03 +0000] [2] [ERROR] Reason: Worker failed to boot.
2026-11-25T10:00:04+00:00 heroku[web.1]: Process exited with status 3
2026-11-25T10:00:04+00:00 heroku[web.1]: State changed from starting to crashed
2026-11-25T10:00:09+00:00 heroku[router]: at=error code=H10 desc="App crashed" method=GET path="/"
""".strip()
RAISED = "ModuleNotFoundError: No module named 'bs4'"
BUILD = """
remote: -----> Python app detected
remote:  !     Warning: The runtime.txt file is deprecated.
remote:        Collecting psycopg2==2.9.1
remote:          error: subprocess-exited-with-error
remote:              Error: pg_config executable not found.
remote:        error: metadata-generation-failed
remote:  !     Error: Unable to install dependencies using pip.
remote:  !     Push rejected, failed to compile Python app.
 ! [remote rejected] main -> main (pre-receive hook declined)
error: failed to push some refs to 'https://git.heroku.com/app.git'
""".strip()
PUSH = """
warning: in the working copy of 'app.py', LF will be replaced by CRLF the next time Git touches it
error: src refspec master does not match any
error: failed to push some refs to 'https://git.heroku.com/app.git'
""".strip()
SLOW = """
heroku[web.1]: Starting process with command `python bot.py`
heroku[web.1]: Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds of launch
heroku[web.1]: Stopping process with SIGKILL
heroku[web.1]: Process exited with status 137
heroku[web.1]: State changed from starting to crashed
""".strip()
MEMORY = """
heroku[web.1]: Process exited with status 143
heroku[router]: at=error code=H12 desc="Request timeout" method=GET path="/"
heroku[web.1]: Process exited with status 1
heroku[web.1]: Error R14 (Memory quota exceeded)
""".strip()
TABLE = """
[2026-11-25 10:00:00,123] ERROR in app: Exception on / [GET]
Traceback (most recent call last):
  File "/app/.heroku/python/lib/python3.13/site-packages/sqlalchemy/engine/base.py", line 1967, in x
    self.dialect.do_execute(
psycopg.errors.UndefinedTable: relation "users" does not exist
LINE 1: SELECT users.id
The above exception was the direct cause of the following exception:
Traceback (most recent call last):
  File "/app/views.py", line 7, in index
    users = db.session.scalars(query)
sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation "users" does not exist
""".strip()


@pytest.mark.parametrize(
    ("log", "cause", "follows"),
    [
        (CRASH, "bs4", ["Exception in worker process", "to crashed", "H10"]),
        (CRASH.replace(RAISED, "KeyError: 'API_TOKEN'"), "API_TOKEN", ["H10"]),
        (CRASH.replace(RAISED, "NewError: ten apples"), "NewError: ten apples", ["H10"]),
        (CRASH.replace(RAISED, "shop.Missing"), "shop.Missing", ["H10"]),
        (CRASH.replace(RAISED, "OtherError: a\nNameError: name 'os' is not defined"), "os", ["H10"]),
        (BUILD, "psycopg2", ["subprocess-exited-with-error", "Push rejected", "failed to push"]),
        (PUSH, "branch master", ["failed to push some refs"]),
        (SLOW, "Boot timeout", ["SIGKILL", "to crashed"]),
        (SLOW.replace("heroku[web.1]: Error", " * Running on http://127.0.0.1:5000\nError"), "this computer", ["R10"]),
        (MEMORY, "512 MB", ["H12", "exited with status 1"]),
        (TABLE, "users", ["Exception on"]),
    ],
)
def test_of_a_log_the_cause_is_told_and_not_what_follows(doctor, capsys, monkeypatch, log, cause, follows):
    for given in (log, log.replace("\n", "\r\n"), f"before\n{log}\nafter"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8"))
        assert doctor.main(["explain"]) == 0
        text = capsys.readouterr().out
        assert cause in first(text)
        paragraphs = text.strip().split("\n\n")
        assert len(paragraphs) == 2, text
        for what in follows:
            assert what in paragraphs[1].partition(": ")[2]
            assert what not in paragraphs[0]


def test_a_log_that_the_shell_has_joined_is_told_line_by_line(explain):
    assert explain(" ".join(CRASH.split("\n"))) == explain(CRASH)


def test_the_place_is_the_last_one_in_the_code_of_the_app(explain):
    _, text = explain(CRASH)
    assert "In your code: shop/main.py, line 31." in text
    assert ".heroku" not in text
    _, text = explain(
        'File "/app/a.py", line 3\nTypeError: x\nFile "<frozen y>", line 1\nZeroDivisionError: division by zero'
    )
    assert "a.py, line 3" in text
    assert "frozen" not in text


def test_without_a_cause_the_most_telling_of_the_rest_is_explained(explain):
    _, text = explain('heroku[router]: at=error code=H10 desc="App crashed"\nState changed from up to crashed')
    assert text.startswith("App crashed")
    _, text = explain("State changed from up to crashed\nProcess exited with status 3\nat=error code=H10")
    assert "gunicorn" in first(text)
    assert "What follows from it: State changed from up to crashed, H10" in text


def test_of_many_causes_three_are_told(doctor, explain):
    _, text = explain("\n".join(line for lines in LINES.values() for line in lines))
    assert text.count(doctor.report.say("fix")) == 3


def test_numbers_that_mean_something_are_not_taken_for_the_same(explain):
    _, text = explain("Process exited with status 143\nProcess exited with status 127")
    assert "not installed" in first(text)
    _, text = explain("Error R14 (x)\nError R12 (x)")
    assert text.count("Do this:") == 2


def test_a_traceback_whose_line_breaks_are_lost_is_read_to_its_end(doctor, capsys):
    line = "File \"/app/bot.py\", line 5, in <module> import urldl ModuleNotFoundError: No module named 'urldl'"
    assert doctor.main(["explain", line]) == 0
    assert "urldl" in capsys.readouterr().out.splitlines()[0]


def test_a_log_is_explained_from_a_pipe(baked):
    command = f"echo 'at=error code=H14' | {sys.executable} -m doctor explain"
    assert "No web process" in baked().run("sh", "-c", command).stdout


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1251"])
def test_the_encoding_of_a_log_does_not_matter(baked, encoding):
    project = baked(language="en")
    given = f"Запуск\n{CRASH}\n".encode(encoding)
    run = subprocess.run(
        [sys.executable, "-m", "doctor", "explain"], cwd=project.path, input=given, capture_output=True, check=False
    )
    assert (run.returncode, b"bs4" in run.stdout.splitlines()[0]) == (0, True), run.stderr


def test_a_log_that_is_not_given_is_unknown(baked):
    run = baked(language="en").run("sh", "-c", f"{sys.executable} -m doctor explain <&-", check=False)
    assert (run.returncode, "not known here" in run.stderr) == (2, True)


def test_an_answer_does_nothing_to_the_terminal(explain):
    _, text = explain("jinja2.exceptions.UndefinedError: \x07\x1b]0;title\x07 'x' is undefined")
    assert text.replace("\n", "").isprintable()


def test_a_long_log_takes_no_long_time(doctor):
    letters = random.Random(1)
    names = ["".join(letters.choices("abcdefgh", k=30)) for _ in range(10_000)]
    lines = [f"2026-11-25T10:00:00+00:00 app[web.1]: 10.1.2.3 - - GET /{name} 200 Error" for name in names]
    lines.insert(5_000, CRASH)
    start = time.process_time()  # others may use the machine as well
    assert "bs4" in first(doctor.explain.log("\n".join(lines)))
    assert "bs4" in first(doctor.explain.log("x " * 1_000_000 + RAISED + " x" * 1_000_000))
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "'", "(a", "/", " = ", "\\", ".", "_A", "A_", '"', "localhost, (a) ", "No such file or directory: "),
        *("cannot import name '", "KeyError: 'A_", 'relation "a" ', "Existing '", "redis.ConnectionError", "a: "),
        *("stack ", "SSL: ", "No module named ", "Invalid requirement: a", "column a ", "found ", "syntax error "),
    ],
)
def test_no_pattern_tries_all_ways(doctor, piece):
    line = (piece * doctor.explain.MAX_LINE)[: doctor.explain.MAX_LINE]
    explain = doctor.explain
    for key, pattern in [*explain.rows(), *vars(explain).items()]:
        if isinstance(pattern, re.Pattern):
            start = time.process_time()
            pattern.sub("", line)
            assert time.process_time() - start < 1, key


# --- words ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_rows_and_words_belong_together(doctor, language):
    said, english = words(language), words("en")
    assert list(LOG) == list(said)
    assert {id for row in LOG.values() for id in row["checks"]} <= set(doctor.explain.steps())
    assert {row.get("kind", "cause") for row in LOG.values()} == set(doctor.explain.KINDS)
    assert {row["of"] for row in LOG.values() if "of" in row} == doctor.explain.modules().keys()
    made = {"name", "newest", "oldest", "offered"}
    made_by = {"lost": {"since"}, "moved": {"package", "since"}, "packages": {"package"}, "near": {"right"}}
    for key, row in LOG.items():
        groups = set(re.compile(row.get("line", "")).groupindex) | made | made_by.get(row.get("of"), set())
        groups |= {"text"} if key == "exception" else set()
        used = set(re.findall(r"\{(\w+)\}", said[key]["means"] + said[key]["fix"]))
        assert used <= groups, key
        assert used == set(re.findall(r"\{(\w+)\}", english[key]["means"] + english[key]["fix"])), key
        assert said[key].keys() == {"means", "fix"}


# Beside those of the guides; all of them are in version 11.10 of the CLI (seen with --help).
HEROKU_TOO = {
    *(
        "addons",
        "apps",
        "buildpacks",
        "help",
        "buildpacks:add",
        "buildpacks:remove",
        "buildpacks:set",
        "certs:auto",
        "domains",
        "drains",
    ),
    *("git:remote", "maintenance:off", "pg:reset", "ps", "ps:restart", "ps:stop", "releases:output", "run:detached"),
    "stack:set",
}
FLASK_DB = {"init", "migrate", "upgrade", "downgrade", "merge", "stamp"}
PIP = {"install", "freeze", "list"}
LOCKS = {"lock", "pin", "python", "export"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_commands_in_the_cures_exist(language):
    known = set(subprocess.run(["git", "--list-cmds=main"], check=True, capture_output=True, text=True).stdout.split())
    for key, said in words(language).items():
        fix = said["fix"]
        assert set(re.findall(r"(?<!push )\bheroku ([a-z][a-z:]*)", fix)) <= HEROKU | HEROKU_TOO, key
        assert set(re.findall(r"(?<!\.)\bgit ([a-z][a-z-]*)", fix)) <= known, key
        assert set(re.findall(r"\bflask db (\w+)", fix)) <= FLASK_DB, key
        assert set(re.findall(r"\bpip ([a-z]+)", fix)) <= PIP, key
        assert set(re.findall(r"\b(?:uv|poetry|pipenv) ([a-z]+)", fix)) <= LOCKS, key


def test_an_unknown_line_ends_with_two(baked):
    result = baked().run(sys.executable, "-m", "doctor", "explain", "all is well", check=False)
    assert (result.returncode, "not known here" in result.stderr) == (2, True)
