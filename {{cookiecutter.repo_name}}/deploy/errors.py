"""What a visitor sees when something goes wrong, and what the log says about it."""

from contextlib import suppress

from flask import current_app, g, render_template, request
from flask_wtf.csrf import CSRFError
from psycopg import DataError, Error, OperationalError, errors
from sqlalchemy.exc import DBAPIError, TimeoutError
from werkzeug.exceptions import BadRequestKeyError, HTTPException, SecurityError

from deploy.security import ForeignSite

# Heroku takes the right to write away from a database that is over its size.
FULL = (errors.DiskFull, errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)


def init_app(app):
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(SecurityError, unknown_host)
    for error in (CSRFError, ForeignSite):  # Flask looks by status: 400, 403
        app.register_error_handler(error, csrf_error)
    for error in (Error, DBAPIError, TimeoutError):  # the last: none is free
        app.register_error_handler(error, database_error)
    app.register_error_handler(UnicodeEncodeError, half_a_character)
    app.after_request(in_json)


def page(reason, plain=False, words=""):
    """Return what says what happened, for people or programs. reason: a status or a word.

    words: those of abort(403, "…"), in place of ours.

    It looks like the app's own pages: templates/error.html if there is one, else our text
    in templates/base.html. What these cannot do, the plain page can: it asks nobody.
    """
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    details = {"reason": reason, "words": words, "limit": limit and -(-limit // 1024)}
    details |= {
        "request_id": g.get("request_id", ""),
        "project": current_app.config.get("PROJECT_NAME", ""),
        "again": request.method == "GET",  # a form is sent again by hand
    }
    if wants_json():
        if reason in ("token", "cookie"):
            details["reason"] = "program"
        words = words or ours("reason", **details).strip()
        return {"error": words, "request_id": details["request_id"]}
    if plain:
        return plain_page(details)
    try:
        names = ["error.html", "deploy/error.html"]
        template = current_app.jinja_env.select_template(names)
        html = render_template(template, layout="base.html", **details)
    except Exception:  # whatever a page of the app's own raises
        current_app.logger.exception("the app's own error page cannot be shown")
        return plain_page(details)
    if template.name == "error.html" or 'id="reason"' in html:
        return html
    current_app.logger.warning("templates/base.html has no block content")
    return plain_page(details)


def plain_page(details):
    return ours("error", layout="deploy/plain.html", **details)


def ours(name, **details):
    """Return a page of ours as it is: nothing of the app's own is asked for it."""
    return current_app.jinja_env.get_template(f"deploy/{name}.html").render(details)


def wants_json():
    """Tell whether a program asks: it names JSON, or sends it, and names no page."""
    accepted = request.accept_mimetypes
    if "text/html" in accepted.values():
        return accepted["application/json"] > accepted["text/html"]
    return "application/json" in accepted.values() or request.is_json


def in_json(response):
    """Answer a program in JSON also where a view has made a page for its 4xx."""
    is_page = response.mimetype == "text/html" and not response.direct_passthrough
    if response.status_code >= 400 and is_page and wants_json():
        response.set_data(current_app.json.dumps(page(response.status_code)))
        response.mimetype = "application/json"
    return response


def http_error(error):
    """404 and its like: the same page, other words."""
    headers = dict(error.get_headers(request.environ))
    headers.pop("Content-Type", None)
    known = error.description == type(error).description
    # In debug mode the latter names a field that a view has asked for, in English.
    own = "" if known or isinstance(error, BadRequestKeyError) else error.description
    return page(error.code, words=own), error.code, headers


def half_a_character(error):
    """JSON can hold halves of characters (\\ud800), which nothing else can."""
    if error.reason != "surrogates not allowed":
        raise error
    return page("data"), 400


def unknown_host(error):
    """A laptop was called by a name that is not its own."""
    # Without a trusted name no address can be built, which base.html does.
    return page("host", plain=True), 400


def csrf_reason(error):
    """Return the word for what is wrong with a form's token, or with where it stands."""
    if error.code == 403:
        return "foreign"
    for word, reason in (("session", "cookie"), ("expired", "expired")):
        if word in error.description:
            return reason
    return "token"


def csrf_error(error):
    """A form that may not have come from one of our own pages."""
    # A view for programs is marked with @csrf.exempt: README.md, "An API".
    current_app.logger.warning("csrf: %s", one_line(error.description))
    return page(csrf_reason(error)), error.code


def database_error(error):
    """What the database cannot do now is a 503, with one line in the log."""
    with suppress(DBAPIError):  # what the error page itself asks begins anew
        current_app.extensions["sqlalchemy"].session.rollback()
    cause = getattr(error, "orig", error)
    if isinstance(cause, errors.UndefinedTable):
        # Visitors on the internet can do nothing about it.
        reason = "unready" if current_app.config["PLATFORM"] else "tables"
        current_app.logger.error("database: a table is missing, run: flask db upgrade")
    elif isinstance(cause, FULL):
        reason = "full"
        current_app.logger.error("database: takes no more data: %s", one_line(cause))
    elif isinstance(cause, errors.NumericValueOutOfRange) and request.view_args:
        return page(404), 404  # /posts/99999999999: there is no such number
    elif isinstance(cause, (DataError, errors.ProgramLimitExceeded)):
        # What was sent: a character, a number or a length that no column takes.
        current_app.logger.warning("database: refused: %s", type(cause).__name__)
        return page("data"), 400
    elif isinstance(cause, (OperationalError, TimeoutError)):
        # On a laptop its own server may have been stopped.
        reason = "local" if current_app.config["LOCAL_DATABASE"] else "database"
        current_app.logger.error("database: %s", one_line(cause))
    else:
        raise error  # a mistake in the program
    return page(reason), 503, {"Retry-After": "10"}


def one_line(error):
    return " ".join(str(error).split())
