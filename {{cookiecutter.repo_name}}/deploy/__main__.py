"""python -m deploy install | run | test | stop: what `make` does, on every system. Needs only Python."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS_FILE = ROOT / "deploy" / "words.toml"
if sys.version_info < (3, 11):  # noqa: UP036
    with open(str(WORDS_FILE), encoding="utf-8") as file:
        sys.exit(next(x for x in file if x.startswith("old_python")).split('"')[1])

import argparse
import os
import shutil
import socket
import subprocess
import tomllib

WORDS = tomllib.loads(WORDS_FILE.read_text(encoding="utf-8"))
SAY = WORDS["laptop"]
LISTS = [ROOT / "requirements.txt", ROOT / "requirements-test.txt"]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
READY = VENV / "ready"  # holds the folder that .venv was made in: its programs know it


def main(arguments=None):
    about = SAY["about"]
    parser = argparse.ArgumentParser(prog="python -m deploy", description=about)
    parser.add_argument("what", choices=["install", "run", "test", "stop"])
    parser.add_argument("--port", type=int, default=os.environ.get("PORT", "5000"))
    options, rest = parser.parse_known_args(arguments)
    if rest and options.what != "test":
        parser.error(" ".join(rest))
    os.chdir(ROOT)
    set_up()
    if options.what == "run":
        refuse_taken(options.port)
        tell("starting", port=options.port)
        os.environ["PORT"] = str(options.port)  # a codespace has a name for each port
        become("-m", "flask", "run", "--debug", "--port", str(options.port))
    if options.what == "test":
        tell("testing")
        become("-m", "pytest", *rest)
    if options.what == "stop" and ran([PYTHON, "-m", "deploy.postgres", "stop"]):
        tell("stopped")


def tell(sentence, **details):
    # A console that cannot show a letter gets a stand-in for it, not a traceback.
    sys.stdout.reconfigure(errors="backslashreplace")
    print(SAY[sentence].format(**details), flush=True)


def set_up():
    """Make .venv, once, and again when the lists of packages change or the folder moves."""
    place = READY.read_text(encoding="utf-8") if READY.exists() else ""
    fresh = place and all(READY.stat().st_mtime >= x.stat().st_mtime for x in LISTS)
    if fresh and place == str(ROOT) and PYTHON.exists():
        return
    running_there = Path(sys.prefix) == VENV
    if place not in ("", str(ROOT)) and not running_there:
        tell("moved")
        shutil.rmtree(VENV)
    READY.unlink(missing_ok=True)
    tell("installing")
    if not running_there:
        try:
            import ensurepip  # noqa: F401 - Debian has it in a package of its own
        except ImportError:
            sys.exit(SAY["no_venv"])
        if not ran([sys.executable, "-m", "venv", VENV]):
            sys.exit(SAY["no_venv"])
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Compiled is what is used, when it is used: a third of the time less.
    if not ran([*pip, "--no-compile", "--requirement", LISTS[1]]):
        sys.exit(SAY["not_installed"].format(pythons=" ".join(offered())))
    READY.write_text(str(ROOT), encoding="utf-8")


def ran(command):
    return subprocess.run(command, check=False).returncode == 0


def offered():
    """Return the Python versions that the pinned packages are made for."""
    facts = tomllib.loads((ROOT / "doctor" / "facts.toml").read_text(encoding="utf-8"))
    return facts["python"]["offered"]


def refuse_taken(port):
    with socket.socket() as taken:
        if os.name == "posix":  # as servers do; on Windows two could have one port then
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            sys.exit(SAY["taken"].format(port=port))


def become(*arguments):
    """End as the .venv's Python does with these arguments."""
    if os.name == "posix":
        os.execv(PYTHON, [str(PYTHON), *arguments])
    with subprocess.Popen([PYTHON, *arguments]) as process:
        while True:
            try:
                sys.exit(process.wait())
            except KeyboardInterrupt:
                pass  # it was for both; the program is on its way to end


if __name__ == "__main__":
    main()
