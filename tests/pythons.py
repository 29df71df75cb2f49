"""Runs a baked project on every Python from 3.11 to the newest: suite, doctor, dyno, web server, SIGTERM.

make pythons                                all that are on the PATH, each also by its own number
make pythons PYTHONS="python3.13 /opt/x"    these
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lab import KEY, SERVER, bake_into, call, project_environ, start_server

# The project's own code must not use what Python is about to take away.
WARNINGS = ("-W", "error::DeprecationWarning", "-W", "error::PendingDeprecationWarning")


def found():
    """Return {version: program} of the Pythons on the PATH, 3.11 and newer."""
    names = [f"python3.{minor}" for minor in range(11, 30)]
    programs = [program for name in names if (program := shutil.which(name))]
    return {version: program for program in programs if (version := version_of(program))}


def version_of(program):
    """Return "3.x" of a Python that can make environments, None of any other."""
    code = "import sys, venv, ensurepip; print(f'{sys.version_info.major}.{sys.version_info.minor}')"
    # A name on the PATH may be a stand-in for a Python that is not there.
    result = subprocess.run([program, "-c", code], capture_output=True, encoding="utf-8", check=False)
    return result.stdout.strip() or None if result.returncode == 0 else None


def run(version, program, folder):
    """Put a baked project through everything that a student and a platform do with it; raise where it fails."""
    folder.chmod(0o755)  # as root the database runs as a user who has to get in
    venv = folder / "venv"
    call(program, "-m", "venv", venv)
    programs = venv / ("Scripts" if sys.platform == "win32" else "bin")
    project = bake_into(folder, project_environ(programs, folder / "postgres"), f"on-{version.replace('.', '-')}")
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    project.run("python", *pip, "--requirement", "requirements-test.txt", timeout=900)
    try:
        suite = project.run("python", *WARNINGS, "-m", "pytest", "-q", timeout=300)
        yield re.search(r"\d+ passed", suite.stdout)[0]
        project.run("python", *WARNINGS, "-m", "doctor")
        yield "doctor"
        if os.name == "posix":
            project.run("python", "-m", "doctor", "--dyno", timeout=600)
            yield "dyno"
        environ = project.environ | {"WEB_CONCURRENCY": "2", "SECRET_KEY": KEY, "PYTHONWARNINGS": "default"}
        server = start_server(project, SERVER, folder / "server.log", environ)
        assert server.get("/").status == 200
        assert "a note" in server.add("a note").text
        assert server.stop() == 0, server.log()
        own = [line for line in server.log().splitlines() if "DeprecationWarning" in line and "/deploy/" in line]
        assert own == [], own
        yield "served, stopped"
    finally:
        project.run("python", "-m", "deploy.postgres", "delete", check=False)


def main(programs):
    pythons = {version_of(program): program for program in programs} if programs else found()
    if not pythons or None in pythons:
        sys.exit("No Python 3.11 or newer that can make environments; name some: make pythons PYTHONS=python3.13")
    failed = []
    for version, program in pythons.items():
        print(f"Python {version}:", end=" ", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            try:
                for done in run(version, program, Path(folder)):
                    print(done, end=", ", flush=True)
                print("ok")
            except (AssertionError, subprocess.SubprocessError) as error:
                print(f"failed\n{error}")
                failed.append(version)
    return f"Failed: {', '.join(failed)}" if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
