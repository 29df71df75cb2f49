"""Which statements of a request belong together: those of a page that only reads do not.

A visit with GET, HEAD or OPTIONS costs a trip to the database for each of its queries and
nothing more. Its first statement that changes something or locks it begins a
transaction, which ends with commit() or the request. A function of one's own that a
SELECT calls is on its own there; what goes past SQLAlchemy is a transaction always. All
other visits, commands and scripts are transactions from their first statement.
"""

import re
import select
from functools import lru_cache

from flask import has_request_context, request
from psycopg import ClientCursor, IsolationLevel
from psycopg.errors import QueryCanceled
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

READING = ("GET", "HEAD", "OPTIONS")
# What a statement that begins like a query may do beside reading.
CHANGES = r"""
INSERT|UPDATE|DELETE|MERGE|INTO|SHARE|NEXTVAL|SETVAL|SET_CONFIG|PG_\w*ADVISORY\w*
"""
READS = rf"""(?isx) [\s(]* (SELECT|WITH|VALUES|TABLE|SHOW)\b
(?! .* (;\s*\S | \b({CHANGES})\b))  # the first: another statement in the same text
"""


class TooLong(Exception):
    """A query with a time_limit was stopped because it took longer."""


def init_engine(engine):
    """Have an engine's connections work as this file says, if psycopg makes them.

    A query can say execution_options(time_limit=…) in milliseconds, and raises TooLong
    after that; in a transaction this also holds for all that follows there.
    """
    if engine.driver != "psycopg":
        return
    event.listen(engine, "checkout", refuse_closed)
    event.listen(engine, "before_cursor_execute", begin_nothing_for_a_query)
    event.listen(engine, "after_cursor_execute", as_before)
    event.listen(engine, "do_execute", execute_within)
    event.listen(engine, "do_executemany", limit_first)
    event.listen(engine, "handle_error", say_too_long)


def refuse_closed(connection, record, proxy):
    """Refuse a connection that the server has closed: then the pool makes a new one.

    A server sends something unasked when it goes away, and the end of the connection.
    Looking for that costs no trip to the database, as a query would.
    """
    if is_readable(connection.fileno()):
        raise DisconnectionError


def is_readable(number):
    """Tell whether something has come for a file descriptor."""
    if hasattr(select, "poll"):  # takes any number; Windows has only the other
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([number], [], [], 0)[0])


@lru_cache(maxsize=1000)
def only_reads(statement):
    return bool(re.match(READS, statement))


def begin_nothing_for_a_query(connection, cursor, statement, values, context, many):
    """Keep the driver from beginning a transaction for a query of a visit that reads."""
    driver = cursor.connection
    if driver.autocommit or driver.pgconn.transaction_status:  # begun already
        return
    if not (has_request_context() and request.method in READING):
        return
    # Results that stay on the server (yield_per) need a transaction; a view may ask for
    # one, and for more than each has by itself.
    asked = "isolation_level" in connection.get_execution_options() or driver.read_only
    usual = driver.isolation_level in (None, IsolationLevel.READ_COMMITTED)
    alone = usual and not (asked or many or hasattr(cursor, "name"))
    if alone and context is not None and only_reads(statement):
        driver.autocommit = True  # a setting of the driver's: no trip
        context.was_alone = True


def as_before(connection, cursor, statement, values, context, many):
    end_alone(context)


def end_alone(context):
    """Let transactions begin again, after a query that was alone."""
    if getattr(context, "was_alone", False) and not context.cursor.connection.closed:
        context.cursor.connection.autocommit = False


def execute_within(cursor, statement, values, context):
    """Execute a query that has a time limit; both go in one trip, as one text."""
    limit = context.execution_options.get("time_limit")
    if limit is None:
        return None
    if hasattr(cursor, "name"):
        return limit_first(cursor, statement, values, context)
    query = ClientCursor(cursor.connection).mogrify(statement, values)
    cursor.execute(f"{within(limit)}; {query}")
    cursor.nextset()
    return True  # done


def limit_first(cursor, statement, values, context):
    """Set the time limit of what SQLAlchemy then executes itself."""
    limit = context.execution_options.get("time_limit")
    if limit is not None:
        cursor.connection.execute(within(limit))


def within(milliseconds):
    return f"SET LOCAL statement_timeout = {int(milliseconds)}"


def say_too_long(failure):
    context = failure.execution_context
    end_alone(context)
    limited = context and "time_limit" in context.execution_options
    if limited and isinstance(failure.original_exception, QueryCanceled):
        raise TooLong from failure.original_exception
