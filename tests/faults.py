"""Faults of every kind under load: what was promised to visitors, and what they got.

`make faults` runs all of them and writes the table in docs/faults.md; test_faults.py asserts what the table says.
"""

import itertools
import os
import re
import secrets
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from lab import (
    CSRF_TOKEN,
    TEMPLATE,
    Site,
    Visitor,
    at_once,
    bake_into,
    children,
    memory,
    set_constant,
    stop_server,
    wait_until,
    workplace,
    write_part,
)
from wire import Wire

# Visitors who write and read at the same time, all the while.
VISITORS = 6
# While the database is away, an answer has to come within this time.
PATIENCE = 5  # seconds
# After it is back, the app has to be back as well.
RECOVERY = 10  # seconds
MEMORY = 512  # MB of a dyno
# Where no time is promised, the platform's own is left: its router gives up then (H12).
# https://devcenter.heroku.com/articles/request-timeout
ROUTER_PATIENCE = 30  # seconds
# The platform's router sends requests for a moment to a dyno that has been told to stop.
ROUTER_LAG = 0.5  # seconds


@dataclass
class Measured:
    """What the visitors of one fault have seen."""

    sent: int = 0
    statuses: Counter = field(default_factory=Counter)
    slowest: float = 0.0  # seconds, of all answers
    acknowledged: list = field(default_factory=list)
    found: int = 0
    lost: int = 0
    doubled: int = 0
    recovered: float = 0.0  # seconds from the end of the fault to the first note taken
    log: str = ""
    flooder: Counter = field(default_factory=Counter)  # the statuses of one who was not to be stopped by asking


class Router:
    """The platform's router: hands requests on, or holds them back."""

    def __init__(self):
        self.open, self.lock, self.in_flight = threading.Event(), threading.Lock(), 0
        self.open.set()

    def hold_back(self):
        with self.lock:
            self.open.clear()

    def go_on(self):
        self.open.set()

    @contextmanager
    def request(self):
        """Wait until a request may be sent, and count it as in flight."""
        while True:
            self.open.wait()
            with self.lock:
                if self.open.is_set():
                    self.in_flight += 1
                    break
        try:
            yield
        finally:
            with self.lock:
                self.in_flight -= 1


