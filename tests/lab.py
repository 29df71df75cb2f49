"""What tests, faults, pictures and the bench share: baked projects, their PostgreSQL, their web server, its memory."""

import itertools
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlencode
from urllib.request import HTTPCookieProcessor, HTTPErrorProcessor, Request, build_opener

import psycopg

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "{{cookiecutter.repo_name}}"
CONTEXT = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
# The questions that offer a choice, and what they offer.
CHOICES = {name: value for name, value in CONTEXT.items() if isinstance(value, list) and name[0] != "_"}
LANGUAGES, EXAMPLES = CHOICES["language"], CHOICES["example"]
NEWEST_PYTHON = next(version for version in CHOICES["python_version"] if version != "auto")
# So many projects that every choice is in one of them, and every example in every language; no more.
SAMPLES = [
    {
        name: values[number // (len(LANGUAGES) if name == "example" else 1) % len(values)]
        for name, values in CHOICES.items()
    }
    for number in range(max(len(LANGUAGES) * len(EXAMPLES), *map(len, CHOICES.values())))
]
SERVER = ("python", "-m", "deploy.server")
KEY = "of this run only, and long enough for a dyno"
CSRF_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
# Line ends stay as they are, git starts no clean-up of its own after a commit, and knows a copied file by time and size.
GIT = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "core.autocrlf=false"]
GIT += ["-c", "maintenance.auto=false", "-c", "commit.gpgSign=false"]
GIT += ["-c", "core.checkStat=minimal", "-c", "core.trustctime=false"]
# What Python has compiled is left out of a copy.
SOURCES = shutil.ignore_patterns("__pycache__")


def merged(environ, changes):
    """Return the variables with the changes; one that is None is taken away."""
    return {key: value for key, value in (environ | changes).items() if value is not None}


def call(*command, check=True, **options):
    """Run a command; return its CompletedProcess with what it printed."""
    given = {"capture_output": True, "encoding": "utf-8", "timeout": 120} | options
    if "input" not in given:
        given["stdin"] = subprocess.DEVNULL
    result = subprocess.run([str(word) for word in command], check=False, **given)
    if check:
        assert result.returncode == 0, f"{command}: {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def only_sentence(result):
    """Return the one line that a command has said about its failure."""
    assert result.returncode == 1, result.stdout
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def wait_until(condition, seconds):
    """Wait for the condition to hold; return its value, fail when the time is over."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
    return value


def at_once(function, times):
    """Call a function in as many threads; wait until all have returned."""
    threads = [threading.Thread(target=function, daemon=True) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)


def free_port():
    """Return a port that nobody listens on, below those of which systems take one for each connection that they open."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def children(pid):
    """Return the ids of the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def processes(pid):
    """Return the ids of a process and of all below it."""
    return [pid, *(below for child in children(pid) for below in processes(child))]


def memory(pid):
    """Return the MB of a process and all below it; what they share counts once (PSS)."""
    texts = (Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii") for process in processes(pid))
    return sum(int(text.partition("\nPss:")[2].split()[0]) for text in texts) / 1024


# --- packages, and folders that last as long as a command ---


def make_venv(name, *lists, python=sys.executable):
    """Return the folder of programs of a virtual environment in .cache/ that has the packages of these lists.

    It is kept between runs, and made again when a list or the Python changes.
    """
    version = call(python, "-c", "import sys; print(sys.version, end='')").stdout
    key = sha256(b"".join(file.read_bytes() for file in lists) + version.encode()).hexdigest()[:12]
    venv = ROOT / ".cache" / f"{name}-{key}"
    programs = venv / ("Scripts" if sys.platform == "win32" else "bin")
    if not (venv / "ready").exists():
        call(python, "-m", "venv", "--clear", venv)
        options = [word for file in lists for word in ("--requirement", file)]
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        call(programs / "python", *pip, *options, timeout=900)
        (venv / "ready").touch()
    return programs


def make_packages():
    """Return the folder of programs of an environment with what a baked project needs."""
    return make_venv("venv", TEMPLATE / "requirements-test.txt")


def project_environ(programs, database_folder):
    """Return the environment that projects run in: their packages first on the path."""
    return os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "LOCAL_POSTGRES_DIR": str(database_folder),
    }


@contextmanager
def workplace(programs=None):
    """Yield (a folder, the environment of the projects in it) to a command that is no test."""
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o755)  # as root the database runs as a user who has to get in
        environ = project_environ(programs or make_packages(), folder)
        yield folder, merged(environ, {"DATABASE_URL": None})


def with_part(page, name, body):
    """Return a page's text with another text between the comments that begin and end a part."""
    pattern = rf"(<!-- {name}: written by `make \w+` -->\n).*(<!-- end of {name} -->)"
    text, count = re.subn(pattern, lambda marks: marks[1] + body + marks[2], page, flags=re.DOTALL)
    assert count == 1, name
    return text


