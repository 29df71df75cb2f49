"""What belongs together in the database: all of a visit that changes something."""

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import text
from test_deploy_pages import without_its_own

from database import db
from deploy.transactions import TooLong
from main import init_app

ADD = text("UPDATE test_accounts SET money = money + 1 WHERE id = :id")
LOCK = text("SELECT money FROM test_accounts WHERE id = 2 FOR UPDATE")


def money(connection):
    rows = connection.execute("SELECT money FROM test_accounts ORDER BY id")
    return [row[0] for row in rows]


def status():
    connection = db.session.connection().connection.dbapi_connection
    return TransactionStatus(connection.info.transaction_status).name


@pytest.fixture
def pages(database_url):
    """A visitor of an app whose pages change two accounts, and a connection beside it."""
    app = init_app({"DATABASE_URL": database_url, "SECRET_KEY": "only for tests"})
    app.config.update(WTF_CSRF_ENABLED=False)

    @app.route("/test/move", methods=["GET", "POST"])
    def move():
        db.session.execute(ADD, {"id": 1})
        db.session.execute(LOCK)
        db.session.execute(ADD, {"id": 2})
        raise ValueError("a mistake in the middle")

    @app.route("/test/save", methods=["GET", "POST"])
    def save():
        db.session.execute(ADD, {"id": 1})
        db.session.commit()
        return ""

    @app.route("/test/read", methods=["GET", "POST"])
    def read():
        db.session.execute(text("SELECT money FROM test_accounts"))
        return status()

    @app.route("/test/lock")
    def lock():
        db.session.execute(LOCK)
        return status()

    @app.route("/test/advisory")
    def advisory():
        db.session.execute(text("SELECT pg_advisory_xact_lock(1)"))
        return status()

    @app.route("/test/past")
    def past():
        """Go past SQLAlchemy, after a query."""
        db.session.execute(text("SELECT 1"))
        cursor = db.session.connection().connection.cursor()
        cursor.execute("UPDATE test_accounts SET money = 9")
        db.session.execute(text("SELECT 1; CREATE TABLE test_left (id integer)"))
        raise ValueError("a mistake afterwards")

    @app.route("/test/all")
    def everything():
        return str([*db.session.execute(text("SELECT * FROM test_accounts")).keys()])

    @app.route("/test/pieces")
    def pieces():
        numbers = text("SELECT generate_series(1, 1000)")
        found = db.session.scalars(numbers.execution_options(yield_per=100))
        return str(sum(found))

    @app.route("/test/slow_pieces")
    def slow_pieces():
        slow = text("SELECT pg_sleep(1) FROM generate_series(1, 9)")
        options = {"time_limit": 20, "yield_per": 2}
        with pytest.raises(TooLong):
            db.session.scalars(slow.execution_options(**options)).all()
        return ""

    @app.route("/test/slow", methods=["GET", "POST"])
    def slow():
        query = text("SELECT :word || '%' || pg_sleep(5)")
        with pytest.raises(TooLong):
            db.session.execute(
                query.execution_options(time_limit=20), {"word": "it's; 100 %"}
            )
        db.session.rollback()
        quick = text("SELECT :word || '%'").execution_options(time_limit=1000)
        return db.session.scalar(quick, {"word": "it's; 100 %"})

    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("CREATE TABLE test_accounts (id integer, money integer)")
        other.execute("INSERT INTO test_accounts VALUES (1, 0), (2, 0)")

        yield without_its_own(app).test_client(), other
        other.execute("DROP TABLE test_accounts")
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_mistake_takes_back_what_went_before_it(pages, method):
    visitor, other = pages
    assert visitor.open("/test/move", method=method).status_code == 500
    assert money(other) == [0, 0]


def test_what_goes_past_sqlalchemy_is_taken_back_as_well(pages):
    visitor, other = pages
    assert visitor.get("/test/past").status_code == 500
    assert money(other) == [0, 0]
    assert other.execute("SELECT to_regclass('test_left')").fetchone() == (None,)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_committed_stays(pages, method):
    visitor, other = pages
    assert visitor.open("/test/save", method=method).status_code == 200
    assert money(other) == [1, 0]


def test_only_a_visit_that_reads_makes_no_transaction(pages):
    visitor, _ = pages
    # The same connection for all of them, as all visits come one after the other.
    assert visitor.get("/test/read").text == "IDLE"
    assert visitor.post("/test/read").text == "INTRANS"
    assert visitor.get("/test/lock").text == "INTRANS"
    assert visitor.get("/test/advisory").text == "INTRANS"
    assert visitor.get("/test/read").text == "IDLE"


def test_a_result_can_be_read_in_pieces(pages):
    visitor, _ = pages
    assert visitor.get("/test/pieces").text == "500500"


def test_a_release_may_change_the_columns_that_a_page_reads(pages):
    visitor, other = pages
    for _ in range(7):  # as often as psycopg needs to prepare a query
        assert visitor.get("/test/all").text == "['id', 'money']"
    other.execute("ALTER TABLE test_accounts ADD COLUMN name text")
    assert visitor.get("/test/all").text == "['id', 'money', 'name']"


def test_pieces_of_a_result_have_a_time_limit_too(pages):
    visitor, _ = pages
    assert visitor.get("/test/slow_pieces").status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_can_have_a_time_limit(pages, method):
    visitor, _ = pages
    assert visitor.open("/test/slow", method=method).text == "it's; 100 %%"


def test_a_connection_that_the_server_has_closed_costs_no_visitor_an_error(pages):
    visitor, other = pages
    assert visitor.get("/test/read").status_code == 200
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    end = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"
    assert other.execute(end).fetchall()
    assert visitor.get("/test/read").status_code == 200