class Load:
    """Visitors who add notes and read pages until they are told to stop.

    router: the Router that their requests go through.
    pause: seconds between two requests of one visitor.
    """

    def __init__(self, server, router, visitors=VISITORS, pause=0):
        self.server, self.router, self.pause = server, router, pause
        self.measured = Measured()
        self.lock = threading.Lock()
        self.end = threading.Event()
        self.threads = [
            threading.Thread(target=self.visit, args=(f"192.0.2.{number}",), daemon=True) for number in range(visitors)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until(lambda: len(self.measured.acknowledged) >= 2 * len(self.threads), seconds=30)
        return self

    def __exit__(self, *_):
        self.end.set()
        for thread in self.threads:
            thread.join()

    def visit(self, address):
        visitor = Visitor(self.server.port, address)
        token = None
        for number in itertools.count():
            if self.end.wait(self.pause):
                return
            if token is None:
                answer = self.send(visitor, "/")
                match = CSRF_TOKEN.search(answer.text if answer else "")
                token = match and match.group(1)
            elif number % 2:
                self.send(visitor, "/")
            else:
                body = secrets.token_hex(8)
                answer = self.send(visitor, "/", {"body": body, "csrf_token": token})
                # The visitor was sent on to the page that shows the note: it was taken.
                if answer and answer.status == 200:
                    self.measured.acknowledged.append((time.monotonic(), body))

    def send(self, visitor, path, data=None):
        with self.router.request():
            return self.ask(visitor, path, data)

    def ask(self, visitor, path, data):
        started = time.monotonic()
        answer = None
        try:
            answer = visitor.get(path, data)
            outcome = answer.status
        except (OSError, HTTPException) as error:
            # Nobody listens: on the platform the router waits here for the next start.
            refused = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
            outcome = "refused" if refused else "cut"
            time.sleep(0.05)
        seconds = time.monotonic() - started
        with self.lock:
            self.measured.sent += 1
            self.measured.statuses[outcome] += 1
            self.measured.slowest = max(self.measured.slowest, seconds)
        return answer


# How many notes a minute may bring: in config.py.
LIMITS = ("NOTES_PER_MINUTE", "NOTES_PER_MINUTE_IN_ALL")


class App(Site):
    """A site whose visitors are a flood by intention."""

    def __init__(self, project, log_folder, lock_seconds=10):
        set_constant(project, "config.py", **{name: 10**9 for name in LIMITS})
        self.lock_seconds = lock_seconds
        self.router = Router()
        super().__init__(project, log_folder)

    def restart(self):
        """Stop and start as the platform does: all processes get SIGTERM, the router hears of it later."""
        os.killpg(self.server.process.pid, signal.SIGTERM)
        time.sleep(ROUTER_LAG)
        self.router.hold_back()
        try:
            self.server.process.wait(timeout=30)
            self.start(port=self.server.port)
        finally:
            self.router.go_on()  # visitors who wait could not be told to stop

    def workers(self):
        """Return the ids of the web processes; Python's own helper beside them is none."""
        found = []
        for pid in children(self.server.process.pid):
            with suppress(FileNotFoundError):  # it has just ended
                if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found


class Distant(App):
    """The same site, whose database is reached over a way that can go dead."""

    wire = None

    @property
    def environ(self):
        address = self.postgres.address
        host, _, port = address.partition(":")
        self.wire = self.wire or Wire((host, int(port)))
        url = super().environ["DATABASE_URL"]
        return super().environ | {"DATABASE_URL": url.replace(address, f"127.0.0.1:{self.wire.port}")}

    def stop(self):
        super().stop()
        self.wire.close()


class Laptop(App):
    """The same site under `make run`, on the project's own PostgreSQL."""

    @property
    def environ(self):
        return self.project.environ

    def release(self):
        """Nothing: on a laptop the app brings the tables to their state itself."""

    def sql(self, *statements):
        return self.postgres.sql(*statements)

    def start(self):
        return super().start(("flask", "run", "--debug", "--port", "{port}"))


# --- the faults: each does its harm and mends it again ---


@dataclass
class Fault:
    """A fault, and what is promised to its visitors.

    happen: does it to an app and mends it again; may return the Counter of a flooder's statuses. site: where it
    happens, a class. load: other arguments of Load. limits: constants of deploy/server.py or config.py, and what
    they are while it happens.
    """

    title: str
    promise: str
    happen: Callable
    site: type
    load: dict
    limits: dict


FAULTS = {}


def fault(title, promise, site=App, load=(), **limits):
    """Register a function as a Fault, under its name."""

    def register(function):
        FAULTS[function.__name__] = Fault(title, promise, function, site, dict(load), limits)
        return function

    return register


@fault("PostgreSQL killed (SIGKILL), back after 3 s", "503 within 5 s, back by itself")
def database_killed(app):
    app.postgres.kill()
    time.sleep(3)
    app.postgres.start()


@fault("connections cut one by one", "a 503 for those in flight at most")
def connections_cut(app):
    for _ in range(15):
        app.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'app' ORDER BY backend_start LIMIT 1"
        )


# Nobody is told: what is sent is lost, and no answer comes, not even that there is nobody.
@fault("connections in use silently dropped on the way", "503 within 5 s, back by itself", site=Distant)
def connections_dropped(app):
    app.wire.drop()
    time.sleep(PATIENCE)


@fault("idle connections silently dropped on the way, 6 s before the next visitor", "nobody notices", site=Distant)
def idle_connections_dropped(app):
    app.router.hold_back()  # as if no visitor came
    wait_until(lambda: app.router.in_flight == 0, seconds=30)
    # Until the last answer is confirmed (40 ms later): unconfirmed, it is sent over and over, and the app would see life.
    time.sleep(1)
    app.wire.drop()
    time.sleep(6)
    app.router.go_on()
    time.sleep(1)


@fault("the server takes no new connections", "503 within 5 s, back by itself")
def too_many_connections(app):
    app.sql(
        "ALTER ROLE app CONNECTION LIMIT 0",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'",
    )
    time.sleep(3)
    app.sql("ALTER ROLE app CONNECTION LIMIT -1")


