{%- set ru = cookiecutter.language == "ru" -%}
"""The pages: list, search, add and delete notes, download them all, and the errors."""

from datetime import timedelta
from itertools import chain

from flask import (
    Blueprint,
    Response,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_wtf.csrf import CSRFError
from psycopg import Error, OperationalError
from psycopg.errors import (
    DiskFull,
    InsufficientPrivilege,
    ReadOnlySqlTransaction,
    UndefinedTable,
)
from psycopg.sql import SQL
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, TimeoutError
from werkzeug.exceptions import HTTPException

import config
import status
from config import NOTES_PER_MINUTE
from database import db
from forms import MAX_LENGTH, NoteForm
from models import SEARCH_LANGUAGE, Note

bp = Blueprint("notes", __name__)

PAGE_SIZE = 20
# Notes in one piece of the download. With 250 it takes twice as long; with 2000, forty
# slow visitors at once need 180 MB, not 145: some pieces of each wait in memory.
CSV_ROWS = 1000
# The last line of a download that the database has interrupted.
CSV_CUT = ',,"{{ 'Файл неполный: база перестала отвечать. Скачайте его ещё раз.' if ru else 'Incomplete: the database went away. Download it once more.' }}"\n'
RARE = 1000  # words that fewer notes hold are looked up in the index of words
MAX_ID = 2**63 - 1  # PostgreSQL's bigint


@bp.app_context_processor
def names_for_all_pages():
    return {
        "project_name": config.PROJECT_NAME,
        "description": config.DESCRIPTION,
        "dyno": status.dyno if current_app.config["ON_DYNO"] else None,
    }


@bp.get("/")
def index():
    return notes_page(NoteForm())


@bp.post("/")
def add():
    form = NoteForm()
    if not form.validate_on_submit():
        return notes_page(form), 422
    if is_flooded():
        form.body.errors = [
            "{{ 'Слишком много заметок за одну минуту. Подождите немного и нажмите «Добавить» ещё раз.' if ru else 'Too many notes within one minute. Wait a little, then press “Add” once more.' }}",
        ]
        return notes_page(form), 429, {"Retry-After": "60"}
    db.session.add(Note(body=form.body.data.strip()))
    db.session.commit()
    flash("{{ 'Заметка добавлена.' if ru else 'Note added.' }}")
    return redirect(url_for("notes.index"))


@bp.post(f"/notes/<int(max={MAX_ID}):note_id>/delete")
def delete(note_id):
    note = db.get_or_404(Note, note_id)
    db.session.delete(note)
    db.session.commit()
    flash("{{ 'Заметка удалена.' if ru else 'Note deleted.' }}")
    return redirect(url_for("notes.index"))


@bp.get("/notes.csv")
def download():
    """All notes as a file, sent in pieces: a million of them fit into any memory."""
    pieces = csv_pieces(db.engine, current_app.logger)
    first = next(pieces)  # fails here, as a page does, where there is no database
    headers = {"Content-Disposition": "attachment; filename=notes.csv"}
    return Response(chain([first], pieces), mimetype="text/csv", headers=headers)


@bp.get("/healthz")
def healthz():
    """For monitoring: 200 while the database answers, 503 while it does not."""
    try:
        db.session.execute(text("SELECT 1"))
    except (DBAPIError, TimeoutError) as error:
        current_app.logger.error("database: %s", one_line(error))
        return {"database": "unreachable"}, 503
    return {"database": "ok"}


def is_flooded():
    """Tell whether there are too many new notes.

    Counted in the database, so it holds for all processes and dynos together. The
    index of the ids leads to the note in question; nothing else is read.
    """
    is_young = Note.created_at > func.now() - timedelta(minutes=1)
    newest_first = select(is_young).order_by(Note.id.desc())
    return db.session.scalar(newest_first.offset(NOTES_PER_MINUTE - 1).limit(1))


def notes_page(form):
    """Render one page of notes, newest first.

    The address says which: ?q= are words to find, ?before= the id to go on from.
    """
    words = request.args.get("q", "").replace("\0", "").strip()
    before = request.args.get("before", type=int)
    query = select(Note).order_by(Note.id.desc())
    if words:
        has_words = Note.words.op("@@")(
            func.websearch_to_tsquery(SEARCH_LANGUAGE, words)
        )
        ids = db.session.scalars(select(Note.id).where(has_words).limit(RARE)).all()
        # Rare words: the index of the words has named all their notes. Frequent ones:
        # going back from the newest note soon meets enough of them. Left to choose by
        # itself, PostgreSQL takes 240 ms for a rare word in a million notes, not 1.
        query = query.where(Note.id.in_(ids) if len(ids) < RARE else has_words)
    if before is not None:
        # Going on from an id stays fast on any page; OFFSET would read all before it.
        query = query.where(Note.id < max(0, min(before, MAX_ID)))
    # One more than is shown tells whether there is a next page.
    notes = db.session.scalars(query.limit(PAGE_SIZE + 1)).all()
    return render_template(
        "notes.html",
        form=form,
        max_length=MAX_LENGTH,
        notes=notes[:PAGE_SIZE],
        words=words,
        before=before,
        next_before=notes[PAGE_SIZE - 1].id if len(notes) > PAGE_SIZE else None,
    )


def csv_pieces(engine, log):
    """Yield all notes as CSV, newest first, a piece at a time.

    PostgreSQL writes the CSV itself (COPY), which is several times faster than Python.
    Each piece is a query of its own: while a visitor's slow line takes it in, nobody
    else waits for the database connection.
    """
    rows = csv_rows(engine, MAX_ID)
    yield "\ufeffid,created_at,body\n".encode()  # \ufeff tells Excel: this is UTF-8
    while rows:
        yield b"".join(rows)
        try:
            rows = csv_rows(engine, before=int(rows[-1].partition(b",")[0]))
        except (Error, DBAPIError, TimeoutError) as error:
            # It began with "200 OK" long ago, so the file itself has to tell the reader.
            log.error("database: a download was cut short: %s", one_line(error))
            yield CSV_CUT.encode()
            return


def csv_rows(engine, before):
    """Return the next notes with an id below `before`, a line of CSV for each."""
    # A spreadsheet takes a cell that begins with one of these for a formula.
    copy = SQL(r"""
        COPY (
            SELECT id, created_at,
                   CASE WHEN body ~ '^[=+\-@\t\r]' THEN '''' || body ELSE body END
            FROM notes WHERE id < {before} ORDER BY id DESC LIMIT {limit}
        ) TO STDOUT WITH (FORMAT csv)
    """).format(before=before, limit=CSV_ROWS)
    with (
        engine.connect() as connection,
        connection.connection.cursor().copy(copy) as rows,
    ):
        return [bytes(row) for row in rows]


@bp.app_errorhandler(HTTPException)
def http_error(error):
    """404 and its like: the same page, other words."""
    return render_template("error.html", reason=error.code), error.code


@bp.app_errorhandler(CSRFError)
def form_expired(error):
    """The token of a page is good for an hour; what was written must not be lost."""
    if request.endpoint != "notes.add":
        return render_template("error.html", reason="expired"), 400
    form = NoteForm()
    form.body.errors = [
        "{{ 'Страница была открыта слишком долго. Нажмите «Добавить» ещё раз.' if ru else 'The page was open for too long. Press “Add” once more.' }}",
    ]
    return notes_page(form), 400


@bp.app_errorhandler(Error)
@bp.app_errorhandler(DBAPIError)
@bp.app_errorhandler(TimeoutError)  # all connections are in use
def database_error(error):
    """What the database cannot do now is a 503, with one line in the log."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, UndefinedTable):
        reason = "tables"
        current_app.logger.error("database: no tables yet, run: flask db upgrade")
    elif isinstance(cause, (DiskFull, InsufficientPrivilege, ReadOnlySqlTransaction)):
        # Heroku takes the right to write away from a database that is over its size.
        reason = "full"
        current_app.logger.error("database: takes no more data: %s", one_line(cause))
    elif isinstance(cause, (OperationalError, TimeoutError)):
        reason = "database"
        current_app.logger.error("database: %s", one_line(cause))
    else:
        raise error  # a mistake in the program
    return render_template("error.html", reason=reason), 503, {"Retry-After": "10"}


def one_line(error):
    return " ".join(str(error).split())
