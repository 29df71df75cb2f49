"""Nothing that was acknowledged is lost, and the app comes back by itself: every fault of faults.py, under load."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

import faults
from lab import KEY, call, only_sentence, stop_server, wait_until

# Each needs a server and a database.
pytestmark = pytest.mark.slow

# The line in the log that names the cause, where there is something to name.
CAUSES = {
    "database_killed": "database: ",
    "too_many_connections": 'too many connections for role "app"',
    "connections_dropped": "database: ",
    "table_locked": "canceling statement due to statement timeout",
    "disk_full": "takes no more data: could not extend file",
    "credentials_rotated": 'password authentication failed for user "app"',
    "worker_killed": "Respawning worker",
}
# Seconds between two requests of a visitor: some 100 in a second for all, which leave the other tests a processor.
# `make faults` sends as many as are answered.
PAUSE = 0.05
# Here nobody but those whose request was in flight may notice anything.
UNNOTICED = {"idle_connections_dropped", "two_releases", "migration_fails", "unfinished_bodies", "flooder"}
# A process that is ended with SIGKILL takes the requests it works on with it: one of each visitor at most.
CUT = {"worker_killed", "restart_loop"}
# For a moment nobody listens.
REFUSED = {"restart_loop"}


@pytest.fixture(scope="module")
def app(tmp_path_factory, environ):
    app = faults.bake_app(tmp_path_factory.mktemp("faults"), environ)
    yield app
    app.stop()


@pytest.fixture(scope="module")
def distant(tmp_path_factory, environ):
    distant = faults.bake_app(tmp_path_factory.mktemp("distant"), environ, faults.Distant)
    yield distant
    distant.stop()


@pytest.fixture(scope="module")
def laptop(tmp_path_factory, environ):
    laptop = faults.bake_app(tmp_path_factory.mktemp("laptop"), environ, faults.Laptop)
    yield laptop
    laptop.stop()


@pytest.mark.parametrize("name", faults.FAULTS)
def test_a_fault(name, request):
    fault = faults.FAULTS[name]
    measured = faults.suffer(request.getfixturevalue(fault.site.__name__.lower()), name, pause=PAUSE)
    assert measured.lost == 0
    assert measured.doubled == 0
    assert measured.found >= len(measured.acknowledged)
    assert measured.recovered < faults.RECOVERY
    timed = f"within {faults.PATIENCE} s" in fault.promise
    # A second for the machine's own hesitation.
    assert measured.slowest < (faults.PATIENCE + 1 if timed else faults.ROUTER_PATIENCE)
    if name == "memory_exceeded":
        assert measured.statuses.pop("cut", 0) <= 1
    allowed = {200, 503} | ({"cut"} if name in CUT else set()) | ({"refused"} if name in REFUSED else set())
    assert set(measured.statuses) <= allowed, measured.statuses
    assert measured.statuses["cut"] <= faults.VISITORS * (3 if name == "restart_loop" else 1)
    assert CAUSES.get(name, "") in measured.log
    assert "Traceback" not in measured.log
    if name in UNNOTICED:
        assert set(measured.statuses) == {200}
    if name == "flooder":
        # Each of the two processes counts for itself.
        assert measured.flooder[200] <= 2 * fault.limits["NOTES_PER_MINUTE"]
        assert measured.flooder[429] > 0


WRITES = """
from main import init_app
from database import db

with init_app().app_context():
    with db.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO notes (body) VALUES ('lost')")
        connection.exec_driver_sql("SELECT pg_sleep(2)")
"""


def test_what_a_lost_connection_had_locked_is_let_go(distant):
    """The server's answer is under way when the connection goes dead: nobody confirms it, it is sent over and over."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(2)' AND state = 'active'"
    with ThreadPoolExecutor() as pool:
        lost = pool.submit(call, "python", "-c", WRITES, cwd=distant.project.path, env=distant.environ, check=False)
        wait_until(lambda: distant.sql(waits) == [[1]], seconds=30)
        distant.wire.drop()
        assert lost.result().returncode != 0
    # Ends with an error if the lock is still held after that.
    distant.sql("SET lock_timeout = '20s'", "TRUNCATE notes")


def test_without_a_database_the_app_starts_and_waits_for_it(app):
    if app.server:
        stop_server(app.server)
    app.postgres.stop()
    server = app.start()  # waits for an answer of /healthz
    health = server.get("/healthz")
    assert health.status == 503
    assert health.text.strip() == '{"database":"unreachable"}'
    page = server.get("/")
    assert page.status == 503
    assert page.headers["Retry-After"]
    assert 'id="reason"' in page.text
    app.postgres.start()
    wait_until(lambda: server.get("/healthz").status == 200, seconds=faults.RECOVERY)


def test_a_download_that_the_database_interrupts_says_so(app):
    server = app.server if app.server.process.poll() is None else app.start()
    # More than fits into all buffers between the app and a reader who has stopped reading.
    app.sql("INSERT INTO notes (body) SELECT repeat('x', 1000) FROM generate_series(1, 30000)")
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        reader.connect(("127.0.0.1", server.port))
        reader.sendall(b"GET /notes.csv HTTP/1.0\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n\r\n")
        received = [reader.recv(4096)]
        app.postgres.stop()
        while piece := reader.recv(1 << 20):
            received.append(piece)
    assert server.get("/notes.csv").status == 503  # nothing was sent yet: a page, not an empty file
    app.postgres.start()
    wait_until(lambda: server.get("/healthz").status == 200, seconds=faults.RECOVERY)
    app.sql("TRUNCATE notes")
    lines = b"".join(received).decode().splitlines()
    assert len(lines) < 30_000
    assert lines[-1] == ',,"Incomplete: the database went away. Download it once more."'
    assert "database: a download was cut short: " in server.log()


def test_a_release_without_a_database_says_so_in_one_sentence(app):
    app.postgres.stop()
    result = app.release(check=False)
    app.postgres.start()
    assert "DATABASE_URL" in only_sentence(result)
    assert result.stderr.startswith("The database does not answer (")
    assert app.password not in result.stderr


def test_logs_hold_no_secrets_and_no_notes(app):
    if app.server:
        stop_server(app.server)
    app.postgres.stop()
    app.postgres.start()
    server = app.start()
    app.sql("ALTER TABLE notes RENAME COLUMN words TO text")
    assert server.get("/?q=searched-word").status == 500
    app.sql("ALTER TABLE notes RENAME COLUMN text TO words")
    server.add("a private note")
    server.get("/%0aERROR%20forged")
    stop_server(server)
    text = server.log()
    assert "UndefinedColumn" in text  # the developer finds the cause
    for secret in (app.password, KEY, "a private note", "searched-word"):
        assert secret not in text
    assert not any(line.startswith("ERROR forged") for line in text.splitlines())
