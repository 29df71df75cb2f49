"""Tables as files for spreadsheets, sent in pieces: a million rows fit into any memory."""

from itertools import chain

from flask import Response, current_app, request
from psycopg import Error
from sqlalchemy import DateTime, String, func, select
from sqlalchemy.exc import DBAPIError, TimeoutError
from werkzeug.exceptions import ServiceUnavailable

from deploy.environment import WORDS
from deploy.errors import one_line
from deploy.visitors import PIECE, downloads, visitor_of

# Rows in one piece. With 250 it takes twice as long; with 2000, forty slow visitors at
# once need 180 MB, not 145: some pieces of each wait in memory.
ROWS = 1000
# What spreadsheets in the project's language expect between the columns.
SEPARATOR = WORDS["csv_separator"]
# A spreadsheet takes a cell for a formula that begins with one of these, also in wide
# letters and behind what nobody sees. What begins behind a separator may be cut off.
BLANK = '\\s"\u00a0\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u2064\u3000\ufeff'
FORMULA = f"(^|[;,\t\n\r])([{BLANK}]*[=+@＝＋＠－-])"


def csv_download(db, columns, filename):
    """Return a response that downloads columns of one table as a CSV file.

    columns: {what stands above it: attribute of a model}, first its whole-numbered key;
    newer rows, with higher keys, come first. What a spreadsheet takes for a formula gets
    an apostrophe; dates are those of TIME_ZONE in config.py.
    """
    pieces = csv_pieces(db.engine, columns, current_app)
    pieces = in_a_place(pieces, visitor_of(request.environ))
    first = next(pieces)  # fails here, as a page does, where there is no database
    headers = {"Content-Disposition": f"attachment; filename={filename}"}
    answer = Response(chain([first], pieces), mimetype="text/csv", headers=headers)
    answer.call_on_close(pieces.close)  # perhaps before their end
    return answer


def in_a_place(pieces, visitor):
    """Yield the pieces of a visitor's download, which takes a place until its end."""
    if not downloads.take(visitor):  # what nobody reads waits in memory
        raise ServiceUnavailable(retry_after=10)
    try:
        yield from pieces
    finally:
        downloads.give(visitor)


def csv_pieces(engine, columns, app):
    """Yield the rows as CSV, newest first, a piece at a time.

    PostgreSQL writes the CSV (COPY), several times faster than Python. Each piece is a
    query of its own: a visitor with a slow line keeps no connection to the database.
    """
    key, *_ = columns.values()
    zone, log = app.config.get("TIME_ZONE", "UTC"), app.logger
    shown = [as_shown(column, zone) for column in columns.values()]
    rows = csv_rows(engine, key, shown)
    names = SEPARATOR.join('"' + name.replace('"', '""') + '"' for name in columns)
    yield f"\ufeff{names}\n".encode()  # \ufeff tells Excel: this is UTF-8
    while rows:
        for piece in in_pieces(rows):
            yield b"".join(piece)
        try:
            last = int(rows[-1].partition(SEPARATOR.encode())[0])
            rows = csv_rows(engine, key, shown, last)
        except (Error, DBAPIError, TimeoutError) as error:
            # It began with "200 OK" long ago, so the file itself has to tell the reader.
            log.error("database: a download was cut short: %s", one_line(error))
            empty = SEPARATOR * (len(columns) - 1)
            yield f'{empty}"{WORDS["download_cut"]}"\n'.encode()
            return


def in_pieces(rows):
    """Yield the rows in lists of PIECE bytes, about."""
    count = max(1, PIECE * len(rows) // sum(map(len, rows)))
    for start in range(0, len(rows), count):
        yield rows[start : start + count]


def csv_rows(engine, key, shown, before=None):
    """Return the next rows whose key is below `before`, a line of CSV for each."""
    query = select(*shown).order_by(key.desc()).limit(ROWS)
    if before is not None:
        query = query.where(key < before)
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")  # one trip
    with alone.connect() as wire:
        # COPY takes no parameters, so all of them stand in its text.
        text = query.compile(engine, compile_kwargs={"literal_binds": True})
        copy = f"COPY ({text}) TO STDOUT WITH (FORMAT csv, DELIMITER '{SEPARATOR}')"
        with wire.connection.cursor().copy(copy) as rows:
            return [bytes(row) for row in rows]


def as_shown(column, zone):
    """Return the column as a spreadsheet should have it: dates to the second, no formulas."""
    if isinstance(column.type, DateTime):
        moment = column if column.type.timezone else func.timezone("UTC", column)
        return func.to_char(func.timezone(zone, moment), "YYYY-MM-DD HH24:MI:SS")
    if isinstance(column.type, String):
        return func.regexp_replace(column, FORMULA, r"\1'\2", "g")
    return column
