"""What the measures share: the bench with its project and its rows, requests, slow visitors, time."""

import asyncio
import itertools
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from lab import (
    ROOT,
    SERVER,
    TEMPLATE,
    Project,
    Site,
    bake_into,
    call,
    make_venv,
    memory,
    merged,
    raw,
    set_constant,
    start_server,
    stop_server,
)

# Python code for a process that weighs itself, without what it would import for that.
USED = r"""
import json, re

def used():
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"\nPss:\s+(\d+)", file.read()).group(1)) / 1024
"""
ROUNDS = 5
# A project as a person runs it: Python keeps what it has compiled.
ALONE = {"DATABASE_URL": None, "SECRET_KEY": None, "PYTHONDONTWRITEBYTECODE": None}


OWN = "deploy/server.py"
# The same app under other servers; {port} is filled in. gunicorn: as the platform's own guide sets it up.
SERVERS = {
    OWN: " ".join(SERVER),
    "flask run": "flask run -h 0.0.0.0 -p {port}",
    "gunicorn": "gunicorn main:init_app() --bind 0.0.0.0:{port} --preload --workers 2 --threads 5 --reuse-port"
    " --keep-alive 95",
    "waitress": "waitress-serve --port {port} --threads 8 --call main:init_app",
}
# The state of the project that the targets of speed are held against.
BEFORE = "65df03c"


def make_programs(python=sys.executable):
    """Return the folder of programs of an environment with the project's packages and what they are compared with."""
    return make_venv("venv-bench", TEMPLATE / "requirements-test.txt", ROOT / "requirements-bench.txt", python=python)


class Bench:
    """A baked project, its database, and the rows of what was measured."""

    def __init__(self, work, environ):
        self.work, self.environ = work, environ | {"HOME": str(work)}
        self.rows, self.choices, self.figures = [], [], {}
        self.numbers = itertools.count()

    def row(self, title, measured, target="", met=None):
        """Keep a row of the table; met: whether the target is, None where there is none."""
        row = (title, measured, target, {True: "yes", False: "**no**", None: ""}[met])
        self.rows.append(row)
        print(" | ".join(row), file=sys.stderr, flush=True)

    def choose(self, title, measured, taken):
        """Keep what was measured of one choice, and what the project does because of it."""
        self.choices.append((title, measured, taken))
        print(f"{title} | {measured} | {taken}", file=sys.stderr, flush=True)

    # --- the project and its servers ---

    def folder(self):
        """Return a new folder."""
        folder = self.work / str(next(self.numbers))
        folder.mkdir()
        return folder

    def bake(self, **options):
        return bake_into(self.folder(), self.environ, "bench", **options)

    def prepare(self):
        self.project = self.bake()
        set_constant(self.project, "config.py", NOTES_PER_MINUTE=10**9)
        self.site = Site(self.project, self.work)
        # Many servers stand side by side here.
        self.site.postgres.sql("ALTER SYSTEM SET max_connections = 400")
        self.site.postgres.stop()
        self.site.postgres.start()
        # As on a dyno, but for the router: the visitors here come by http. One process, unless it is said.
        own = {name: self.environ[name] for name in ("HOME", "LOCAL_POSTGRES_DIR")}
        self.project.environ = merged(self.site.environ | own, {"DYNO": None, "WEB_CONCURRENCY": None})

    def sql(self, *statements):
        return self.site.sql(*statements)

    def fill(self, notes):
        self.sql(
            "TRUNCATE notes RESTART IDENTITY",
            "INSERT INTO notes (body) SELECT 'note ' || n || ' ' || (ARRAY['alpha', 'beta', 'gamma'])[1 + n % 3]"
            f" || ' word' || n % 99991 || repeat(' lorem ipsum', 3) FROM generate_series(1, {notes}) AS n",
            "VACUUM ANALYZE notes",
        )

    def variant(self, *changes):
        """Return a copy of the project; changes: functions of choices.py, each with what it is told."""
        project = Project(self.folder() / "bench", self.project.environ)
        shutil.copytree(self.project.path, project.path)
        for change, *words in changes:
            change(project, *words)
        return project

    @cached_property
    def before(self):
        """Return the project as BEFORE baked it, with the same database; None where that commit is not here."""
        commit = call("git", "rev-parse", "--verify", "--quiet", f"{BEFORE}^{{commit}}", cwd=ROOT, check=False)
        if commit.returncode:
            return None
        template = self.folder()
        packed = self.work / "before.tar"
        call("git", "archive", "--output", packed, BEFORE, cwd=ROOT)
        shutil.unpack_archive(packed, template)
        return bake_into(self.folder(), self.project.environ, "bench", template=template)

    @contextmanager
    def server(self, command=SERVER, pinned=True, project=None, **environ):
        """Start a server; yield (its port, its process id). pinned: on the first core."""
        project = project or self.project
        command = command.split() if isinstance(command, str) else command
        words = ["taskset", "-c", "0"] if pinned else []
        log = self.work / f"server-{next(self.numbers)}.log"
        server = start_server(project, [*words, *command], log, project.environ | environ)
        try:
            yield server.port, server.process.pid
        finally:
            stop_server(server, signal.SIGKILL)  # some take half a minute to heed SIGTERM

    @contextmanager
    def servers(self, variants, pinned=True):
        """Start a server for each of the variants, {name: what server() is told}; yield {name: (port, process id)}."""
        with ExitStack() as stack:
            yield {
                name: stack.enter_context(self.server(**{"pinned": pinned} | options))
                for name, options in variants.items()
            }

    def measure(self, variants, pinned=True, **options):
        """Start variants, and return what ask() does. pinned: the servers on the first core, the visitors on the second."""
        with self.servers(variants, pinned) as servers:
            return ask(servers, pinned=pinned, **options)