def write_part(name, body, page="README.md"):
    """Write a part of README.md, or of another page."""
    file = ROOT / page
    text = with_part(file.read_text(encoding="utf-8"), name, body)
    file.write_text(text, encoding="utf-8", newline="\n")


# --- projects ---


@dataclass
class Project:
    """A baked project, and the environment that has its packages. Its methods read, change and run it."""

    path: Path
    environ: dict

    def read(self, name):
        return (self.path / name).read_text(encoding="utf-8")

    def files(self):
        """Return the files that git would push."""
        return [self.path / name for name in self.run("git", "ls-files", "-z").stdout.split("\0") if name]

    def names(self):
        """Return their names, with slashes."""
        return {path.relative_to(self.path).as_posix() for path in self.files()}

    def left(self):
        """Return what is in the folder and not in git, but what Python has compiled."""
        status = self.run("git", "status", "--porcelain", "--ignored").stdout.splitlines()
        return {line for line in status if "__pycache__" not in line}

    def run(self, *command, check=True, cwd=None, timeout=120, **environ):
        """Run a command in the project's folder; return its CompletedProcess.

        environ: variables on top of the test's own; one that is None is taken away.
        """
        environ = merged(self.environ, environ)
        return call(*command, check=check, cwd=cwd or self.path, env=environ, timeout=timeout)

    def python(self, code, **options):
        """Run Python code in the project's folder; return what it prints."""
        return self.run("python", "-c", code, **options).stdout

    def write(self, name, content):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)

    def append(self, name, text):
        self.write(name, self.read(name) + text)

    def replace(self, name, old, new):
        text = self.read(name)
        assert old in text, (name, old)
        self.write(name, text.replace(old, new))

    def without(self, name, start):
        """Leave out the lines of a file that begin with a word."""
        lines = self.read(name).splitlines(keepends=True)
        self.write(name, "".join(line for line in lines if not line.startswith(start)))

    def rename(self, old, new):
        (self.path / new).parent.mkdir(parents=True, exist_ok=True)
        (self.path / old).rename(self.path / new)

    def link(self, name, target):
        (self.path / name).symlink_to(target)

    def remove(self, name):
        (self.path / name).unlink()

    def recode(self, name, encoding):
        self.write(name, self.read(name).encode(encoding))

    def app_json(self, **changes):
        self.write("app.json", json.dumps(json.loads(self.read("app.json")) | changes, indent=2))

    def procfile(self, web):
        self.write("Procfile", f"web: {web}\nrelease: flask db upgrade\n")

    def commands(self):
        """Return {process: its command} of the Procfile."""
        return dict(line.split(": ", 1) for line in self.read("Procfile").splitlines())

    def commit(self, *force, cwd=None):
        """Commit everything as in a new repository: what .gitignore names is not in it. force: names that are."""
        # Two processes of git are what a commit costs; without an index nothing needs to be taken out of it.
        (self.path / ".git" / "index").unlink(missing_ok=True)
        for name in force:
            self.run(*GIT, "add", "--force", name, cwd=cwd)
        self.run(*GIT, "add", "--all", cwd=cwd)
        self.run(*GIT, "commit", "--quiet", "--allow-empty", "--message", "change", cwd=cwd)


def set_constant(project, name, **values):
    """Give constants of a Python file other values; each must stand in exactly one line: NAME = …"""
    text = project.read(name)
    for constant, value in values.items():
        text, count = re.subn(rf"(?m)^{constant} = .*$", lambda _, line=f"{constant} = {value!r}": line, text)
        assert count == 1, f"{name}: {count} lines {constant} = …"
    project.write(name, text)


def bake_into(folder, environ, name, template=ROOT, options=(), **answers):
    """Bake a project into folder/name; return the Project."""
    command = [sys.executable, "-m", "cookiecutter", template, "--no-input", "--default-config", *options]
    words = [f"{question}={answer}" for question, answer in answers.items()]
    call(*command, "--output-dir", folder, f"repo_name={name}", *words)
    return Project(Path(folder, name), environ)


# --- what a project runs on ---


