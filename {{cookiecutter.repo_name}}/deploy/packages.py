"""The packages of a laptop, in .venv: installed once, mended when that is broken. Needs only Python."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = tomllib.loads((ROOT / "deploy" / "words.toml").read_text(encoding="utf-8"))
SAY = WORDS["laptop"]
LISTS = [ROOT / "requirements.txt", ROOT / "requirements-test.txt"]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
# -P: no file of the project's own in place of Python's.
PIP = [PYTHON, "-P", "-m", "pip", "install", "--quiet", "--no-user"]
# Compiled is what is used, when it is used: a third of the time less.
PIP += ["--disable-pip-version-check", "--no-compile"]
# Ends with 0 if Flask is there, and all that pip takes for installed.
WHOLE = """
import sys, flask, importlib.metadata as metadata
files = [file for one in metadata.distributions() for file in one.files or ()]
sys.exit(any(x.suffix == ".py" and not x.locate().exists() for x in files))
"""
READY = VENV / "ready"  # holds the folder that .venv was made in, and what is installed


def set_up():
    """Make .venv, once, and again when it or the lists of packages change, or the folder moves."""
    text = READY.read_text(encoding="utf-8") if READY.is_file() else ""
    place, *had = text.split("\0")
    whole = place == str(ROOT) and PYTHON.exists() and installed().issuperset(had)
    if whole and all(READY.stat().st_mtime >= x.stat().st_mtime for x in LISTS):
        return
    running_there = Path(sys.prefix) == VENV
    moved = place not in ("", str(ROOT)) and not running_there
    if place:
        READY.unlink()
    if moved:
        tell("moved")
    tell("installing")
    for anew in (moved, True):
        made = not running_there and make_venv(anew)
        if not ran([*PIP, "-r", LISTS[0], "-r", LISTS[1]]):
            facts = (ROOT / "doctor" / "facts.toml").read_text(encoding="utf-8")
            pythons = " ".join(tomllib.loads(facts)["python"]["offered"])
            sys.exit(SAY["not_installed"].format(pythons=pythons))
        if ran([PYTHON, "-P", "-c", WHOLE], quiet=True):
            break
        if made or running_there:
            sys.exit(SAY["installed_elsewhere"])
    READY.write_text("\0".join([str(ROOT), *sorted(installed())]), encoding="utf-8")


def installed():
    """Return the names of the modules that lie in .venv."""
    folders = [VENV / "Lib", *VENV.glob("lib/python3.*")]
    paths = [path for folder in folders for path in folder.glob("site-packages/*")]
    left_out = (".dist-info", "__pycache__")
    return {path.name for path in paths if not path.name.endswith(left_out)}


def make_venv(anew):
    """Make .venv, unless the one that is there has a pip that works; return whether it was made."""
    whole = PYTHON.exists() and (VENV / "pyvenv.cfg").is_file()
    if whole and not anew and ran([*PIP, "--dry-run", "--no-index", "pip"], quiet=True):
        return False
    if os.pathsep in str(ROOT):
        sys.exit(SAY["path_sign"].format(folder=ROOT, sign=os.pathsep))
    if not VENV.is_dir():  # a file, say
        VENV.unlink(missing_ok=True)
        VENV.mkdir()  # or the end of this file says why not
    command = [sys.executable, "-P", "-m", "venv", "--clear", VENV]
    made = subprocess.run(command, check=False, capture_output=True, errors="replace")
    if made.returncode:
        sys.exit(f"{made.stderr.strip()}\n{SAY['no_venv']}".strip())
    return True


def ran(command, quiet=False):
    return subprocess.run(command, check=False, capture_output=quiet).returncode == 0


def tell(sentence, **details):
    try:
        # A console that cannot show a letter gets a stand-in for it, not a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
        print(SAY[sentence].format(**details), flush=True)
    except (AttributeError, OSError):  # closed, or full: the end must not try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
