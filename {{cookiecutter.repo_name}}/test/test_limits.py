"""Step 13 of the guide: little memory, and queries that stay fast with many notes."""

import subprocess
import sys
import tracemalloc

import pytest
from sqlalchemy import event, text

from database import db
from models import Note
from views import PAGE_SIZE, csv_pieces

MANY = 50_000


@pytest.fixture(scope="module")
def visitor(app):
    """A visitor of an app with so many notes that PostgreSQL needs its indexes."""
    with app.app_context():
        rows = "SELECT 'note ' || n FROM generate_series(1, :many) AS n"
        db.session.execute(db.delete(Note))
        db.session.execute(text(f"INSERT INTO notes (body) {rows}"), {"many": MANY})
        # What PostgreSQL itself does within a minute after so many changes.
        db.session.execute(text("SELECT gin_clean_pending_list('ix_notes_words')"))
        db.session.execute(text("ANALYZE notes"))
        db.session.commit()
        yield app.test_client()
        db.session.execute(db.delete(Note))
        db.session.commit()


@pytest.mark.parametrize(
    ("address", "index"),
    [
        ("/", "notes_pkey"),
        ("/?before=50000000", "notes_pkey"),
        ("/?q=777", "ix_notes_words"),
    ],
)
def test_a_page_reads_its_rows_through_an_index(visitor, address, index):
    queries = []

    def note_down(connection, cursor, statement, parameters, context, executemany):
        queries.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note_down)
    visitor.get(address)
    event.remove(db.engine, "before_cursor_execute", note_down)
    query, parameters = next(q for q in queries if "FROM notes" in q[0])
    connection = db.session.connection()
    lines = connection.exec_driver_sql(f"EXPLAIN {query}", parameters).scalars()
    plan = "\n".join(lines)
    assert index in plan
    assert "Seq Scan" not in plan


def test_a_page_loads_only_the_notes_that_it_shows(visitor):
    loaded = []

    def note_down(note, context):
        loaded.append(note)

    event.listen(Note, "load", note_down)
    visitor.get("/")
    event.remove(Note, "load", note_down)
    assert 0 < len(loaded) <= PAGE_SIZE + 1


def test_the_download_takes_the_same_memory_for_any_number(app, visitor):
    for _ in csv_pieces(db.engine, app.logger):
        pass  # what is loaded only once
    tracemalloc.start()
    size = sum(len(piece) for piece in csv_pieces(db.engine, app.logger))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 800_000
    assert peak < size


def test_the_web_process_imports_only_what_it_needs(root):
    code = "import main, sys; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    for_others = {"alembic", "doctor", "flask_migrate", "local_postgres", "psutil"}
    assert not (for_others | {"pytest", "platformdirs"}) & set(output.split())


def test_the_download_begins_before_the_last_note_is_read(app, visitor):
    pieces = csv_pieces(db.engine, app.logger)
    next(pieces)  # the names of the columns
    assert next(pieces).count(b"\n") < MANY
    db.session.execute(db.delete(Note))
    db.session.commit()
    assert list(pieces) == []  # what is read later is gone by now
