"""The web process, `python -m deploy.server`: serves the app to the internet."""

import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from functools import partial

from dotenv import load_dotenv
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from deploy import environment, memory
from deploy.environment import ROOT, ConfigError, bind, whole_number

# The router comes from another machine; a laptop is for its own user, unless names of
# others are listed in LAPTOP_HOSTS, and an nginx on this one needs no more.
INTERNET, LAPTOP = "0.0.0.0", "127.0.0.1"
# Requests that one web process works on at the same time. A visitor with a slow phone
# holds a thread without using it: 64 of them would block 8 threads for everybody, and
# with 128 nobody notices. A thread that waits takes 0.1 MB and no database connection.
THREADS = 128
# How long a web process works on after SIGTERM: Heroku's router sends requests for a
# moment more. A busy server that stopped at once lost some in 7 of 15 stops.
# https://www.schneems.com/2019/07/12/puma-4-hammering-out-h13sa-debugging-story/
LINGER = 1  # seconds
FIRST_MINUTE = 60  # seconds in which what fails is the app itself, not the moment
# Of the dyno's 512 MB. A process that grows beyond its part of these is replaced.
MAX_MEMORY = 400  # MB
MEMORY_CHECK = 30  # seconds between two looks at it
# The server's own log lines, in the format of logs.py; they belong to no request.
LOG = {"format": "%(levelname)s [-] server: %(message)s"}


def port_number(environ):
    """Return the port to listen on: Heroku's router expects the app on $PORT."""
    value = environ.get("PORT") or "5000"
    number = whole_number(value, 65535)
    if not number:
        raise ConfigError("port_no_number", value=value)
    return number


def load(began, failed, target):
    """Return the app, in a web process that is about to serve it.

    began: when the first process was started. failed: an Event to be set where the app
    cannot be loaded; then that process ends all.
    """
    try:
        app = importlib.import_module("main").init_app()
    except BaseException as error:
        if time.time() - began > FIRST_MINUTE:
            raise  # and another process takes its place
        # It would fail again and again: all end, after the log says why.
        if isinstance(error, SystemExit):
            print(error, file=sys.stderr, flush=True)
        else:
            traceback.print_exc()
        failed.set()
        os.kill(os.getppid(), signal.SIGTERM)
        sys.exit(1)
    if sys.platform == "linux":  # elsewhere nobody deploys
        stop_late()
    return app


def stop_late():
    """Let this web process work on for LINGER seconds after SIGTERM."""

    def wait():
        signal.sigwait([signal.SIGTERM])
        time.sleep(LINGER)
        os.kill(os.getpid(), signal.SIGINT)  # stops Granian as SIGTERM would

    # Blocked, the signal stays for wait() to take; no other thread is told of it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=wait, daemon=True).start()


def main():
    load_dotenv(ROOT / ".env")
    # For all processes that come from this one.
    os.environ["SERVE_TO"] = os.environ.get("SERVE_TO") or environment.INTERNET
    settings = environment.load()  # what is missing is said here
    workers = settings["WORKERS"]
    port = port_number(os.environ)
    own_names = settings["TRUSTED_HOSTS"] == [*environment.LOCALHOST]
    home = settings["PLATFORM"]
    address = LAPTOP if own_names or (home and home.here) else INTERNET
    try:
        bind(address, port)  # Granian's own answer to a port in use is a traceback
    except OSError as error:
        raise ConfigError("port_in_use", port=port, error=error) from error
    # Two pieces of Granian's advice do not help here: against as many threads as
    # THREADS, and for a setting that a dyno does not allow.
    logging.getLogger("_granian").addFilter(
        lambda line: "threads" not in line.msg and "sysctl" not in line.msg
    )
    server = Granian(
        "main:init_app",
        interface=Interfaces.WSGI,
        working_dir=ROOT,
        address=address,
        port=port,
        http=HTTPModes.http1,  # all that Heroku's router speaks
        # Heroku's router keeps idle connections for 90 s and must be the first to close.
        http1_settings=HTTP1Settings(header_read_timeout=95_000),  # milliseconds
        websockets=False,
        # Nothing is compressed: where a page shows what a visitor sent, its compressed
        # size can give away its secret token (BREACH).
        workers=workers,
        blocking_threads=THREADS,
        blocking_threads_idle_timeout=10,  # seconds; then their memory is given back
        # A worker that dies is replaced, so one bad request cannot end the app.
        respawn_failed_workers=True,
        workers_max_rss=MAX_MEMORY // workers,
        rss_sample_interval=MEMORY_CHECK,
        # Heroku kills what still runs 30 s after SIGTERM: finish before that.
        workers_kill_timeout=25,
        log_dictconfig={"formatters": {"generic": LOG, "access": LOG}},
    )
    # Each web process starts afresh, on every system. As copies of one another, two need
    # some 70 MB less, but Python warns of copying a process that has threads.
    multiprocessing.set_start_method("spawn")
    failed = multiprocessing.Event()
    memory.watch()
    try:
        server.serve(target_loader=partial(load, time.time(), failed))
    except SystemExit:
        # One that SIGTERM finds loading the app ends at once. To Granian that is a
        # failure, though all are to end.
        if not server.interrupt_signal:
            raise
    if failed.is_set():
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:]:  # --help, or an option of another server
        sys.exit(f"{__doc__}\nIt takes no options.")
    main()