class Postgres:
    """The local PostgreSQL of a baked project, reached over TCP."""

    def __init__(self, project):
        self.project = project
        self.start()

    def start(self):
        code = "from deploy import postgres; print(postgres.start(), postgres.own().data)"
        self.admin_url, _, folder = self.project.python(code).strip().partition(" ")
        self.data_folder = Path(folder)

    def stop(self):
        self.project.run("python", "-m", "deploy.postgres", "stop")

    def delete(self):
        self.project.run("python", "-m", "deploy.postgres", "delete")

    def kill(self):
        """End all of it at once, as when its machine is lost."""
        pid = int((self.data_folder / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        for process in [pid, *children(pid)]:
            os.kill(process, signal.SIGKILL)

    @property
    def address(self):
        return self.admin_url.rpartition("@")[2].partition("/")[0]

    def url(self, user, password, database):
        """Return the address of a database as the platform writes it."""
        # The server of the wheel has no TLS, which a dyno asks for otherwise.
        return f"postgres://{user}:{quote(password, safe='')}@{self.address}/{database}?sslmode=disable"

    def sql(self, *statements, database="postgres"):
        """Run statements as the server's own superuser; return the rows of the last one."""
        url = self.admin_url.rpartition("/")[0] + f"/{database}"
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return [list(row) for row in cursor.fetchall()] if cursor.description else []


def quoted(text):
    """Return the text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def dyno_environ(project, database_url, **changes):
    """Return the environment of a dyno, and nothing else; a change to None takes a variable away."""
    environ = {
        "PATH": project.environ["PATH"],
        "DYNO": "web.1",
        "PYTHONUNBUFFERED": "1",
        "WEB_CONCURRENCY": "2",
        "SECRET_KEY": KEY,
        "DATABASE_URL": database_url,
    }
    return merged(environ, changes)


class Site:
    """A baked project as the platform runs it: a database with a user of its own, a release, a web server."""

    def __init__(self, project, log_folder):
        self.project, self.log_folder = project, log_folder
        self.logs = itertools.count()
        self.server = None
        self.postgres = Postgres(project)
        self.password = secrets.token_hex(8)
        self.postgres.sql(f"CREATE ROLE app LOGIN PASSWORD '{self.password}'", "CREATE DATABASE app OWNER app")
        self.release()

    @property
    def environ(self):
        return dyno_environ(self.project, self.postgres.url("app", self.password, "app"))

    def sql(self, *statements):
        """Run statements on its database as the superuser; return the rows of the last one."""
        return self.postgres.sql(*statements, database="app")

    def release(self, check=True):
        return call("flask", "db", "upgrade", cwd=self.project.path, env=self.environ, check=check)

    def start(self, command=SERVER, port=None, **environ):
        """Start the web server and wait until it answers; return the Server."""
        log = self.log_folder / f"{self.project.path.name}-{next(self.logs)}.log"
        self.server = start_server(self.project, command, log, merged(self.environ, environ), port)
        return self.server

    def stop(self):
        if self.server:
            stop_server(self.server)
        self.postgres.delete()


# --- web servers, and who visits them ---


def raw(port, request, address="127.0.0.1", timeout=10):
    """Send bytes as they are; return all that comes back."""
    with socket.create_connection((address, port), timeout=timeout) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


class NoErrors(HTTPErrorProcessor):
    """Hands on answers with an error status like any other; redirects are still followed."""

    def http_response(self, request, response):
        if response.status in (301, 302, 303, 307, 308):
            return super().http_response(request, response)
        return response


class Visitor:
    """Somebody with cookies of their own, who comes through the platform's router."""

    def __init__(self, port, address=None):
        """address: what the platform's router says of them."""
        self.port = port
        self.router = {"X-Forwarded-Proto": "https"} | ({"X-Forwarded-For": address} if address else {})
        # The router takes https from visitors and hands http to the app, where these requests begin.
        self.cookies = CookieJar(DefaultCookiePolicy(secure_protocols=("http", "https")))
        self.opener = build_opener(HTTPCookieProcessor(self.cookies), NoErrors())

    def get(self, path="/", data=None, headers=None, timeout=30):
        """Send a request to the server (a POST where there is data, fields or bytes); return its response, read.

        The response has .status, .headers and .text; statuses of 400 and more do not raise.
        """
        body = urlencode(data).encode() if isinstance(data, dict) else data
        # On a dyno the router says so; elsewhere nobody listens to it.
        headers = self.router | {"Referer": f"https://127.0.0.1:{self.port}/"} | (headers or {})
        request = Request(f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers)
        with self.opener.open(request, timeout=timeout) as response:
            response.text = response.read().decode("utf-8")
            return response

    def add(self, note, headers=None):
        """Add a note through the form; return the response."""
        token = CSRF_TOKEN.search(self.get(headers=headers).text).group(1)
        return self.get("/", data={"body": note, "csrf_token": token}, headers=headers)


class Server(Visitor):
    """A web process that was started, and its first visitor."""

    def __init__(self, process, port, log_file):
        super().__init__(port)
        self.process, self.log_file = process, log_file

    def log(self):
        return self.log_file.read_text(encoding="utf-8")

    def stop(self):
        """Ask all its processes to end, as the platform does; return the first one's exit status."""
        os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout=30)


def start_server(project, command, log_file, environ=None, port=None, cwd=None):
    """Start a web process and wait until it answers; return the Server. One that never answers is stopped."""
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
            stderr=log,
            start_new_session=True,  # so that its children can be ended with it
        )
    server = Server(process, port, log_file)

    def answers():
        assert process.poll() is None, f"{command} ended with {process.returncode}:\n{server.log()}"
        try:
            return server.get("/healthz", timeout=5).status
        except OSError:
            return None

    try:
        wait_until(answers, seconds=30)
    except BaseException:
        stop_server(server)
        raise
    return server


def stop_server(server, how=signal.SIGTERM):
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(server.process.pid, how)
    server.process.wait(timeout=30)
