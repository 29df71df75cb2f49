"""What all tests use: a way to bake a project, the packages it runs on, and a place for its database."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "{{cookiecutter.repo_name}}"
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


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


@pytest.fixture(scope="session")
def packages():
    """The folder of programs of a virtual environment with what a baked project needs.

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
def database_folder():
    """Where the embedded servers live; those still running at the end are stopped.

    Not pytest's own folder: as root the server runs as a user who is not let in there.
    """
    folder = Path(tempfile.mkdtemp(prefix="flask-postgres-"))
    folder.chmod(0o755)
    yield folder
    for pid_file in folder.glob("*/data/postmaster.pid"):
        pid = int(pid_file.read_text(encoding="utf-8").split()[0])
        os.kill(pid, signal.SIGINT)
        wait_until(lambda file=pid_file: not file.exists(), seconds=10)
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


def wait_until(condition, seconds):
    """Wait for the condition to hold; return its value, fail when the time is over."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
    return value
