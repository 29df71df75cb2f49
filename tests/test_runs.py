"""A baked project at work: started in every way, on both databases, and as the platform does it."""

import contextlib
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from http.client import HTTPException

import pytest
from justhtml import JustHTML

from lab import (
    EXAMPLES,
    LANGUAGES,
    SERVER,
    Postgres,
    Project,
    at_once,
    bake_into,
    dyno_environ,
    free_port,
    only_sentence,
    quoted,
    set_constant,
    wait_until,
)

# Each serves a project or starts a PostgreSQL.
pytestmark = pytest.mark.slow

USER = "student"
PASSWORD = "p@s/s:w#r%d&=+?'\"\\ ё{}"
ANSWERS = [(language, example) for language in LANGUAGES for example in EXAMPLES]


class Database:
    """A new database of a PostgreSQL that is reached over TCP with a password."""

    def __init__(self, postgres):
        self.postgres = postgres
        self.name = f"db_{secrets.token_hex(4)}"
        postgres.sql(f"CREATE DATABASE {self.name} OWNER {USER}")
        self.url = postgres.url(USER, PASSWORD, self.name)

    @property
    def guide(self):
        """The five variables of the deployment guide."""
        host, port = self.postgres.address.split(":")
        return {
            "FLASK_APP": "main.py:init_app()",
            "DB_HOST": host,
            "DB_PORT": port,
            "DB_USERNAME": USER,
            "DB_PASSWORD": PASSWORD,
            "DATA_BASE": self.name,
        }

    def value(self, query):
        """Return the first value of what a query finds."""
        return self.postgres.sql(query, database=self.name)[0][0]

    def has_table(self, name):
        return self.value(f"SELECT to_regclass('{name}')::text") == name