@fault("the table locked for a minute", "503 within 5 s, nothing piles up")
def table_locked(app):
    app.sql("BEGIN", "LOCK TABLE notes IN ACCESS EXCLUSIVE MODE", f"SELECT pg_sleep({app.lock_seconds})")


@fault("the database's disk is full", "reading works, writing is a 503")
def disk_full(app):
    app.sql(
        "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION no_space()",
    )
    time.sleep(3)
    app.sql("DROP TRIGGER full_disk ON notes", "DROP FUNCTION no_space")


@fault("the password changed while the app runs", "503, the log names it; the next start has the new one")
def credentials_rotated(app):
    app.password = secrets.token_hex(8)
    app.sql(
        f"ALTER ROLE app PASSWORD '{app.password}'",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'",
    )
    time.sleep(2)
    app.restart()  # as the platform does, with the new DATABASE_URL


@fault("a worker killed (SIGKILL)", "replaced within seconds")
def worker_killed(app):
    os.kill(app.workers()[0], signal.SIGKILL)
    time.sleep(4)


@fault("all processes killed (SIGKILL), three times", "what was taken is kept")
def restart_loop(app):
    for _ in range(3):
        # The server first: it would start another for a worker that is gone.
        for pid in [app.server.process.pid, *app.workers()]:
            with suppress(ProcessLookupError):  # ended with the server
                os.kill(pid, signal.SIGKILL)
        app.server.process.wait()
        app.start(port=app.server.port)


@fault("SIGTERM under load, and a new start", "all requests that the router still sends are answered")
def terminated(app):
    app.restart()


# A limit that every worker passes at once, looked at every second.
# The kernel may hand a request to a process in the moment in which it stops listening: one of thousands.
@fault("workers over their memory", "replaced, one request cut at most", MAX_MEMORY=60, MEMORY_CHECK=1)
def memory_exceeded(app):
    before = set(app.workers())
    wait_until(lambda: before.isdisjoint(app.workers()), seconds=30)


@fault("two releases at once", "one waits for the other, the app goes on")
def two_releases(app):
    at_once(app.release, times=2)


MIGRATION = """
revision = "{revision}"
down_revision = "{before}"

from alembic import op


def upgrade():
    op.execute("CREATE TABLE half (id bigint)")
    op.execute("SELECT 1 / 0")
"""


@fault("a migration that fails half-way", "nothing of it stays, the old version goes on")
def migration_fails(app):
    before = re.search(r'revision = "(\w+)"', app.project.read("migrations/versions/0001_notes.py")).group(1)
    broken = "migrations/versions/0002_broken.py"
    app.project.write(broken, MIGRATION.format(revision="0002", before=before))
    result = app.release(check=False)
    app.project.remove(broken)
    assert result.returncode != 0
    assert "division by zero" in result.stderr
    assert app.sql("SELECT to_regclass('half')") == [[None]]
    app.release()


def unfinished(port, address):
    """Send a request whose body never comes to its end; return the connection."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    head = f"POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: {address}\r\n"
    form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nbody=half"
    connection.sendall((head + form).encode())
    return connection


def hold(app, connections):
    """Hold connections for some seconds; pages and /healthz go on answering, within a dyno's memory."""
    for _ in range(10):
        time.sleep(0.5)
        started = time.monotonic()
        assert app.server.get("/healthz").status == 200
        assert app.server.get("/").status == 200
        assert time.monotonic() - started < ROUTER_PATIENCE
        assert memory(app.server.process.pid) < MEMORY
    for connection in connections:
        connection.close()


@fault("300 unfinished bodies from one address", "nobody else notices")
def unfinished_bodies(app):
    hold(app, [unfinished(app.server.port, "203.0.113.7") for _ in range(300)])


@fault("300 unfinished bodies from 300 addresses", "pages are read; who writes may get a 503")
def unfinished_bodies_of_many(app):
    hold(app, [unfinished(app.server.port, f"10.0.{number // 100}.{number % 100}") for number in range(300)])


