"""A dyno on this computer: builds the slug, runs release and web, and weighs them.

As on the platform: the committed files without those of .slugignore, packages in a
clean environment, processes that see nothing but config vars. What is measured here is
near to, not the same as, what the platform measures.
"""

import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from functools import cached_property
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from doctor import FACTS, Finding
from doctor.packages import newest_python
from doctor.report import say
from doctor.repository import CannotCheck

# https://devcenter.heroku.com/articles/limits and .../articles/slug-compiler
SLUG_LIMIT, SLUG_SOFT_LIMIT = 500, 300  # MB, packed
MEMORY_LIMIT = 512  # MB
BOOT_LIMIT, STOP_LIMIT = 60, 30  # seconds
MB = 1_000_000
REQUESTS, VISITORS = 200, 8  # the short load: so many requests, so many at once
ROUTER_LAG = 0.5  # seconds that requests are still sent to a dyno that was told to stop

MANAGERS = {"uv.lock": "uv", "poetry.lock": "Poetry", "Pipfile.lock": "Pipenv"}
# The last line of a traceback, but for those that servers add; a line of it in the app's code.
EXCEPTION = re.compile(
    r"(?!SystemExit|.*HaltServer)[A-Za-z_][\w.]*(Error|Exception|NotFound|Exit|Warning|Required)\b(:|$)"
)
OWN_LINE = re.compile(r'File ".*?/(?:app|before)/((?!.*site-packages).*)", line (\d+)')

# What the figures for people are held against.
LIMITS = {
    "slug_mb": SLUG_LIMIT,
    "boot_seconds": BOOT_LIMIT,
    "memory_rest_mb": MEMORY_LIMIT,
    "memory_load_mb": MEMORY_LIMIT,
    "stop_seconds": STOP_LIMIT,
}

# Prints how much memory each package takes, without what it imports in turn.
WEIGH_IMPORTS = """
import builtins, collections, importlib, json, sys
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
real, taken, inner = builtins.__import__, collections.Counter(), [0]
def weigh(name, globals=None, locals=None, fromlist=(), level=0):
    before = resident()
    inner.append(0)
    try:
        return real(name, globals, locals, fromlist, level)
    finally:
        grown, below = resident() - before, inner.pop()
        package = (globals or {}).get("__package__") or name if level else name
        taken[package.partition(".")[0]] += grown - below
        inner[-1] += grown
builtins.__import__ = weigh
importlib.import_module(sys.argv[1])
print(json.dumps(taken.most_common(10)))
"""


