"""Step 13 of the guide: little memory, and queries that stay fast with many notes."""

import subprocess
import sys
import tracemalloc

import pytest
from sqlalchemy import event, text

from database import db
from models import Note
from views import PAGE_SIZE, csv_pieces

MANY = 20_000


@pytest.fixture
def many_notes(client, app):
    """A table with so many notes that PostgreSQL needs its indexes."""
    with app.app_context():
        rows = "SELECT 'note ' || n FROM generate_series(1, :many) AS n"
        db.session.execute(text(f"INSERT INTO notes (body) {rows}"), {"many": MANY})
        db.session.execute(text("ANALYZE notes"))
        db.session.commit()
        yield
        db.session.execute(db.delete(Note))
        db.session.commit()


@pytest.mark.parametrize(
    ("address", "index"),
    [
        ("/", "notes_pkey"),
        (f"/?before={MANY // 2}", "notes_pkey"),
        ("/?q=777", "ix_notes_words"),
    ],
)
def test_a_page_reads_its_rows_through_an_index(client, many_notes, address, index):
    queries = []

    def note_down(connection, cursor, statement, parameters, context, executemany):
        queries.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note_down)
    client.get(address)
    event.remove(db.engine, "before_cursor_execute", note_down)
    query, parameters = next(q for q in queries if "FROM notes" in q[0])
    connection = db.session.connection()
    plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {query}", parameters).scalars())
    assert index in plan
    assert "Seq Scan" not in plan


def test_a_page_loads_only_the_notes_that_it_shows(client, many_notes):
    loaded = []

    def note_down(note, context):
        loaded.append(note)

    event.listen(Note, "load", note_down)
    client.get("/")
    event.remove(Note, "load", note_down)
    assert 0 < len(loaded) <= PAGE_SIZE + 1


def test_the_download_begins_before_the_last_note_is_read(many_notes):
    pieces = csv_pieces(db.engine)
    next(pieces)  # the names of the columns
    assert next(pieces).count(b"\n") < MANY
    db.session.execute(db.delete(Note))
    db.session.commit()
    assert list(pieces) == []  # what is read later is gone by now


def test_the_download_takes_the_same_memory_for_any_number(many_notes):
    for _ in csv_pieces(db.engine):
        pass  # what is loaded only once
    tracemalloc.start()
    size = sum(len(piece) for piece in csv_pieces(db.engine))
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