@fault("300 downloads that nobody reads", "pages go on, memory stays below 512 MB")
def unread_downloads(app):
    app.sql("INSERT INTO notes (body) SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    head = "GET /notes.csv HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.{}\r\n\r\n"
    connections = []
    for number in range(300):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", app.server.port))
        connection.sendall(head.format(number).encode())
        connections.append(connection)
    try:
        hold(app, connections)
    finally:
        app.sql("DELETE FROM notes WHERE body = repeat('x', 1000)")


# The numbers of config.py as they are baked.
@fault(
    "one flooder among ten visitors",
    "the others go on writing",
    load={"visitors": 9, "pause": 2},
    **{
        name: int(re.search(rf"(?m)^{name} = (\d+)", (TEMPLATE / "config.py").read_text("utf-8"))[1]) for name in LIMITS
    },
)
def flooder(app):
    visitor = Visitor(app.server.port, "203.0.113.7")
    own = {"Origin": f"https://127.0.0.1:{app.server.port}"}
    started = time.monotonic()
    statuses = Counter()
    # Ten seconds, and where the machine is slow until there is too much within a minute.
    while time.monotonic() - started < (10 if statuses[429] else 50):
        statuses[visitor.get("/", {"body": "flood"}, headers=own).status] += 1
        time.sleep(app.pause / 5)
    app.sql("DELETE FROM notes WHERE body = 'flood'")
    return statuses


@fault("the laptop's PostgreSQL killed under `make run`", "503 that names the command; after it as before", site=Laptop)
def laptop_database_killed(app):
    app.postgres.kill()
    page = app.server.get("/")
    assert page.status == 503
    command = re.search(r"python -m deploy\.postgres", page.text)[0]
    app.project.run(*command.split())


def suffer(app, name, pause=0):
    """Let visitors write and read while a fault happens; return what was Measured. pause: as of Load."""
    fault, app.pause = FAULTS[name], pause
    files = ("deploy/server.py", "config.py")
    usual = {file: app.project.read(file) for file in files}
    if fault.limits:
        for file in files:
            here = {name: value for name, value in fault.limits.items() if f"\n{name} = " in usual[file]}
            set_constant(app.project, file, **here)
        if app.server:
            stop_server(app.server)
    if app.server is None or app.server.process.poll() is not None:
        app.start()
    first = app.server
    with Load(app.server, app.router, **{"pause": pause} | fault.load) as load:
        flooder = fault.happen(app) or Counter()
        mended = time.monotonic()

        def taken_again():
            return next((moment for moment, _ in load.measured.acknowledged[::-1] if moment > mended), None)

        load.measured.recovered = wait_until(taken_again, seconds=30) - mended
        time.sleep(0.5)
    if fault.limits:
        for file in files:
            app.project.write(file, usual[file])
        stop_server(app.server)
    measured = load.measured
    measured.flooder = flooder
    bodies = [row[0] for row in app.sql("SELECT body FROM notes")]
    counts = Counter(bodies)
    taken = [body for _, body in measured.acknowledged]
    measured.found = len(bodies)
    measured.lost = sum(counts[body] == 0 for body in taken)
    measured.doubled = sum(count > 1 for count in counts.values())
    app.sql("TRUNCATE notes")
    measured.log = first.log()
    return measured


def bake_app(folder, environ, site=App, **options):
    return site(bake_into(folder, environ, f"{site.__name__.lower()}-faults"), folder, **options)


def report():
    """Run all faults; write the table into docs/faults.md."""
    lines = [
        "| Fault | Promised | Requests: sent, 200, 503, cut, refused | Slowest | Back after | Notes: taken, lost, doubled |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with workplace() as (folder, environ):
        apps = {site: bake_app(folder, environ, site, lock_seconds=60) for site in (App, Distant, Laptop)}
        try:
            for name, fault in FAULTS.items():
                m = suffer(apps[fault.site], name)
                counts = ", ".join(str(n) for n in (m.sent, *(m.statuses[s] for s in (200, 503, "cut", "refused"))))
                notes = f"{len(m.acknowledged)}, {m.lost}, {m.doubled}"
                row = (fault.title, fault.promise, counts, f"{m.slowest:.1f} s", f"{m.recovered:.1f} s", notes)
                lines.append(f"| {' | '.join(row)} |")
                print(lines[-1], flush=True)
        finally:
            for app in apps.values():
                app.stop()
    write_part("faults", "\n".join(lines) + "\n", "docs/faults.md")


if __name__ == "__main__":
    report()
