"""Tables as files, sent in pieces: a million rows fit into any memory."""

from itertools import chain

from flask import Response, current_app
from psycopg import Error
from sqlalchemy import String, case, select
from sqlalchemy.exc import DBAPIError, TimeoutError

from deploy.environment import WORDS
from deploy.errors import one_line

# Rows in one piece. With 250 it takes twice as long; with 2000, forty slow visitors at
# once need 180 MB, not 145: some pieces of each wait in memory.
ROWS = 1000
# A spreadsheet takes a cell that begins with one of these for a formula.
FORMULA = "^[=+@\t\r-]"


def csv_download(db, columns, filename):
    """Return a response that downloads columns of one table as a CSV file.

    columns: attributes of one model, first its whole-numbered key; newer rows, with
    higher keys, come first. What a spreadsheet takes for a formula gets an apostrophe.
    """
    pieces = csv_pieces(db.engine, columns, current_app.logger)
    first = next(pieces)  # fails here, as a page does, where there is no database
    headers = {"Content-Disposition": f"attachment; filename={filename}"}
    return Response(chain([first], pieces), mimetype="text/csv", headers=headers)


def csv_pieces(engine, columns, log):
    """Yield the rows as CSV, newest first, a piece at a time.

    PostgreSQL writes the CSV (COPY), several times faster than Python. Each piece is a
    query of its own: a visitor with a slow line keeps no connection to the database.
    """
    rows = csv_rows(engine, columns)
    header = ",".join(column.key for column in columns)
    yield f"\ufeff{header}\n".encode()  # \ufeff tells Excel: this is UTF-8
    while rows:
        yield b"".join(rows)
        try:
            rows = csv_rows(engine, columns, int(rows[-1].partition(b",")[0]))
        except (Error, DBAPIError, TimeoutError) as error:
            # It began with "200 OK" long ago, so the file itself has to tell the reader.
            log.error("database: a download was cut short: %s", one_line(error))
            commas = "," * (len(columns) - 1)
            yield f'{commas}"{WORDS["download_cut"]}"\n'.encode()
            return


def csv_rows(engine, columns, before=None):
    """Return the next rows whose key is below `before`, a line of CSV for each."""
    key = columns[0]
    query = select(*map(harmless, columns)).order_by(key.desc()).limit(ROWS)
    if before is not None:
        query = query.where(key < before)
    # COPY takes no parameters, so the two numbers stand in its text.
    text = query.compile(engine, compile_kwargs={"literal_binds": True})
    copy = f"COPY ({text}) TO STDOUT WITH (FORMAT csv)"
    with engine.connect() as wire, wire.connection.cursor().copy(copy) as rows:
        return [bytes(row) for row in rows]


def harmless(column):
    """Return the column with an apostrophe before what looks like a formula."""
    if not isinstance(column.type, String):
        return column
    return case((column.regexp_match(FORMULA), "'" + column), else_=column)
