"""What a person has already: nothing of it is changed, whatever happens while a project is generated."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT

COMMAND = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--default-config"]
# As on a person's computer: Python writes what is left when it ends, and ends with status 120 where it cannot.
BUFFERED = {"PYTHONUNBUFFERED": ""}


@pytest.fixture
def folder(tmp_path):
    """A folder with a person's own work in it, of which some has the name of the new project."""
    (tmp_path / "my-notes").mkdir()
    (tmp_path / "my-notes" / "main.py").write_text("mine = True\n", encoding="utf-8")
    (tmp_path / "thesis.txt").write_text("a year's work\n", encoding="utf-8")
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def generate(folder, *options, **environ):
    return subprocess.run(
        [*COMMAND, *options],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_a_folder_that_exists_is_left_alone(folder):
    before = contents(folder)
    result = generate(folder)
    assert result.returncode != 0
    assert '"my-notes" directory already exists' in result.stdout
    assert contents(folder) == before


def test_files_that_exist_can_be_kept(folder):
    own = contents(folder)
    (folder / "my-notes" / ".env").write_text("SECRET_KEY=mine\n", encoding="utf-8")
    result = generate(folder, "--overwrite-if-exists", "--skip-if-file-exists")
    assert result.returncode == 0, result.stderr
    after = contents(folder)
    assert own.items() <= after.items()
    assert after[folder / "my-notes" / ".env"] == b"SECRET_KEY=mine\n"
    assert folder / "my-notes" / "views.py" in after


@pytest.mark.parametrize(
    "streams",
    [
        *("| true", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&- | true"),
        *("> /dev/full", "2> /dev/full", "> /dev/full 2>&1"),
    ],
)
def test_a_project_stays_where_nobody_can_read_what_is_said(tmp_path, streams):
    """cookiecutter deletes a finished project when a hook ends with another status than 0."""
    if "/dev/full" in streams and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    # `set -o pipefail` is not in every sh, so the status is left in a file.
    command = f"({shlex.join(COMMAND)}; echo $? > status) {streams}"
    environ = os.environ | BUFFERED
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert (tmp_path / "status").read_text(encoding="utf-8") == "0\n"
    project = tmp_path / "my-notes"
    assert (project / "main.py").exists()
    assert (project / ".env").read_bytes() == (project / ".env.example").read_bytes()
    status = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, check=True)
    assert status.stdout == b""
    assert (project / ".git" / "refs" / "heads" / "main").exists()


@pytest.mark.parametrize("streams", ["", "2>&-", "2> /dev/full"])
def test_a_project_stays_when_its_last_steps_fail(tmp_path, streams):
    code = "import tempfile; tempfile.TemporaryDirectory = None\n"  # which the hook uses, and cookiecutter does not
    (tmp_path / "sitecustomize.py").write_text(code, encoding="utf-8")
    result = subprocess.run(
        ["sh", "-c", f"{shlex.join(COMMAND)} {streams}"],
        cwd=tmp_path,
        env=os.environ | BUFFERED | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0
    assert (tmp_path / "my-notes" / "main.py").exists()
    assert "cd my-notes\n" in result.stdout
    if not streams:
        (line,) = result.stderr.splitlines()
        assert line.startswith("The project is there, but one step of its setup did not work: TypeError: ")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path, language):
    """The disk is a real one where this user may mount it; elsewhere Python is told how much of it is left."""
    environ = {"PYTHONIOENCODING": "utf-8"}
    mounted = os.geteuid() == 0 and shutil.which("mount") and mount(tmp_path)
    if not mounted:
        code = "import shutil; real = shutil.disk_usage; shutil.disk_usage = lambda p: real(p)._replace(free=10**5)\n"
        (tmp_path / "sitecustomize.py").write_text(code, encoding="utf-8")
        environ["PYTHONPATH"] = str(tmp_path)
    (tmp_path / "thesis.txt").write_text("a year's work\n", encoding="utf-8")
    before = contents(tmp_path)
    try:
        result = generate(tmp_path, f"language={language}", **environ)
        assert result.returncode != 0
        assert {"en": "The disk has room for", "ru": "На диске осталось"}[language] in result.stderr
        assert {path for path in contents(tmp_path) if "__pycache__" not in path.parts} == set(before)
    finally:
        if mounted:
            subprocess.run(["umount", tmp_path], check=True)


def mount(folder):
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", folder], check=False).returncode == 0


def test_a_read_only_folder_is_said(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    blocked = place / "a-file-and-no-folder"
    blocked.write_text("mine\n", encoding="utf-8")
    # root may write anywhere, but not even root makes a folder inside a file.
    result = generate(folder, "--output-dir", str(blocked))
    assert result.returncode != 0
    assert "a-file-and-no-folder" in result.stderr
    assert blocked.read_text(encoding="utf-8") == "mine\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to another process")
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5, 0.7, 0.9, 1.2])
def test_ctrl_c_leaves_other_files_as_they_were(folder, seconds):
    shutil.rmtree(folder / "my-notes")
    before = contents(folder)
    process = subprocess.Popen(
        COMMAND, cwd=folder, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    time.sleep(seconds)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    after = contents(folder)
    assert before.items() <= after.items()
    assert {path.relative_to(folder).parts[0] for path in after} <= {"thesis.txt", "my-notes"}
    whole = (folder / "my-notes" / ".git" / "refs" / "heads" / "main").exists()
    if process.returncode == 0:
        assert whole
    elif process.returncode == -signal.SIGINT and not output:
        # The signal came before Python listened for it, on a busy machine: there was nothing to say yet.
        assert after == before
    else:
        # What cookiecutter had written by then may be there; the same command says so and offers nothing half.
        assert output
        again = generate(folder, "--overwrite-if-exists")
        assert again.returncode == 0, again.stderr
        assert (folder / "my-notes" / "views.py").exists()