class Dyno:
    """One run. figures: what was measured; findings: what would go wrong on the platform."""

    def __init__(self, project, progress):
        """project: what git would push. progress: a function that takes a sentence."""
        self.project, self.progress = project, progress
        self.figures, self.findings, self.remarks = {}, [], []
        self.folder = Path(tempfile.mkdtemp(prefix="doctor-dyno-"))
        self.folder.chmod(0o755)  # as root the database runs as another user
        self.app, self.venv = self.folder / "app", self.folder / "python"
        self.databases, self.database_url = [], None
        self.process, self.lacks_database = None, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Leave nothing running and nothing behind, also after Ctrl-C."""
        self.end_process()
        for home, environ in self.databases:
            result = call_here(home, environ, "delete")
            sys.stderr.write(result.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self):
        """Go through all steps; stop at the first that the platform would stop at."""
        self.unpack(self.project, self.app)
        self.remark_on_python()
        if self.build():
            self.weigh_slug()
            self.database_url = self.start_database("postgres")
            asks = self.project.reads_database_url
            self.lacks_database = asks and not self.database_url
            if self.lacks_database:
                self.remarks.append(say("no_database"))
            elif self.release() and self.release_again() and self.boot():
                self.load()
                self.stop()
                self.weigh_imports()

    def remark_on_python(self):
        """Say so where the platform would run another Python than this one."""
        mine = ".".join(map(str, sys.version_info[:2]))
        named = newest_python(self.project)
        self.figures["python"] = mine
        if named != mine:
            self.remarks.append(say("other_python", mine=mine, named=named))

    def found(self, id, level="error", **details):
        self.findings.append(Finding(id, level, FACTS["dyno"][id], "", 0, details))
        return False

    def unpack(self, project, app):
        """Lay out the files that the platform would build from."""
        for path, content in project.files():
            if path not in project.slugignored:
                target = app / path
                # git itself makes no such paths, but a commit can be made by hand.
                if {"..", ".git", ""} & {*path.split("/")} or "\\" in path:
                    raise CannotCheck("path_outside", name=path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                if project.modes.get(path) == "100755":
                    target.chmod(0o755)

    def build(self):
        """Install the packages into an environment of their own."""
        if not (self.app / "requirements.txt").exists():
            locks = [file for file in MANAGERS if file in self.project]
            file = (locks or ["–"])[0]
            raise CannotCheck(
                "only_requirements", file=file, tool=MANAGERS.get(file, "–")
            )
        self.progress(say("building"))
        # No pip in there: it would be weighed with the rest.
        venv = [sys.executable, "-m", "venv", "--without-pip", self.venv]
        subprocess.run(venv, check=True)
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install"]
        options = ["--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]
        # pip needs to know how to reach its index from here, so it sees this environment.
        result = call([*pip, *options], self.app, os.environ | self.temporary)
        if result.returncode != 0:
            return self.found("H971", output=cause(result.stderr))
        return True

    @property
    def temporary(self):
        """Return the variables that put the temporary files of a process in here."""
        folder = self.folder / "tmp"
        folder.mkdir(exist_ok=True)
        return dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))

    @property
    def python(self):
        return self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def weigh_slug(self):
        """Pack the app and its packages; name the largest parts. Python itself adds 10 MB."""
        self.progress(say("weighing"))
        packages = next(self.venv.glob("**/site-packages"))
        slug = self.folder / "slug.tgz"
        with tarfile.open(slug, "w:gz", compresslevel=6) as archive:
            archive.add(self.app, "app")
            archive.add(packages, "site-packages")
        parts = [*packages.iterdir(), *self.app.iterdir()]
        sizes = sorted(((size(path) / MB, path.name) for path in parts), reverse=True)
        largest = {name: round(mb, 1) for mb, name in sizes[:10]}
        self.figures["slug_mb"] = packed = round(size(slug) / MB, 1)
        self.figures["unpacked_mb"] = round(sum(mb for mb, _ in sizes), 1)
        self.figures["largest_parts_mb"] = largest
        if packed > SLUG_SOFT_LIMIT:
            level = "error" if packed > SLUG_LIMIT else "warning"
            names = ", ".join(list(largest)[:3])
            self.found("H975", level, size=packed, limit=SLUG_LIMIT, largest=names)

    def start_database(self, name):
        """Start a PostgreSQL by what the project, or else this doctor's own one, has for laptops.

        Return its address, None where neither has it.
        """
        homes = [self.app, Path(__file__).resolve().parent.parent]
        homes = [home for home in homes if (home / "deploy" / "postgres.py").exists()]
        if not homes:
            return None
        # Loading deploy/ loads the settings, which may want what app.json gives them.
        environ = self.config_vars | os.environ
        environ |= {"LOCAL_POSTGRES_DIR": str(self.folder / name)}
        self.databases.append((homes[0], environ))
        result = call_here(homes[0], environ)
        if result.returncode != 0:
            raise CannotCheck("no_database_here", cause=cause(result.stderr))
        # It has no TLS, unlike the platform's.
        address = result.stdout.strip().partition("://")[2]
        return f"postgres://{address}?sslmode=disable"

    @cached_property
    def config_vars(self):
        """Return {name: value} of what app.json sets, and of what it names and this terminal has."""
        found = {}
        for name, entry in self.project.app_env.items():
            entry = entry if isinstance(entry, dict) else {"value": entry}
            value = entry.get("value") or os.environ.get(name)
            if value or "generator" in entry:
                found[name] = str(value or secrets.token_hex())
        return found

    def environ(self, type, port):
        """Return what a process sees on the platform, and nothing else."""
        programs = [str(self.python.parent), "/usr/local/bin", "/usr/bin", "/bin"]
        if os.name == "nt":
            programs = [str(self.python.parent), os.environ["PATH"]]
        environ = {
            "PATH": os.pathsep.join(programs),
            "HOME": str(self.app),
            "PYTHONPATH": str(self.app),
            "PYTHONUNBUFFERED": "1",
            "WEB_CONCURRENCY": "2",
            "FORWARDED_ALLOW_IPS": "*",
            "GUNICORN_CMD_ARGS": "--access-logfile -",
            "DYNO": f"{type}.1",
            "PORT": str(port),
        } | self.temporary
        if os.name == "nt":
            # No socket opens without it.
            environ["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
        environ |= self.config_vars
        if self.database_url:
            environ["DATABASE_URL"] = self.database_url
        return environ

    def command(self, type, environ, project=None):
        """Return the command of a process type as a list for subprocess."""
        text = (project or self.project).procfile[type][1]
        if os.name == "posix":
            return [shutil.which("bash") or "sh", "-c", text]
        return shlex.split(string.Template(text).safe_substitute(environ))

    def release(self):
        if "release" not in self.project.procfile:
            return True
        self.progress(say("releasing"))
        result = self.run_release(self.project, self.app)
        if result.returncode != 0:
            return self.found("H972", output=cause(result.stderr or result.stdout))
        return True

    def run_release(self, project, app):
        environ = self.environ("release", 0)
        command = self.command("release", environ, project)
        return call(command, app, environ | {"HOME": str(app), "PYTHONPATH": str(app)})

    def release_again(self):
        """Run release over a database as the last push has left it: that is what it will find."""
        pushed = self.project.pushed()
        if not pushed or not self.database_url or "release" not in pushed.procfile:
            return True
        self.progress(say("releasing_again", commit=pushed.repository.head[:7]))
        before, fresh = self.folder / "before", self.database_url
        self.unpack(pushed, before)
        self.database_url = self.start_database("postgres-before")
        if self.run_release(pushed, before).returncode != 0:
            self.remarks.append(
                say("not_released_again", commit=pushed.repository.head[:7])
            )
            result = None
        else:
            result = self.run_release(self.project, self.app)
        self.database_url = fresh
        if result and result.returncode != 0:
            output = cause(result.stderr or result.stdout)
            return self.found("H979", commit=pushed.repository.head[:7], output=output)
        return True

    def boot(self):
        """Start web and wait until it listens on $PORT."""
        if "web" not in self.project.procfile:
            # H404 tells where it is wanted; a worker alone takes no visitors.
            self.remarks.append(say("no_web"))
            return False
        self.progress(say("booting"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environ = self.environ("web", self.port)
        self.log = self.folder / "web.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command("web", environ),
                cwd=self.app,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=os.name == "posix",
            )
        started = time.monotonic()
        while time.monotonic() - started < BOOT_LIMIT:
            if self.process.poll() is not None:
                return self.found("H973", reason=self.last_log())
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                self.figures["boot_seconds"] = round(time.monotonic() - started, 1)
                return True
            time.sleep(0.1)
        return self.found("H973", reason=say("not_listening", seconds=BOOT_LIMIT))

    def last_log(self):
        return cause(self.log.read_text(encoding="utf-8", errors="replace"))

    def load(self):
        """Look at the start page, then send a short load; weigh before and after."""
        status = self.get()
        if status is None or status >= 500:
            self.found("H974", status=status or "–", output=self.last_log())
        self.figures["memory_rest_mb"] = self.memory()
        self.progress(say("loading", requests=REQUESTS))

        def visit():
            for _ in range(REQUESTS // VISITORS):
                self.get()

        for visitor in visitors(visit):
            visitor.join()
        self.figures["memory_load_mb"] = used = self.memory()
        if used and used > MEMORY_LIMIT:
            self.found("H976", used=used, limit=MEMORY_LIMIT)

    def get(self):
        """Ask for the start page; return its status, None where no answer came."""
        # As the router says it: without it many apps only send the visitor to https.
        address = f"http://127.0.0.1:{self.port}/"
        request = Request(address, headers={"X-Forwarded-Proto": "https"})
        try:
            with urlopen(request, timeout=30) as answer:
                answer.read()
                return answer.status
        except HTTPError as error:
            return error.code
        except (URLError, OSError) as error:
            cause = getattr(error, "reason", error)
            return 0 if isinstance(cause, ConnectionRefusedError) else None

    def memory(self):
        """Return the MB of all processes of web (PSS: what is shared counts once).

        None where the system does not tell, that is anywhere but on Linux.
        """
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                group = (folder / "stat").read_text().rpartition(")")[2].split()[2]
                if int(group) == self.process.pid:
                    text = (folder / "smaps_rollup").read_text()
                    total += int(text.partition("\nPss:")[2].split()[0]) * 1024
        return round(total / MB) or None

    def stop(self):
        """Send SIGTERM under load, as at every restart; count the requests that are cut off.

        As the router does, it sends a few more; one that is refused is asked elsewhere.
        """
        if os.name != "posix":
            return
        self.progress(say("stopping"))
        answers, told = [], threading.Event()

        def visit():
            while not told.is_set() and (status := self.get()) != 0:
                answers.append(status)

        running = visitors(visit)
        time.sleep(0.5)
        started = time.monotonic()
        os.killpg(self.process.pid, signal.SIGTERM)
        time.sleep(ROUTER_LAG)
        told.set()
        try:
            self.process.wait(timeout=STOP_LIMIT - ROUTER_LAG)
            heeded = True
        except subprocess.TimeoutExpired:
            heeded = self.found(
                "H977", seconds=STOP_LIMIT, right=self.project.server_command
            )
            self.end_process()
        self.figures["stop_seconds"] = round(time.monotonic() - started, 1)
        for visitor in running:
            visitor.join()
        self.figures["cut_off"] = cut_off = answers.count(None)
        right, there = self.project.server_command, self.project.procfile["web"][1]
        # Where it is that server already, the figure is all that there is to say.
        if cut_off and heeded and right.split()[0] not in there.split():
            self.found("H978", "warning", count=cut_off, right=right)

    def end_process(self):
        if self.process and self.process.poll() is None:
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait()

    def weigh_imports(self):
        """Name the packages that take most memory, where the system tells."""
        app = next(iter(self.project.running.apps), None)
        if app and Path("/proc/self/statm").exists():
            command = [self.python, "-c", WEIGH_IMPORTS, app]
            result = call(command, self.app, self.environ("web", 0))
            if result.returncode == 0:
                heaviest = json.loads(result.stdout.splitlines()[-1])
                sizes = {name: round(bytes / MB, 1) for name, bytes in heaviest}
                self.figures["imports_mb"] = sizes


def call_here(folder, environ, *arguments):
    """Run deploy.postgres of a folder by this Python, which has what a laptop needs."""
    return call([sys.executable, "-m", "deploy.postgres", *arguments], folder, environ)


def call(command, folder, environ):
    """Run a command to its end; return its CompletedProcess with what it printed."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=900,
        check=False,
    )


