"""The doctor's dyno: what it builds, runs and measures, and that nothing stays behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lab import Project, set_constant, wait_until
from test_doctor import ids

# Each builds and serves a project.
pytestmark = pytest.mark.slow

# Runs the doctor with other limits, so that a small project can go over them.
WITH_LIMITS = "import sys\nfrom doctor import dyno\ndyno.__dict__.update({limits})\nfrom doctor.__main__ import main\nsys.exit(main(['--dyno', '--json', '--root', {root!r}]))\n"
BUILD = """
from pathlib import Path
from doctor.dyno import Dyno
from doctor.project import Project
with Dyno(Project("."), print) as dyno:
    dyno.unpack(dyno.project, dyno.app)
    dyno.venv = Path({built!r})
    print(dyno.build())
"""
# As if the packages were installed already.
WITH_BUILT = """
import os, shutil
from doctor.dyno import Dyno
Dyno.build = lambda dyno: shutil.copytree({built!r}, dyno.venv, symlinks=True, copy_function=os.link)
"""


@pytest.fixture
def project(bake):
    return bake(repo_name="app")


@pytest.fixture
def temporary():
    """Where the doctor puts its temporary files.

    Not in pytest's own folder: as root the database runs as a user who is not let in there.
    """
    with tempfile.TemporaryDirectory(prefix="temporary-") as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        yield folder
        assert list(folder.iterdir()) == []
        assert left_running(folder) == []


def left_running(folder):
    """Return the command lines of the processes that have to do with a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            where = os.readlink(process / "cwd")
        except OSError:
            continue  # it has ended meanwhile
        if str(folder) in line or where.startswith(str(folder)):
            found.append(line)
    return found


@pytest.fixture(scope="module")
def built(baked, tmp_path_factory):
    """The packages as the doctor's dyno installs them, made once for what is shown later in a run."""
    folder = tmp_path_factory.mktemp("built")
    assert baked(language="en").python(BUILD.format(built=str(folder / "python"))).endswith("True\n")
    return folder / "python"


def examine(project, temporary, built=None, root=".", **limits):
    """Return (exit status, report) of the doctor's dyno, which installs the packages anew unless they are built."""
    code = ((WITH_BUILT if built else "") + WITH_LIMITS).format(limits=limits, built=str(built), root=str(root))
    result = project.run("python", "-c", code, check=False, TMPDIR=str(temporary))
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)


def test_a_baked_project_passes_and_its_figures_are_shown(bake, temporary):
    result = bake(language="ru").run("python", "-m", "doctor", "--dyno", TMPDIR=str(temporary))
    assert "Этот push опубликуется: приложение здесь собрано, запущено и открыто." in result.stdout
    assert result.stdout.count(" / ") == 5  # bars against their limits
    assert "sqlalchemy" in result.stdout
    assert len(result.stderr.splitlines()) >= 5  # progress


def test_a_baked_project_stays_within_its_limits(project, temporary):
    project.environ = project.environ | {"PIP_NO_COMPILE": "1"}  # as on the platform: compiled code is in the slug
    status, report = examine(project, temporary)
    assert (status, report["findings"]) == (0, [])
    figures = report["dyno"]
    assert 5 < figures["slug_mb"] < 25
    assert 20 < figures["memory_rest_mb"] <= figures["memory_load_mb"] * 1.1
    assert figures["cut_off"] == 0
    assert len(figures["largest_parts_mb"]) == 10
    assert "sqlalchemy" in figures["imports_mb"]


BEFORE_EVERY_PAGE = """

@bp.before_request
def before_every_page():
    {code}
"""


def slow_page(project, seconds=2.5):
    """Requests that are in flight at SIGTERM keep the server for longer than the limit of the test."""
    project.append("views.py", BEFORE_EVERY_PAGE.format(code=f"__import__('time').sleep({seconds})"))


def too_much_memory(project):
    project.append("deploy/logs.py", "\nBALLAST = b'x' * 600_000_000\n")
    # The server would replace such processes again and again, and cut requests off by that.
    set_constant(project, "deploy/server.py", MAX_MEMORY=8000)


BREAK = {
    "H971": (lambda p: p.append("requirements.txt", "no-such-package-anywhere==1\n"), {}),
    "H972": (lambda p: p.append("migrations/versions/0001_notes.py", "\n\ndef upgrade():\n    1 / 0\n"), {}),
    "H973": (lambda p: p.write("deploy/server.py", "raise SystemExit('no fuel')\n"), {}),
    "H974": (lambda p: p.append("views.py", BEFORE_EVERY_PAGE.format(code="1 / 0")), {}),
    "H975": (lambda p: None, {"SLUG_LIMIT": 10, "SLUG_SOFT_LIMIT": 5}),
    "H976": (too_much_memory, {}),
    "H977": (slow_page, {"STOP_LIMIT": 1, "REQUESTS": 8}),
}


@pytest.mark.parametrize("id", BREAK)
def test_exactly_the_right_check_fires(project, temporary, built, id):
    change, limits = BREAK[id]
    change(project)
    project.commit()
    status, report = examine(project, temporary, None if id == "H971" else built, **limits)
    assert (status, ids(report)) == (1, {id}), report["findings"]


