{%- set ru = cookiecutter.language == "ru" -%}
"""The web process: serves the app to the internet with Granian.

Procfile starts it on the dyno; `python serve.py` does the same on a laptop.
"""

import gc
import importlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

import config

# The server's own log lines, in the format of logs.py; they belong to no request.
LOG_FORMAT = "%(levelname)s [-] server: %(message)s"


def port_number(environ):
    """Return the port to listen on: Heroku's router expects the app on $PORT."""
    value = environ.get("PORT") or "5000"
    if not value.isdecimal() or not 1 <= int(value) <= 65535:
        raise config.ConfigError(
            f"{{ 'PORT должна быть числом от 1 до 65535, а не {value!r}.' if ru else 'PORT must be a number from 1 to 65535, not {value!r}.' }}",
        )
    return int(value)


def check_port_is_free(port):
    """Granian's own answer to a port in use is a traceback."""
    with socket.socket() as probe:
        if os.name == "posix":
            # A port that was in use a moment ago is free again.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            raise config.ConfigError(
                f"{{ 'Порт {port} занят или недоступен ({error.strerror}): задайте другой в переменной PORT.' if ru else 'Port {port} is in use or not allowed ({error.strerror}): choose another with the variable PORT.' }}",
            ) from error


def loaded_app():
    """Return the app, made before the web processes start as copies of this one.

    What none of them changes is in memory once: two take 110 MB under load, not 130.
    """
    main = importlib.import_module("main")
    app = main.init_app()
    # A visit loads what all later ones need. Without a database it gets an error page.
    logging.disable()  # it would look like a visitor's
    app.test_client().get("/", base_url="https://localhost")
    logging.disable(logging.NOTSET)
    with app.app_context():
        main.database.db.engine.dispose()  # a connection cannot be copied
    gc.collect()
    gc.freeze()  # what is loaded by now stays: looking through it would copy it
    return app


def stop_late():
    """Let this web process work on for a second after SIGTERM.

    Heroku's router goes on sending requests for a moment, and a server that stops at once
    loses some: on a busy computer with 8 visitors in 7 of 15 stops, with this second in
    none. https://www.schneems.com/2019/07/12/puma-4-hammering-out-h13sa-debugging-story/
    """

    def wait():
        signal.sigwait([signal.SIGTERM])
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)  # stops Granian as SIGTERM would

    # Blocked, the signal stays for wait() to take; no other thread is told of it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=wait, daemon=True).start()


def main():
    settings = config.load()  # stops here, with one sentence, if something is missing
    port = port_number(os.environ)
    check_port_is_free(port)
    workers = settings["WORKERS"]
    # Two pieces of Granian's advice do not help here: against as many threads as
    # config.THREADS (there it says why), and for a setting that a dyno does not allow.
    logging.getLogger("_granian").addFilter(
        lambda line: "threads" not in line.msg and "sysctl" not in line.msg
    )
    server = Granian(
        "main:init_app",
        factory=True,
        interface=Interfaces.WSGI,
        working_dir=config.ROOT,
        address="0.0.0.0",  # the router comes from another machine
        port=port,
        http=HTTPModes.http1,  # all that Heroku's router speaks
        # Heroku's router keeps idle connections for 90 s and must be the first to close.
        http1_settings=HTTP1Settings(header_read_timeout=95_000),  # milliseconds
        websockets=False,
        # Nothing is compressed: a page has 12 kB, and where a page shows what a visitor
        # sent, its size once compressed can give away its secret token (BREACH).
        # The server hands out static files by itself, nine times as many as Flask could.
        # WhiteNoise is about as fast, and one more package.
        static_path_route=["/static"],
        static_path_mount=[config.ROOT / "static"],
        static_path_expires=600,  # seconds that a browser keeps them without asking
        workers=workers,
        blocking_threads=config.THREADS,
        blocking_threads_idle_timeout=10,  # seconds; then their memory is given back
        # A worker that dies is replaced, so one bad request cannot end the app.
        respawn_failed_workers=True,
        # A process that grows beyond its part of the dyno's 512 MB is replaced in time.
        workers_max_rss=400 // workers,  # MB
        # Heroku kills what still runs 30 s after SIGTERM: finish before that.
        workers_kill_timeout=25,
        log_dictconfig={
            "formatters": {
                "generic": {"format": LOG_FORMAT},
                "access": {"format": LOG_FORMAT},
            }
        },
    )
    if sys.platform != "linux":
        server.serve()
        return
    # Only Linux copies a process safely; elsewhere each one makes its own app.
    multiprocessing.set_start_method("fork")
    app = loaded_app() if workers > 1 else None

    def load(target):
        """Return the app, in a web process that is about to serve it."""
        stop_late()
        return app or importlib.import_module("main").init_app()

    server.serve(target_loader=load)


if __name__ == "__main__":
    main()