def visitors(visit):
    """Return threads that have begun to call a function, all at once."""
    threads = [threading.Thread(target=visit) for _ in range(VISITORS)]
    for thread in threads:
        thread.start()
    return threads


def size(path):
    """Return the bytes of a file, or of all files below a folder."""
    files = (path, *path.rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())


def cause(text, count=3):
    """Return the exception of a program's output and where it was raised, else its last lines."""
    lines = [line.strip() for line in text.strip().splitlines()]
    raised = [n for n, line in enumerate(lines) if EXCEPTION.match(line)]
    if not raised:
        return " | ".join(lines[-count:])
    places = [match for line in lines[: raised[-1]] if (match := OWN_LINE.match(line))]
    where = f" ({places[-1][1]}:{places[-1][2]})" if places else ""
    return lines[raised[-1]] + where


def text(figures):
    """Return the figures for people, each as a small bar against its limit."""
    lines = []
    for key, limit in LIMITS.items():
        value = figures.get(key)
        if value is not None:
            drawn = "█" * min(20, round(20 * value / limit))
            lines.append(f"{say(key):<32} {drawn:·<20} {value} / {limit}")
        elif key in figures:
            lines.append(f"{say(key):<32} {say('unknown_here')} ")
    if "cut_off" in figures:
        lines.append(f"{say('cut_off'):<32} {figures['cut_off']}")
    for key in ("largest_parts_mb", "imports_mb"):
        if key in figures:
            parts = ", ".join(f"{name} {mb}" for name, mb in figures[key].items())
            lines.append(f"{say(key)} {parts}")
    return "\n".join(lines)
