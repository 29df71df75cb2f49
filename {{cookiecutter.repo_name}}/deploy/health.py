"""Is it alive? The address /healthz, and what pages say about their dyno: only numbers."""

import os
import time
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, current_app, request
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, TimeoutError

from deploy.errors import one_line

# Its templates are found where templates/ has none of that name.
bp = Blueprint("deploy", __name__, template_folder="templates")
QUOTA = 512  # MB: eco and basic, https://devcenter.heroku.com/articles/dyno-sizes
# Where the platform says how much this dyno has, if it does (cgroup 2, then 1).
QUOTA_FILES = ("memory.max", "memory/memory.limit_in_bytes")
# What Heroku, Dokku, Railway, Render and Fly call the version that runs.
RELEASES = """
HEROKU_RELEASE_VERSION GIT_REV RAILWAY_GIT_COMMIT_SHA RENDER_GIT_COMMIT FLY_MACHINE_VERSION
"""


def init_app(app):
    app.register_blueprint(bp)
    # Answered here, monitoring needs no login where the app demands one for every page.
    app.before_request(answer_first)
    app.context_processor(lambda: {"dyno": dyno if app.config["PLATFORM"] else None})


def answer_first():
    return healthz() if request.endpoint == "deploy.healthz" else None


@bp.get("/healthz")
def healthz():
    """For monitoring: 200 while the database answers, 503 while it does not."""
    try:
        current_app.extensions["sqlalchemy"].session.execute(text("SELECT 1"))
    except (DBAPIError, TimeoutError) as error:
        current_app.logger.error("database: %s", one_line(error))
        return {"database": "unreachable"}, 503
    return {"database": "ok"}


def dyno(environ=os.environ):
    """Return {"release": text, "memory": MB, "quota": MB}; None for what is unknown."""
    releases = (environ[name] for name in RELEASES.split() if environ.get(name))
    release = next(releases, None)
    # Counting takes some milliseconds, so a count is good for ten seconds.
    memory = memory_in_use(time.monotonic() // 10)
    return {"release": release and release[:8], "memory": memory, "quota": quota()}


@lru_cache(maxsize=1)
def memory_in_use(moment):
    """Return the MB of all processes of this app, shared memory counted once (PSS).

    moment: a number; for the same one the count is not repeated.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        return None  # not Linux
    kilobytes = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == os.getpgrp():
                lines = (process / "smaps_rollup").read_text(encoding="ascii")
                kilobytes += int(lines.partition("\nPss:")[2].split()[0])
        except (OSError, IndexError):
            continue  # it has just ended
    return kilobytes // 1024


@lru_cache(maxsize=1)
def quota():
    """Return the MB that the dyno may use."""
    for file in map(Path("/sys/fs/cgroup").joinpath, QUOTA_FILES):
        if file.exists():
            limit = file.read_text(encoding="ascii").strip()
            # "max" and numbers beyond any machine mean that there is no limit.
            if limit.isdecimal() and int(limit) < 2**40:
                return int(limit) // 2**20
    return QUOTA