def test_the_development_server_is_seen_to_cut_requests_off(project, temporary, built):
    project.replace("Procfile", "python -m deploy.server", "flask run -h 0.0.0.0 -p $PORT")
    slow_page(project, seconds=1)
    project.commit()
    status, report = examine(project, temporary, built, REQUESTS=16)
    assert (status, ids(report)) == (0, {"H406", "H978"}), report["findings"]


@pytest.mark.parametrize(("moment", "end"), [("Building", "SIGINT"), ("Sending", "SIGINT"), ("Sending", "SIGHUP")])
def test_what_ends_it_leaves_nothing_running_and_nothing_behind(project, temporary, built, moment, end):
    """Ctrl-C, and the terminal that is closed."""
    code = WITH_BUILT.format(built=str(built)) + "from doctor.__main__ import run; raise SystemExit(run())"
    process = subprocess.Popen(
        ["python", *(("-m", "doctor") if moment == "Building" else ("-c", code)), "--dyno"],
        cwd=project.path,
        env=project.environ | {"TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        encoding="utf-8",
        start_new_session=True,
    )
    while moment not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(0.2)
    os.killpg(process.pid, getattr(signal, end))
    assert process.wait(timeout=60) == 2
    assert "nothing was left" in process.stderr.read()
    wait_until(lambda: not left_running(temporary), seconds=10)
    assert project.left() == {"!! .env"}


def test_a_worker_alone_cannot_be_visited_and_is_no_mistake(project):
    """A bot that asks, as MOVING-ON.md has one: its build and its release are all that can be tried here."""
    project.write("Procfile", "worker: python bot.py\nrelease: flask db upgrade\n")
    project.commit()
    code = "from doctor import dyno; from doctor.project import Project; run = dyno.Dyno(Project('.'), print)"
    shown = project.python(f"{code}\nwith run: print(run.boot(), run.findings, run.remarks)")
    assert shown.startswith("False [] ['Procfile has no web process: ")


def test_what_cannot_be_built_here_is_said(project, temporary):
    project.write("uv.lock", "")
    project.append("pyproject.toml", '\n[project]\nname = "notes"\nversion = "1"\n')
    project.remove("requirements.txt")
    project.commit()
    result = project.run("python", "-m", "doctor", "--dyno", check=False, TMPDIR=str(temporary))
    assert result.returncode == 2
    assert "uv.lock (uv)" in result.stderr


SHOP = """import os

import psycopg
from flask import Flask

app = Flask(__name__)
ADDRESS = os.environ["DATABASE_URL"]


@app.get("/")
def index():
    with psycopg.connect(ADDRESS) as connection:
        return str(connection.execute("SELECT 1").fetchone())
"""


@pytest.mark.parametrize("alone", [False, True])
def test_a_project_of_another_kind_gets_a_database_or_is_not_judged(project, temporary, built, tmp_path, alone):
    """The doctor's own project brings it; a doctor that was copied without its project has none."""
    shop = Project(tmp_path / "shop", project.environ)
    shop.path.mkdir()
    shop.run("git", "init", "--quiet")
    shop.write("shop.py", SHOP)
    shop.write("Procfile", "web: granian --interface wsgi --host 0.0.0.0 --port $PORT shop:app\n")
    shop.write(".python-version", project.read(".python-version"))
    shop.write("requirements.txt", project.read("requirements.txt"))
    shop.commit()
    if alone:
        shutil.copytree(project.path / "doctor", tmp_path / "alone" / "doctor")
        project = Project(tmp_path / "alone", project.environ)
    status, report = examine(project, temporary, built, root=shop.path, REQUESTS=8)
    assert (status, [f for f in report["findings"] if f["level"] == "error"]) == (0, [])
    assert report["deploys"] is (None if alone else True)
    assert any("DATABASE_URL" in remark for remark in report["remarks"]) == alone


def test_another_python_than_the_project_s_is_said(project, temporary, built):
    project.write(".python-version", "3.13\n" if sys.version_info[:2] != (3, 13) else "3.12\n")
    project.commit()
    named = project.read(".python-version").strip()
    mine = ".".join(map(str, sys.version_info[:2]))
    status, report = examine(project, temporary, built, REQUESTS=8)
    assert (status, report["findings"]) == (0, [])
    assert report["deploys"] is True
    assert report["remarks"] == [f"This ran on Python {mine}; the platform would take {named}."]


def test_the_exception_itself_is_shown(project, temporary, built):
    project.append("views.py", '\nLIMIT = int("many")\n')
    project.commit()
    status, report = examine(project, temporary, built)
    assert (status, ids(report)) == (1, {"H972"})  # which loads the app first
    assert "ValueError: invalid literal for int() with base 10: 'many' (views.py:" in report["findings"][0]["title"]


def test_release_is_run_over_what_the_last_push_has_left(project, temporary, built):
    """A migration that was pushed is changed: on an empty database it runs, on the one of the last push it does not."""
    project.run("git", "update-ref", "refs/remotes/heroku/main", "HEAD")
    file = "migrations/versions/0001_notes.py"
    project.write(file, project.read(file).replace('"0001"', '"0002"').replace("'0001'", "'0002'"))
    project.commit()
    status, report = examine(project, temporary, built)
    assert (status, ids(report)) == (1, {"H979"}), report["findings"]
    assert "Can't locate revision identified by '0001'" in report["findings"][0]["title"]