def ask(servers, path="/", connections=8, pinned=True, rounds=ROUNDS):
    """Let visitors ask servers in turn; return {name: {rate, p50, p99, memory}}, the medians of the rounds."""
    found = {name: [] for name in servers}
    for number in range(rounds + 1):
        for name, (port, _) in servers.items():
            result = wrk(port, path, seconds=1, connections=connections, pinned=pinned)
            assert result["failed"] == 0 or path == "/nope", (name, path)
            if number:  # the first round loads what the others need
                found[name].append(result)
    return {
        name: {key: median([result[key] for result in results]) for key in ("rate", "p50", "p99")}
        | {"memory": memory(servers[name][1])}
        for name, results in found.items()
    }


def median(values):
    return statistics.median(values)


def seconds(function, *arguments):
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def interleaved(functions, rounds=ROUNDS):
    """Return {name: median seconds} of functions that are called in turn."""
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: median(values) for name, values in times.items()}


def get(port, path):
    """Return the status of an answer, None where nobody answers."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    try:
        return int(raw(port, request.encode(), timeout=30).split()[1])
    except (OSError, IndexError):
        return None


def read_csv(port):
    """Return (seconds to the first byte of the body, seconds to the last, lines)."""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /notes.csv HTTP/1.0\r\nHost: localhost\r\n\r\n")
        first, lines, head = None, 0, b""
        while data := connection.recv(1 << 20):
            if first is None:
                head += data
                if b"\r\n\r\n" not in head:
                    continue
                data = head.partition(b"\r\n\r\n")[2]
                if data:
                    first = time.perf_counter() - started
            lines += data.count(b"\n")
    return first, time.perf_counter() - started, lines


def wrk(port, path, seconds, connections, pinned=True):
    """Let wrk send requests, from the second core where it is pinned; return what it says, times in milliseconds."""
    core = ["taskset", "-c", "1"] if pinned else []
    command = [*core, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    text = call(*command, f"http://127.0.0.1:{port}{path}").stdout

    def number(pattern, default="0"):
        match = re.search(pattern, text)
        return match.group(1) if match else default

    def milliseconds(percentile):
        value, unit = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s|m)", text).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]

    socket_errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(number(r"Non-2xx or 3xx responses: (\d+)")) + sum(
        map(int, socket_errors.groups() if socket_errors else ())
    )
    return {
        "rate": float(number(r"Requests/sec:\s+([\d.]+)")),
        "requests": int(number(r"(\d+) requests in")),
        "p50": milliseconds(50),
        "p99": milliseconds(99),
        "failed": failed,
    }


@contextmanager
def slow_visitors(kind, count, port):
    """Have visitors with a bad line meanwhile."""
    process = subprocess.Popen([sys.executable, __file__, kind, str(count), str(port)])
    # Until all are there; a download is a quick one until the buffers on its way are full.
    time.sleep(5 if kind == "downloads" else 1.5)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def slow(kind, count, port):
    """Be many visitors with a bad line: that send a byte now and then, or read one."""

    heads = {
        "headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        "bodies": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 1000\r\n\r\n",
        "downloads": b"GET /notes.csv HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "idle": b"",
    }

    async def begin(address):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connection.bind((address, 0))
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=8192)
        writer.write(heads[kind])
        return reader, writer

    async def visitor(address):
        reader, writer = await begin(address)
        for _ in range(3 if kind == "downloads" else 0):
            if b" 503 " not in await reader.read(64):
                break
            # A process has places for 24; another one may have some left.
            writer.close()
            await asyncio.sleep(1)
            reader, writer = await begin(address)
        while True:
            if kind == "headers":
                writer.write(b"X-More: x\r\n")
            elif kind == "bodies":
                writer.write(b"a")
            elif kind == "downloads":
                await reader.read(1024)
            await asyncio.sleep(0.2)

    # Each comes from an address of their own, as the server takes few from one; all of 127.0.0.0/8 is this computer.
    await asyncio.gather(*(visitor(str(ip_address("127.0.0.2") + number)) for number in range(count)))


if __name__ == "__main__":
    asyncio.run(slow(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
