"""The fixtures of all tests: baked projects, the packages they run on, a place for their databases."""

import contextlib
import functools
import gc
import importlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# Some tests take ROOT, TEMPLATE, Project and merged from here.
from lab import (  # noqa: F401
    ROOT,
    TEMPLATE,
    Project,
    make_packages,
    merged,
    project_environ,
    start_server,
    stop_server,
    wait_until,
)

# The files that take longest, the longest first: so no core is idle at the end.
LONGEST = [
    *("test_runs.py", "test_dyno.py", "test_situations.py", "test_own_app.py", "test_doctor.py", "test_faults.py"),
    *("test_local_postgres.py", "test_classroom.py", "test_guard.py", "test_updates.py", "test_answers.py"),
    *("test_fuzz.py", "test_moving_on.py", "test_recipes.py", "test_git.py", "test_own_files.py"),
]
RAM = 8_000_000_000  # bytes that have to be free, several times of what the tests take


def pytest_xdist_auto_num_workers():
    """One process more than there are cores: a third of the time the tests wait for servers, not for a processor."""
    return os.cpu_count() + 1


def ram_disk():
    """Return Linux's RAM disk if there is room and programs run in it, else None.

    Half a million small files are written, a tenth of the time of all tests on a disk.
    """
    try:
        memory = dict(re.findall(r"(\w+): +(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii")))
        disk = os.statvfs("/dev/shm")
    except OSError:  # no Linux
        return None
    free = min(disk.f_bavail * disk.f_frsize, int(memory["MemAvailable"]) * 1024)
    return "/dev/shm" if free > RAM and not disk.f_flag & os.ST_NOEXEC else None


def pytest_configure(config):
    """The tests, and all that they start, have a temporary folder to themselves.

    In the common one pytest would look through what earlier runs left, for minutes.
    """
    if config.option.basetemp is None:  # a worker is told where
        folder = tempfile.mkdtemp(prefix="tests-", dir=ram_disk())
        Path(folder).chmod(0o755)  # as root the database runs as a user who has to get in
        os.environ["TMPDIR"] = tempfile.tempdir = config.own_folder = folder
        config.option.basetemp = f"{folder}/pytest"


def pytest_sessionfinish(session, exitstatus):
    """What the tests wrote is kept where one of them failed."""
    if not exitstatus and (folder := getattr(session.config, "own_folder", None)):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


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
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"):
        patch.delenv(name, raising=False)
    # pip reads the value and not the name: "0" is --no-compile. What is used is compiled when it is used.
    patch.setenv("PIP_NO_COMPILE", "0")
    patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    yield
    patch.undo()


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
def environ(packages, database_folder, tmp_path_factory):
    """The environment that projects run in.

    Their own pytest has a folder to itself: it would look through what these tests keep, each time.
    """
    folder = tmp_path_factory.mktemp("pytest")
    return project_environ(packages, database_folder) | {"PYTEST_DEBUG_TEMPROOT": str(folder)}


@pytest.fixture(scope="session")
def oven(cookies_session, environ):
    """A function that bakes a project from the given answers, once; the others are the defaults."""

    @functools.cache
    def oven(**answers):
        result = cookies_session.bake(extra_context=answers)
        assert result.exception is None, result.exception
        project = Project(result.project_path, environ)
        if (project.path / ".git").exists():  # one file for all objects: hundreds of copies are made
            project.run("git", "repack", "-a", "-d", "-q")
        return project

    return oven


@pytest.fixture
def bake(oven, tmp_path):
    """A function that gives a test a project of its own: a copy costs a twentieth of what baking does."""
    numbers = itertools.count()

    def bake(**answers):
        project = oven(**answers)
        path = tmp_path / f"bake{next(numbers)}" / project.path.name
        shutil.copytree(project.path, path, symlinks=True)
        return Project(path, project.environ)

    return bake


@pytest.fixture(scope="session")
def baked(oven):
    """A function like bake(); what it returns is there once for all tests, to be read and not to be changed."""

    def baked(**answers):
        return oven(**{"repo_name": "app"} | answers)

    return baked


@pytest.fixture(scope="session")
def doctor(baked):
    """The module doctor.__main__ of an English project: a case in this process costs a sixth of one in its own."""
    folder = str(baked(language="en").path)
    sys.path.insert(0, folder)
    module = importlib.import_module("doctor.__main__")
    # Most files of a case are those of all others: they are parsed once.
    project = importlib.import_module("doctor.project")
    project.parse = functools.lru_cache(maxsize=300)(project.parse)
    module.explain = importlib.import_module("doctor.explain")  # which it loads where it is asked
    sys.path.remove(folder)
    return module


@pytest.fixture(scope="session")
def diagnose(doctor):
    """A function: what `python -m doctor --json --root FOLDER` ends with and prints, (exit status, report)."""

    def diagnose(folder):
        gc.disable()  # as the command does: syntax trees are many small things
        try:
            result = doctor.look(folder)
        finally:
            gc.enable()
        report = json.loads(doctor.report.as_json(result))
        return (1 if doctor.report.errors(result.findings) else 0), report

    return diagnose


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


@pytest.fixture
def serve(tmp_path):
    """A function that starts a web process and waits until it answers; it ends with the test."""
    started = []

    def serve(project, *command, **options):
        log_file = tmp_path / f"server-{len(started)}.log"
        started.append(start_server(project, command, log_file, **options))
        return started[-1]

    yield serve
    for server in started:
        stop_server(server)
