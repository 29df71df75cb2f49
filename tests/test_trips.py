"""What a page costs: its trips to the database, counted on the way there."""

import re
import time

import pytest

from lab import CSRF_TOKEN, Site, bake_into, stop_server
from wire import Wire

pytestmark = pytest.mark.slow

NOTES = (
    "INSERT INTO notes (body) SELECT CASE WHEN n % 2 = 0 THEN 'often' ELSE 'seldom' || n END"
    " FROM generate_series(1, 3000) AS n"
)
# The trips of every page, once the connection is there.
TRIPS = {
    "/": 1,
    "/?before=50": 1,
    "/?before=1": 1,
    "/?q=seldom7": 2,
    "/?q=often": 2,
    "/?q=often&before=500": 2,
    "/?q=nobody": 2,
    "/?q=the": 2,  # a word that no search looks for
    "/notes/1/delete": 1,
    "/notes/999999/delete": 1,
    "/healthz": 1,
    "/nothing/here": 0,
    "/static/style.css": 0,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory, environ):
    folder = tmp_path_factory.mktemp("trips")
    site = Site(bake_into(folder, environ, "trips"), folder)
    site.sql(NOTES, "ANALYZE notes")
    yield site
    site.stop()


@pytest.fixture(scope="module")
def wire(site):
    host, _, port = site.postgres.address.partition(":")
    wire = Wire((host, int(port)))
    yield wire
    wire.close()


@pytest.fixture(scope="module")
def visitor(site, wire):
    url = site.environ["DATABASE_URL"].replace(site.postgres.address, f"127.0.0.1:{wire.port}")
    visitor = site.start(WEB_CONCURRENCY="1", DATABASE_URL=url)
    visitor.get()
    return visitor


@pytest.fixture
def count(wire, visitor):
    """A function: send a request; return its status and its trips."""

    def count(path, **options):
        time.sleep(0.1)  # the request before this one has its answer, and then gives its connection back
        before = wire.trips
        status = visitor.get(path, **options).status
        return status, wire.trips - before

    return count


@pytest.mark.parametrize("path", TRIPS)
def test_a_page_that_reads_costs_its_own_queries(count, path):
    _, trips = count(path)
    assert trips == TRIPS[path]


def test_a_download_costs_a_trip_for_each_piece(count):
    status, trips = count("/notes.csv")
    assert (status, trips) == (200, 4)  # 3,000 rows in pieces of 1,000, and one that finds no more


def test_what_changes_something_is_one_transaction(visitor, count):
    """Its trips: begin, its statements, commit; and where it is sent on to the start page, that page's one."""
    token = CSRF_TOKEN.search(visitor.get().text)[1]
    assert count("/", data={"csrf_token": token, "body": "new"}) == (200, 3 + 1)
    # Nothing was changed: begin, the page's query, rollback.
    assert count("/", data={"csrf_token": token, "body": ""}) == (422, 3)
    newest = re.search(r"/notes/(\d+)/delete", visitor.get().text)[1]
    assert count(f"/notes/{newest}/delete", data={"csrf_token": token}) == (200, 4 + 1)


def test_every_page_is_counted(site):
    """Those of GET; a page more in the project needs its number above."""
    code = (
        "import main; print(*(r.rule for r in main.init_app().url_map.iter_rules() if 'GET' in r.methods), sep='\\n')"
    )
    rules = [line for line in site.project.python(code).splitlines() if line.startswith("/")]
    assert "/" in rules
    counted = [*TRIPS, "/notes.csv"]
    for rule in rules:
        pattern = re.sub(r"<[^>]*>", "[^/]+", re.sub(r"\(max=\d+\)", "", rule))
        assert any(re.fullmatch(pattern, path.partition("?")[0]) for path in counted), rule


def test_a_server_of_any_distance(site, wire, visitor):
    """A page takes one trip's time longer where the database is a trip away."""
    wire.delay = 0.2
    assert visitor.get().status == 200
    wire.delay = 0
    stop_server(site.server)
