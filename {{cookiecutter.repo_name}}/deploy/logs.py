"""Logs on stdout, each line with its request's id, which Heroku's router writes too."""

import logging
import random
import re
import sys
import time
from urllib.parse import quote

from flask import g, has_request_context, request

FORMAT = "%(levelname)s [%(request_id)s] %(name)s: %(message)s"


def init_app(app):
    """Send all log lines to stdout, and write one for every request answered."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(add_request_id)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # The development server would write its own line for every request as well.
    werkzeug = logging.getLogger("werkzeug")
    werkzeug.addFilter(lambda line: " HTTP/1" not in line.getMessage())
    # Alembic names its plugins at every start; the migrations that it runs are news.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    app.before_request(start_request)
    app.after_request(finish_request)


def add_request_id(record):
    """Give the record the id of the request that it belongs to, if any."""
    record.request_id = g.get("request_id", "-") if has_request_context() else "-"
    return True


def start_request():
    given = request.headers.get("X-Request-Id", "")
    known = re.fullmatch(r"[\w-]{1,64}", given)
    # Nothing is guarded by it, so it need not be unguessable, which costs a system call.
    g.request_id = given if known else f"{random.getrandbits(128):032x}"
    g.started = time.perf_counter()


def finish_request(response):
    milliseconds = (time.perf_counter() - g.started) * 1000
    logging.getLogger("request").info(
        "%s %s %d %.0f ms",
        quote(request.method),
        quote(request.path),  # a line break in it would forge a line of the log
        response.status_code,
        milliseconds,
    )
    response.headers["X-Request-Id"] = g.request_id
    return response
