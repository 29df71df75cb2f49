"""Which statements of a request belong together: those of a page that only reads do not.

A visit with GET, HEAD or OPTIONS costs a trip to the database for each of its queries and
nothing more. Its first statement that may change something or lock rows begins a
transaction, which ends with commit() or the request; a function that a SELECT calls is
on its own. All other visits, commands and scripts are transactions from their first
statement.
"""

import re
import select
from functools import lru_cache

from flask import has_request_context, request
from psycopg import ClientCursor
from psycopg.errors import QueryCanceled
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

READING = ("GET", "HEAD", "OPTIONS")
CHANGES = r"INSERT|UPDATE|DELETE|MERGE|INTO|SHARE"  # the last: SELECT … FOR SHARE
READS = rf"(?is)[\s(]*(SELECT|WITH|VALUES|TABLE|SHOW)\b(?!.*\b({CHANGES})\b)"


class TooLong(Exception):
    """A query with a time_limit was stopped because it took longer."""


def init_engine(engine):
    """Have an engine's connections work as this file says.

    A query can say execution_options(time_limit=…) in milliseconds, and raises TooLong
    after that; in a transaction this also holds for all that follows there.
    """
    event.listen(engine, "checkout", check_out)
    event.listen(engine, "before_cursor_execute", begin_if_it_changes)
    event.listen(engine, "do_execute", execute_within)
    event.listen(engine, "handle_error", say_too_long)


def check_out(connection, record, proxy):
    """Prepare a connection for a request, or refuse it: then the pool makes a new one."""
    # A server sends something unasked when it goes away, and the end of the connection.
    # Looking for that costs no trip to the database, as a query would.
    if is_readable(connection.fileno()):
        raise DisconnectionError
    reads = has_request_context() and request.method in READING
    record.info["reads"] = reads
    if connection.autocommit != reads:
        connection.autocommit = reads  # a setting of the driver's: no trip


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


def begin_if_it_changes(connection, cursor, statement, values, context, many):
    """Let a transaction begin with a statement that needs one, though the visit reads."""
    driver = cursor.connection
    if not (driver.autocommit and connection.info["reads"]):
        return
    asked = "isolation_level" in connection.get_execution_options()  # the view's own
    held = hasattr(cursor, "name")  # on the server, as for yield_per
    if not asked and (held or not only_reads(statement)):
        driver.autocommit = False


def execute_within(cursor, statement, values, context):
    """Execute a query that has a time limit; both go in one trip, as one text."""
    limit = context.execution_options.get("time_limit")
    if limit is None:
        return None
    query = ClientCursor(cursor.connection).mogrify(statement, values)
    cursor.execute(f"SET LOCAL statement_timeout = {int(limit)}; {query}")
    cursor.nextset()
    return True  # done


def say_too_long(failure):
    context = failure.execution_context
    limited = context and "time_limit" in context.execution_options
    if limited and isinstance(failure.original_exception, QueryCanceled):
        raise TooLong from failure.original_exception
