"""What a visitor sees when something goes wrong, and what the log says about it."""

from contextlib import suppress

from flask import current_app, render_template
from flask_wtf.csrf import CSRFError
from psycopg import Error, OperationalError, errors
from sqlalchemy.exc import DBAPIError, TimeoutError
from werkzeug.exceptions import HTTPException, SecurityError

# Heroku takes the right to write away from a database that is over its size.
FULL = (errors.DiskFull, errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)


def init_app(app):
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(SecurityError, unknown_host)
    app.register_error_handler(CSRFError, form_expired)
    for error in (Error, DBAPIError, TimeoutError):  # the last: none is free
        app.register_error_handler(error, database_error)


def page(reason, plain=False):
    """Return the HTML that says what happened. reason: a status or a word.

    It looks like the app's own pages: templates/error.html if there is one, else our text
    in templates/base.html. What these cannot do, the plain page can: it asks nobody.
    """
    try:
        if plain:
            return plain_page(reason)
        if "error.html" in current_app.jinja_env.list_templates():
            return render_template("error.html", reason=reason)
        html = render_template("deploy/error.html", layout="base.html", reason=reason)
    except Exception:  # whatever a page of the app's own raises
        current_app.logger.exception("the app's own error page cannot be shown")
        return plain_page(reason)
    if 'id="reason"' in html:
        return html
    current_app.logger.warning("templates/base.html has no block content")
    return plain_page(reason)


def plain_page(reason):
    template = current_app.jinja_env.get_template("deploy/error.html")
    return template.render(layout="deploy/plain.html", reason=reason)


def http_error(error):
    """404 and its like: the same page, other words."""
    return page(error.code), error.code


def unknown_host(error):
    """A laptop was called by a name that is not its own."""
    # Without a trusted name no address can be built, which base.html does.
    return page("host", plain=True), 400


def form_expired(error):
    """The token of a form is good for an hour."""
    return page("expired"), 400


def database_error(error):
    """What the database cannot do now is a 503, with one line in the log."""
    with suppress(DBAPIError):  # what the error page itself asks begins anew
        current_app.extensions["sqlalchemy"].session.rollback()
    cause = getattr(error, "orig", error)
    if isinstance(cause, errors.UndefinedTable):
        reason = "tables"
        current_app.logger.error("database: a table is missing, run: flask db upgrade")
    elif isinstance(cause, FULL):
        reason = "full"
        current_app.logger.error("database: takes no more data: %s", one_line(cause))
    elif isinstance(cause, (OperationalError, TimeoutError)):
        # On a laptop its own server may have been stopped.
        reason = "local" if current_app.config["LOCAL_DATABASE"] else "database"
        current_app.logger.error("database: %s", one_line(cause))
    else:
        raise error  # a mistake in the program
    return page(reason), 503, {"Retry-After": "10"}


def one_line(error):
    return " ".join(str(error).split())
