"""What all tests use: a way to bake a project, the packages it runs on, and a place for its database."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPErrorProcessor, Request, build_opener

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "{{cookiecutter.repo_name}}"
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


# The files that take longest. They start first, so that no core is idle at the end.
LONGEST = ["test_runs.py", "test_dyno.py", "test_faults.py"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@dataclass
class Project:
    """A baked project, and the Python that has its packages."""

    path: Path
    environ: dict

    def read(self, name):
        return (self.path / name).read_text(encoding="utf-8")

    def files(self):
        """Return the files that git would push."""
        return [self.path / name for name in self.run("git", "ls-files", "-z").stdout.split("\0") if name]

    def run(self, *command, check=True, cwd=None, timeout=120, **environ):
        """Run a command in the project's folder; return its CompletedProcess.

        environ: variables on top of the test's own; one that is None is taken away.
        """
        result = subprocess.run(
            command,
            cwd=cwd or self.path,
            env=merged(self.environ, environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        if check:
            assert result.returncode == 0, f"{command}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result


def merged(environ, changes):
    return {key: value for key, value in (environ | changes).items() if value is not None}


@pytest.fixture(scope="session", autouse=True)
def clean_environment():
    """Tests must not depend on who runs them: no git settings, no database, no CI of theirs."""
    # A job in the background ignores Ctrl-C, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    patch = pytest.MonkeyPatch()
    for name in list(os.environ):
        if name.startswith(("GIT_", "PG", "DB_", "FLASK_")) or name in ("CI", "DYNO", "PORT", "DATABASE_URL"):
            patch.delenv(name)
    # make tells the make that it starts what it was told itself.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH", "VIRTUAL_ENV"):
        patch.delenv(name, raising=False)
    patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    yield
    patch.undo()


def make_packages():
    """Return the folder of programs of a virtual environment with what a baked project needs.

    Kept in .cache/ between runs, one for each state of the lists of packages.
    """
    pins = (TEMPLATE / "requirements-test.txt").read_bytes()
    key = sha256(pins + sys.version.encode()).hexdigest()[:12]
    venv = ROOT / ".cache" / f"venv-{key}"
    programs = venv / ("Scripts" if sys.platform == "win32" else "bin")
    if not (venv / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        command = [programs / "python", *PIP, "--requirement", TEMPLATE / "requirements-test.txt"]
        subprocess.run(command, check=True)
        (venv / "ready").touch()
    return programs


@pytest.fixture(scope="session")
def packages():
    return make_packages()


@pytest.fixture(scope="session")
def database_folder():
    """Where the embedded servers live; those still running at the end are stopped.

    Not pytest's own folder: as root the server runs as a user who is not let in there.
    """
    folder = Path(tempfile.mkdtemp(prefix="flask-postgres-"))
    folder.chmod(0o755)
    yield folder
    for pid_file in folder.glob("*/data/postmaster.pid"):
        pid = int(pid_file.read_text(encoding="utf-8").split()[0])
        with contextlib.suppress(ProcessLookupError):  # a test has killed it
            os.kill(pid, signal.SIGQUIT)  # at once: nobody needs its data any more
            wait_until(lambda file=pid_file: not file.exists(), seconds=60)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def environ(packages, database_folder):
    """The environment that projects run in: the packages first on the path."""
    return os.environ | {
        "PATH": f"{packages}{os.pathsep}{os.environ['PATH']}",
        "LOCAL_POSTGRES_DIR": str(database_folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def bake(cookies, environ):
    """A function that bakes a project from the given answers; the others are the defaults."""

    def bake(**answers):
        result = cookies.bake(extra_context=answers)
        assert result.exception is None, result.exception
        return Project(result.project_path, environ)

    return bake


def bake_into(folder, environ, name, **answers):
    """Bake a project into folder/name, for fixtures that many tests share; return the Project."""
    command = [sys.executable, "-m", "cookiecutter", ROOT, "--no-input", "--default-config", "--output-dir", folder]
    words = [f"{question}={answer}" for question, answer in answers.items()]
    subprocess.run([*command, f"repo_name={name}", *words], check=True, capture_output=True)
    return Project(folder / name, environ)


@pytest.fixture
def cookiecutter(tmp_path):
    """A function that runs the cookiecutter command as a person does, in an empty folder."""
    settings = tmp_path / "cookiecutter.yaml"
    folders = {name: str(tmp_path / name) for name in ("cookiecutters_dir", "replay_dir")}
    settings.write_text(json.dumps(folders), encoding="utf-8")  # JSON is YAML too
    work = tmp_path / "work"
    work.mkdir()

    def cookiecutter(*arguments, template=ROOT, answers="", environ=None):
        return subprocess.run(
            [sys.executable, "-m", "cookiecutter", str(template), "--config-file", str(settings), *arguments],
            cwd=work,
            env=merged(os.environ | {"PWD": str(work), "PYTHONIOENCODING": "utf-8"}, environ or {}),
            input=answers,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    cookiecutter.work = work
    return cookiecutter


@dataclass
class Server:
    """A web process that a test has started, and a visitor with cookies."""

    process: subprocess.Popen
    port: int
    log_file: Path

    def __post_init__(self):
        # The router takes https from visitors and hands http to the app, where these requests begin.
        self.cookies = CookieJar(DefaultCookiePolicy(secure_protocols=("http", "https")))
        self.visitor = build_opener(HTTPCookieProcessor(self.cookies), NoErrors())

    def get(self, path="/", data=None, headers=None, timeout=30):
        """Send a request to the server (a POST where there is data); return its response, read.

        The response has .status, .headers and .text; statuses of 400 and more do not raise.
        """
        body = urlencode(data).encode() if data else None
        # On a dyno the router says so; elsewhere nobody listens to it.
        router = {"X-Forwarded-Proto": "https", "Referer": f"https://127.0.0.1:{self.port}/"}
        headers = router | (headers or {})
        request = Request(f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers)
        with self.visitor.open(request, timeout=timeout) as response:
            response.text = response.read().decode("utf-8")
            return response

    def add(self, note, headers=None):
        """Add a note through the form; return the response."""
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.get(headers=headers).text).group(1)
        return self.get("/", data={"body": note, "csrf_token": token}, headers=headers)

    def log(self):
        return self.log_file.read_text(encoding="utf-8")

    def stop(self):
        """Ask all its processes to end, as the platform does; return the first one's exit status."""
        os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout=30)