@pytest.fixture(scope="module")
def postgres(tmp_path_factory, environ):
    """A PostgreSQL with a user whose password holds every awkward character."""
    postgres = Postgres(bake_into(tmp_path_factory.mktemp("tcp"), environ, "server"))
    postgres.sql(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD {quoted(PASSWORD)}")
    return postgres


@pytest.fixture
def database(postgres):
    return Database(postgres)


@pytest.fixture
def dyno(postgres, database):
    """The environment of a dyno and nothing else."""
    return dyno_environ(postgres.project, database.url)


def refusal(project, command, environ):
    """Run a command that must fail; return the one line that it says about it."""
    project.environ = environ
    return only_sentence(project.run(*command.split(), check=False))


# --- every way to start it ---

SERVERS = {
    "flask run": ["flask", "run", "--port", "{port}"],
    "flask run with the reloader": ["flask", "run", "--debug", "--port", "{port}"],
    "flask --app": ["flask", "--app", "main.py:init_app()", "run", "--port", "{port}"],
    "python main.py": ["python", "main.py"],
    "python -m deploy.server": [*SERVER],
    "granian": ["granian", "--interface", "wsgi", "--factory", "--port", "{port}", "main:init_app"],
}
COMMANDS = {
    "pytest": ["pytest", "-q", "-k", "environment"],
    "python -m pytest": ["python", "-m", "pytest", "-q", "-k", "environment"],
    "pytest test": ["pytest", "-q", "test", "-k", "environment"],
    "pytest of a file": ["pytest", "-q", "test/test_deploy_environment.py"],
    "flask db": ["flask", "db", "current"],
    "flask shell": ["flask", "shell"],
}


@pytest.mark.parametrize("folder", ["Мои заметки"])
def test_every_launcher_works_in_any_folder(bake, serve, folder):
    project = bake(repo_name="app")
    project.path = project.path.rename(project.path.parent / folder)
    for name, command in SERVERS.items():
        for environ in ({}, {"PYTHONPATH": str(project.path)}):
            if environ and name != "flask run":
                continue
            server = serve(project, *command, environ=project.environ | environ)
            page = server.get("/")
            assert (page.status, 'id="add"' in page.text) == (200, True), f"{name} {environ}: {server.log()}"
            server.stop()
    for name, command in COMMANDS.items():
        assert project.run(*command).returncode == 0, name
    outside = project.run("pytest", "-q", folder, "-k", "environment", cwd=project.path.parent)
    assert "passed" in outside.stdout


def test_code_that_imports_main_gets_the_same_module(bake):
    """Flask loads the app as `my-app.main`; a second `main` beside it would be a second app."""
    project = bake(repo_name="my-app")
    code = "import sys, main\nprint('same module:', sys.modules['my-app.main'] is main)\n"
    result = subprocess.run(
        ["flask", "shell"],
        cwd=project.path,
        env=project.environ,
        input=code,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert "same module: True" in result.stdout


@pytest.mark.parametrize("name", ["shop", "app", "models"])
def test_a_module_of_the_folder_s_own_name_works(bake, serve, name):
    """Flask calls the folder `shop`; `shop.py` in it is then found as a module of that name."""
    project = bake(repo_name="notes-app")
    project.path = project.path.rename(project.path.parent / name)
    if name != "models":
        project.write(f"{name}.py", "GREETING = 'Hello from a module of my own'\n")
        project.write("views.py", f"from {name} import GREETING\n{project.read('views.py')}\n\nassert GREETING\n")
    for command in (["flask", "db", "upgrade"], ["flask", "routes"], ["pytest", "-q", "-k", "environment"]):
        assert project.run(*command).returncode == 0, command
    assert serve(project, "flask", "run", "--port", "{port}").get("/").status == 200


def test_the_guide_s_own_line_boots_the_app(bake, serve, environ, database):
    project = bake()
    variables = database.guide | {"PATH": environ["PATH"]}
    project.environ = variables
    project.run("flask", "db", "upgrade")
    line = "env FLASK_ENV=development flask run -h 0.0.0.0 -p $PORT"
    server = serve(project, "sh", "-c", line, environ=variables)
    assert "from the guide" in server.add("from the guide").text
    assert database.value("SELECT string_agg(body, '|') FROM notes") == "from the guide"


# --- its own tests, on both databases ---


@pytest.mark.parametrize(("language", "example"), ANSWERS)
def test_its_tests_pass_on_the_embedded_server_and_touch_no_other(bake, database, language, example):
    project = bake(language=language, example=example)
    project.write(".env", f"DATABASE_URL={database.url}\n")
    result = project.run("python", "-W", "error", "-m", "pytest", DATABASE_URL=database.url)
    assert re.search(r"\d+ passed", result.stdout)
    assert "skipped" not in result.stdout
    assert not database.has_table("notes")
    assert not database.has_table("alembic_version")


@pytest.mark.parametrize(("language", "example"), [("en", "notes"), ("ru", "none")])
def test_its_tests_pass_over_tcp_as_in_heroku_ci(bake, database, language, example):
    project = bake(language=language, example=example)
    kept = {name: project.environ[name] for name in ("PATH", "PYTEST_DEBUG_TEMPROOT")}
    heroku_ci = {"DYNO": "run.1", "CI": "true", "HEROKU_TEST_RUN_ID": "1"}
    project.environ = kept | heroku_ci | {"DATABASE_URL": database.url}
    result = project.run("pytest")
    assert re.search(r"\d+ passed", result.stdout)
    # Written where the migrations were applied, also where there is none.
    assert database.has_table("alembic_version")
    assert database.has_table("notes") == (example == "notes")


# --- as on a dyno ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_procfile_runs_as_on_a_dyno(bake, serve, dyno, language):
    project = bake(language=language)
    release = project.run("sh", "-c", project.commands()["release"], **dyno)
    assert "0001" in release.stdout
    again = project.run("sh", "-c", project.commands()["release"], **dyno)
    assert "Running upgrade" not in again.stdout
    server = serve(project, "sh", "-c", "exec " + project.commands()["web"], environ=dyno)
    # The visit that loads the app before there are two of it is nobody's.
    assert "request:" not in server.log().partition("Starting granian")[0]
    router = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Request-Id": "the-router-s-id"}
    page = server.get("/", headers=router)
    cookie = page.headers["Set-Cookie"]
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    answer = server.add("on a dyno", headers=router)
    assert answer.status == 200, server.log()
    assert "on a dyno" in answer.text
    assert server.get("/healthz").text.strip() == '{"database":"ok"}'
    assert re.search(r"INFO \[the-router-s-id\] request: POST / 302 \d+ ms", server.log())
    JustHTML(answer.text, strict=True)  # raises where the page is not well-formed HTML
    assert server.stop() == 0, server.log()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_project_without_an_example_runs_as_on_a_dyno(bake, serve, dyno, language):
    project = bake(language=language, example="none")
    project.run("sh", "-c", project.commands()["release"], **dyno)
    server = serve(project, "sh", "-c", "exec " + project.commands()["web"], environ=dyno)
    page = server.get("/")
    assert page.status == 200, server.log()
    assert "<code>views.py</code>" in page.text
    JustHTML(page.text, strict=True)
    assert server.get("/healthz").text.strip() == '{"database":"ok"}'
    assert server.get("/nope").status == 404
    assert server.stop() == 0, server.log()


def test_a_request_in_flight_is_finished_at_sigterm(bake, serve, dyno, database):
    project = bake()
    set_constant(project, "deploy/environment.py", STATEMENT_TIMEOUT=60)  # this machine may be busy
    project.run("flask", "db", "upgrade", **dyno)
    server = serve(project, *SERVER, environ=dyno)
    # The page has to wait for this lock, so it is in flight for as long as the test wants.
    code = (
        f"import psycopg, sys\nwith psycopg.connect({database.url!r}) as connection:\n"
        "    connection.execute('LOCK TABLE notes IN ACCESS EXCLUSIVE MODE')\n"
        "    print('locked', flush=True)\n    sys.stdin.readline()\n"
    )
    holder = subprocess.Popen(
        ["python", "-c", code],
        env=project.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert holder.stdout.readline() == "locked\n"
    answers = []
    request = threading.Thread(target=lambda: answers.append(server.get("/").status))
    request.start()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    wait_until(lambda: database.value(waiting), seconds=10)
    server.process.terminate()
    wait_until(lambda: "Shutting down" in server.log(), seconds=10)
    holder.communicate("\n", timeout=30)
    request.join(timeout=30)
    assert answers == [200]
    assert server.process.wait(timeout=30) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_are_answered_for_a_moment_after_sigterm(bake, serve, dyno, workers):
    """Heroku tells all processes to stop, some of them twice; its router hears of it later."""
    project = bake()
    project.run("flask", "db", "upgrade", **dyno)
    set_constant(project, "deploy/server.py", LINGER=5)  # this machine may be busy
    server = serve(project, *SERVER, environ=dyno | {"WEB_CONCURRENCY": workers})
    os.killpg(server.process.pid, signal.SIGTERM)
    wait_until(lambda: "Shutting down" in server.log(), seconds=10)
    os.killpg(server.process.pid, signal.SIGTERM)
    assert [server.get("/").status for _ in range(5)] == [200] * 5
    assert server.process.wait(timeout=20) == 0  # a process that did not hear it is killed after 25 s


def test_a_stop_while_the_app_is_being_loaded_is_no_failure(bake, tmp_path):
    """As where a second push comes soon after the first."""
    project = bake()
    project.write("models.py", "import time\n\ntime.sleep(60)\n")
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        environ = project.environ | {"SERVE_TO": "laptop", "PORT": str(free_port()), "WEB_CONCURRENCY": "2"}
        process = subprocess.Popen(
            SERVER, cwd=project.path, env=environ, stdout=log, stderr=log, start_new_session=True
        )
    said = partial((tmp_path / "log").read_text, encoding="utf-8")
    wait_until(lambda: "Spawning worker-2" in said() or process.poll() is not None, seconds=30)
    os.killpg(process.pid, signal.SIGTERM)
    assert (process.wait(timeout=30), "shutdown completed" in said()) == (0, True), said()


def test_only_the_project_s_own_changes_restart_it(bake, serve):
    project = bake()
    beside = Project(project.path.parent / "beside", project.environ)
    beside.write("forms.py", "x = 1\n")
    server = serve(project, "flask", "run", "--debug", "--port", "{port}")
    beside.write("forms.py", "x = 22\n")
    time.sleep(3)  # it looks every second
    assert "Detected change" not in server.log()
    project.append("views.py", "\n")
    wait_until(lambda: "Detected change" in server.log(), seconds=20)


def test_all_processes_together_stay_within_15_connections(bake, serve, dyno, database):
    project = bake()
    project.run("flask", "db", "upgrade", **dyno)
    server = serve(project, *SERVER, environ=dyno | {"WEB_CONCURRENCY": "3"})
    at_once(server.get, times=60)
    own = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    assert 1 <= database.value(own) <= 15


def test_a_dyno_asks_for_tls(bake, dyno):
    dyno["DATABASE_URL"] = dyno["DATABASE_URL"].partition("?")[0]
    result = bake().run("flask", "db", "upgrade", check=False, **dyno)
    assert result.returncode != 0
    assert "server does not support SSL" in result.stderr


@pytest.mark.parametrize("command", [" ".join(SERVER), "flask db upgrade", "flask run"])
@pytest.mark.parametrize(("missing", "named"), [("DATABASE_URL", "Heroku Postgres"), ("SECRET_KEY", "SECRET_KEY")])
def test_what_is_missing_is_said_in_one_sentence(bake, dyno, command, missing, named):
    del dyno[missing]
    assert named in refusal(bake(), command, dyno)


@pytest.mark.parametrize(("name", "value"), [("PORT", "eighty"), ("PORT", "0"), ("WEB_CONCURRENCY", "many")])
def test_what_is_wrong_is_said_in_one_sentence(bake, dyno, name, value):
    assert f"{name} must be a number" in refusal(bake(), " ".join(SERVER), dyno | {name: value})


def test_copied_credentials_that_went_stale_are_named(bake, dyno):
    dyno |= {"DB_HOST": "old.example.com", "DB_USERNAME": "student", "DB_PASSWORD": "old secret", "DATA_BASE": "x"}
    result = bake().run("flask", "db", "upgrade", **dyno)
    warning = next(line for line in result.stdout.splitlines() if line.startswith("WARNING"))
    assert "DB_HOST, DB_PASSWORD, DATA_BASE" in warning
    assert "old secret" not in result.stdout + result.stderr


@pytest.mark.parametrize("processes", ["1", "3"])
@pytest.mark.parametrize(
    ("line", "said"),
    [("raise SystemExit('no key')", "no key"), ("raise ValueError('no such book')", "ValueError: no such")],
)
def test_an_app_that_cannot_be_loaded_ends_at_once(bake, processes, line, said):
    """Not again and again; what is wrong stands in the log, and the status is that of a failure."""
    project = bake()
    project.append("models.py", f"\n{line}\n")
    result = project.run(
        *SERVER, check=False, timeout=20, WEB_CONCURRENCY=processes, SERVE_TO="laptop", PORT=str(free_port())
    )
    assert result.returncode == 1
    assert said in result.stderr
    assert "Respawning" not in result.stdout + result.stderr


def test_a_port_in_use_is_said_in_one_sentence(bake, dyno):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert port in refusal(bake(), " ".join(SERVER), dyno | {"PORT": port})


def test_without_tables_the_developer_learns_what_to_do_and_visitors_are_asked_to_wait(bake, serve, dyno):
    project = bake()
    server = serve(project, *SERVER, environ=dyno | {"HEROKU_RELEASE_VERSION": "v12"})
    page = server.get("/", headers={"X-Request-Id": "number-7"})
    assert page.status == 503
    assert "flask" not in page.text
    assert "number-7" in page.text
    assert re.search(r"ERROR \[number-7\] .* run: flask db upgrade", server.log())
    waiting = project.run("flask", "status", check=False, **dyno)
    assert waiting.returncode == 1
    assert "run flask db upgrade (waiting: 0001)" in waiting.stdout
    # After the first seconds, and when it has grown.
    wait_until(lambda: re.search(r"\nINFO \[-\] memory: \d+ of \d+ MB\n", server.log()), seconds=20)


@pytest.mark.parametrize("language", LANGUAGES)
def test_flask_status_tells_what_is_alive(bake, dyno, language):
    words = {
        "en": ["database: answers", "connections: ", " of ", "as the migrations describe", "release: v12"],
        "ru": ["база данных: отвечает", "соединения: ", " из ", "такие, как описано в миграциях", "версия: v12"],
    }[language]
    project = bake(language=language)
    project.run("flask", "db", "upgrade", **dyno)
    fine = project.run("flask", "status", **dyno, HEROKU_RELEASE_VERSION="v12")
    for word in words:
        assert word in fine.stdout
    away = dyno | {"DATABASE_URL": f"postgres://u:secret@127.0.0.1:{free_port()}/data"}
    silent = project.run("flask", "status", check=False, **away)
    assert silent.returncode == 1
    assert {"en": "does not answer (", "ru": "не отвечает ("}[language] in silent.stdout
    assert "secret" not in silent.stdout + silent.stderr
    assert len(silent.stdout.splitlines()) == 3


def test_flask_status_of_a_laptop_tells_what_stops_the_start(bake):
    project = bake(language="ru")
    assert project.run("flask", "db", "upgrade").returncode == 0
    first = project.read("migrations/versions/0001_notes.py")
    for name in ("0002a", "0002b"):
        text = first.replace('"0001"', f'"{name}"').replace("down_revision = None", 'down_revision = "0001"')
        project.write(f"migrations/versions/{name}.py", text)
    two_heads = project.run("flask", "status", check=False)
    assert two_heads.returncode == 1
    assert "0002" in two_heads.stdout
    assert "Traceback" not in two_heads.stderr
    for file in (project.path / "migrations" / "versions").glob("*.py"):
        file.write_text(file.read_text(encoding="utf-8").replace("0001", "1111"), encoding="utf-8")
    unknown = project.run("flask", "status", check=False)
    assert unknown.returncode == 1
    assert "которой нет в папке migrations/ (0001)" in unknown.stdout
    assert "Traceback" not in unknown.stderr


# --- the embedded server ---


def test_notes_survive_a_restart_of_everything(bake, serve):
    project = bake()
    server = serve(project, "python", "main.py")
    server.add("still here")
    server.stop()
    project.run("python", "-m", "deploy.postgres", "stop")
    assert "still here" in serve(project, "python", "main.py").get("/").text


def test_processes_that_start_at_once_share_one_server(bake):
    project = bake()
    started = [
        subprocess.Popen(
            ["python", "-m", "deploy.postgres"], cwd=project.path, env=project.environ, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    addresses = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(addresses) == 1


def test_embedded_server_is_for_this_user_only(bake, database_folder):
    project = bake(repo_name="private")
    url = project.run("python", "-m", "deploy.postgres").stdout.strip()
    assert "@127.0.0.1:" in url
    wrong = re.sub(r":[^:@]+@", ":wrong@", url)
    result = project.run("python", "-c", f"import psycopg; psycopg.connect({wrong!r})", check=False)
    assert "password authentication failed" in result.stderr
    for name in ("password", "data"):
        path = next(database_folder.glob(f"private-*/{name}"))
        assert path.stat().st_mode & 0o077 == 0, name


def test_embedded_server_can_be_stopped_and_deleted(bake, database_folder):
    project = bake(repo_name="gone")
    project.run("python", "-m", "deploy.postgres")
    project.run("python", "-m", "deploy.postgres", "stop")
    project.run("python", "-m", "deploy.postgres", "stop")  # nothing to do, no error
    assert len(list(database_folder.glob("gone-*"))) == 1
    project.run("python", "-m", "deploy.postgres", "delete")
    project.run("python", "-m", "deploy.postgres", "delete")
    assert list(database_folder.glob("gone-*")) == []


def test_embedded_server_comes_back_after_a_crash(bake, serve, database_folder):
    project = bake(repo_name="crash")
    server = serve(project, "python", "main.py")
    server.add("before the crash")
    pid_file = next(database_folder.glob("crash-*/data/postmaster.pid"))
    os.kill(int(pid_file.read_text(encoding="utf-8").split()[0]), signal.SIGKILL)
    server.stop()
    assert "before the crash" in serve(project, "python", "main.py").get("/").text


def test_embedded_server_works_under_a_path_with_spaces_and_cyrillic(bake, database_folder):
    folder = database_folder / "Мои данные"
    folder.mkdir()
    project = bake()
    try:
        project.run("python", "-m", "deploy.postgres", LOCAL_POSTGRES_DIR=str(folder))
        assert list(folder.glob("my-notes-*/data/postmaster.pid"))
    finally:
        project.run("python", "-m", "deploy.postgres", "delete", LOCAL_POSTGRES_DIR=str(folder))


def test_without_its_packages_the_sentence_says_what_to_install(bake):
    code = "import sys; sys.modules['fasteners'] = None; from deploy import postgres; postgres.start()"
    assert "requirements-test.txt" in only_sentence(bake().run("python", "-c", code, check=False))


# --- the two commands ---


def test_make_test_and_make_run_set_up_what_they_need(bake, serve):
    project = bake()
    # Not the tests' own packages: the project makes its own environment.
    project.environ = project.environ | {"PATH": os.environ["PATH"]}
    python = f"PYTHON={sys.executable}"
    first = project.run("make", "test", python, timeout=300)
    assert " passed" in first.stdout
    assert " passed" in project.run("make", "test", python).stdout
    server = serve(project, "make", "run", "PORT={port}", python)
    assert server.get("/").status == 200
    assert project.run("git", "status", "--porcelain").stdout == ""
    taken = project.run("make", "run", python, f"PORT={server.port}", check=False)
    assert taken.returncode != 0
    assert f"Port {server.port} is in use" in taken.stderr
    assert "make run PORT=8000" in taken.stderr
    server.stop()
    project.run("make", "stop", python)
    code = "from deploy import postgres; print(bool(postgres.own().process()))"
    assert project.run(".venv/bin/python", "-c", code).stdout == "False\n"


def is_answered(server, path):
    """Tell whether a page is there, of a server that may be starting anew just now."""
    with contextlib.suppress(OSError, HTTPException):
        return server.get(path).status == 200
    return False


def test_what_make_does_is_one_python_command_on_every_system(bake, serve):
    """Debug reload included; and after the folder was copied with its .venv, whose programs know where they were made."""
    project = bake(language="ru")
    project.environ = project.environ | {"PATH": os.environ["PATH"]}
    python = sys.executable
    assert "{install,run,test,stop}" in project.run(python, "-m", "deploy", "--help").stdout
    left = project.path / ".venv" / "left"
    left.mkdir(parents=True)
    left.with_name("ready").write_text("/somewhere/else", encoding="utf-8")
    tested = project.run(python, "-m", "deploy", "test", "-k", "test_deploy_internet", timeout=300)
    assert "Папка перемещена" in tested.stdout
    assert " passed" in tested.stdout
    assert not left.exists()
    assert project.run(python, "-m", "deploy", "run", "--bad", check=False).returncode == 2
    server = serve(project, python, "-m", "deploy", "run", "--port", "{port}")
    wait_until(lambda: "Debugger is active" in server.log(), seconds=20)
    project.write("views.py", project.read("views.py") + '\n\n@bp.get("/new")\ndef new():\n    return "new"\n')
    wait_until(lambda: is_answered(server, "/new"), seconds=20)
    server.stop()
    # In its own environment it does not make that anew.
    assert "PostgreSQL остановлен" in project.run(".venv/bin/python", "-m", "deploy", "stop").stdout


@pytest.fixture
def small(bake):
    """A project with as few packages as make a difference, and the command that installs them."""
    project = bake()
    project.environ = project.environ | {"PATH": os.environ["PATH"]}
    project.write("requirements.txt", re.search("(?m)^flask==.*\n", project.read("requirements.txt"))[0])
    project.write("requirements-test.txt", re.search("(?m)^pluggy==.*\n", project.read("requirements-test.txt"))[0])
    return project


def deploy(project, *words, **environ):
    return project.run(sys.executable, "-m", "deploy", *words, check=False, **environ)


def test_both_lists_are_installed_and_what_is_lost_is_mended(small):
    # Beside files of Python's names, which do not hide Python's own.
    for name in ("random", "socket", "argparse", "tomllib", "subprocess", "tempfile"):
        small.write(f"{name}.py", "raise SystemExit('mine')\n")
    # As after an upgrade of Homebrew's Python.
    (small.path / ".venv" / "bin").mkdir(parents=True)
    (small.path / ".venv" / "bin" / "python").symlink_to("/usr/no/such/python3")
    small.write(".venv/pyvenv.cfg", "")
    # Settings that lead pip elsewhere: nothing is there then, and nothing says that it is.
    elsewhere = deploy(small, "install", PIP_DRY_RUN="1")
    assert "PIP_DRY_RUN" in elsewhere.stderr
    assert not (small.path / ".venv" / "ready").exists()
    assert deploy(small, "install", PIP_USER="1").returncode == 0
    modules = next(small.path.glob(".venv/[Ll]ib/**/site-packages"))
    assert (modules / "flask").is_dir() and (modules / "pluggy").is_dir()
    assert deploy(small, "install").stdout == ""
    # Half of it is gone, and pip takes it for installed.
    shutil.rmtree(modules / "flask")
    assert deploy(small, "install").returncode == 0
    assert (modules / "flask").is_dir()
    # pip has lost a part, and a list has changed.
    shutil.rmtree(modules / "pip" / "_internal" / "resolution")
    (small.path / "requirements.txt").touch()
    assert deploy(small, "install").returncode == 0
    assert (modules / "pip" / "_internal" / "resolution").is_dir()


def test_a_folder_that_can_have_no_environment_is_said(small, tmp_path):
    small.path = small.path.rename(small.path.with_name("a:b"))
    assert "a:b has a : in it" in only_sentence(deploy(small, "install"))
    small.path = small.path.rename(small.path.with_name("readonly"))
    code = (
        "import pathlib, runpy, sys\n"
        "def refuse(path, *rest, **options): raise PermissionError(13, 'Permission denied', str(path))\n"
        "pathlib.Path.mkdir = refuse\n"  # root may write everywhere
        "sys.argv = ['deploy', 'install']; runpy.run_module('deploy', run_name='__main__')\n"
    )
    sentence = only_sentence(small.run(sys.executable, "-c", code, check=False))
    assert "Permission denied" in sentence and "writable" in sentence


@pytest.mark.parametrize("port", ["0", "-1", "99999", "abc", "", "9" * 5000])
def test_what_is_no_port_is_said_before_anything_is_installed(baked, port):
    project = baked(language="en")
    for result in (deploy(project, "run", f"--port={port}"), deploy(project, "run", PORT=port)):
        assert only_sentence(result) == f"PORT must be a number from 1 to 65535, not {port!r}."
    assert not (project.path / ".venv").exists()


def test_a_port_that_is_none_stops_only_what_serves(small):
    code = "from deploy import packages; packages.set_up = lambda: print('set up')\n"
    code += "from deploy import __main__; __main__.main(['install'])"
    for port in ("", "abc"):
        assert small.run(sys.executable, "-c", code, PORT=port).stdout == "set up\n"


def test_ctrl_c_during_the_installation_is_no_traceback(small):
    small.write(".venv", "a file")
    command = [sys.executable, "-m", "deploy", "install"]
    process = subprocess.Popen(
        command,
        cwd=small.path,
        env=small.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    assert "Installing" in process.stdout.readline()
    wait_until((small.path / ".venv").is_dir, seconds=20)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert not (small.path / ".venv" / "ready").exists()


@pytest.mark.parametrize("redirect", [">&-", "> /dev/full"])
def test_an_output_that_nobody_can_read_is_no_traceback(small, redirect):
    code = "from deploy import packages; packages.tell('testing'); packages.tell('testing')"
    result = small.run("sh", "-c", f'exec "$0" -c "{code}" {redirect}', sys.executable)
    assert result.stderr == ""


def test_one_line_of_uv_starts_it_and_leaves_nothing_behind(bake, serve):
    """A uv.lock beside requirements.txt would be refused by Heroku."""
    project = bake()
    line = next(x for x in project.read("README.md").splitlines() if x.startswith("uv run "))
    uv = str(pathlib.Path(sys.executable).with_name("uv"))
    words = [uv if word == "uv" else word for word in line.split()]
    server = serve(project, *words, "--port", "{port}", environ=project.environ | {"UV_PYTHON": sys.executable})
    assert server.get("/").status == 200
    assert project.left() == {"!! .env", "!! instance/"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_missing_python_is_said_in_one_sentence(bake, language):
    result = bake(language=language).run("make", "run", "PYTHON=no-such-python", check=False)
    assert result.returncode != 0
    assert "3.11" in result.stdout


def test_a_missing_network_is_said_in_one_sentence(bake):
    project = bake(language="ru")
    unreachable = {
        "PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_FIND_LINKS": None,
        "PIP_RETRIES": "0",
    }
    port = f"PORT={free_port()}"
    result = project.run("make", "run", f"PYTHON={sys.executable}", port, check=False, **unreachable)
    assert result.returncode != 0
    assert "проверьте интернет" in result.stderr
    assert not (project.path / ".venv" / "ready").exists()