class NoErrors(HTTPErrorProcessor):
    """Hands on answers with an error status like any other; redirects are still followed."""

    def http_response(self, request, response):
        if response.status in (301, 302, 303, 307, 308):
            return super().http_response(request, response)
        return response


@pytest.fixture
def serve(tmp_path):
    """A function that starts a web process and waits until it answers; it ends with the test."""
    started = []

    def serve(project, *command, **options):
        log_file = tmp_path / f"server-{len(started)}.log"
        return start_server(project, command, log_file, started=started, **options)

    yield serve
    for server in started:
        stop_server(server)


def start_server(project, command, log_file, environ=None, port=None, cwd=None, started=None):
    """Start a web process and wait until it answers; return the Server.

    started: a list that the Server is put into at once, so that it can be stopped if it never answers.
    """
    port = port or free_port()
    command = [word.format(port=port) for word in command]
    environ = merged(project.environ if environ is None else environ, {"PORT": str(port)})
    with log_file.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd or project.path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its children can be ended with it
        )
    server = Server(process, port, log_file)
    if started is not None:
        started.append(server)

    def answers():
        assert process.poll() is None, f"{command} ended with {process.returncode}:\n{server.log()}"
        try:
            return server.get("/healthz", timeout=5).status
        except OSError:
            return None

    wait_until(answers, seconds=30)
    return server


def stop_server(server):
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(server.process.pid, signal.SIGTERM)
    server.process.wait(timeout=30)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds):
    """Wait for the condition to hold; return its value, fail when the time is over."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
    return value
