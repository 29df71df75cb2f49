"""The memory of the web processes: at rest, after load, and what their imports alone take."""

import json
import shutil
import time
from urllib.request import urlopen

from lab import NEWEST_PYTHON, memory
from tools import USED, make_programs, wrk

NEWEST = f"Python {NEWEST_PYTHON}"
# What each package adds to the memory of a process, with all that it imports and nobody before it has.
WEIGHTS = f"""{USED}
import importlib

before = used()
figures = {{"Python": before}}
for name in "flask", "sqlalchemy.orm", "psycopg", "flask_sqlalchemy", "flask_wtf", "granian", "main":
    importlib.import_module(name)
    figures[name], before = used() - before, used()
print(json.dumps(figures))
"""
# The floor of a web process: the same server with an app of one line, and the same packages imported.
FLOOR = """
import multiprocessing

from granian import Granian
from granian.constants import HTTPModes, Interfaces


def load(target):
    import flask, flask_sqlalchemy, flask_wtf, psycopg, sqlalchemy.dialects.postgresql.psycopg, sqlalchemy.orm

    def app(environ, start_response):
        start_response("200 OK", [])
        return [b""]

    return app


if __name__ == "__main__":
    import os

    multiprocessing.set_start_method("spawn")
    port, workers = int(os.environ["PORT"]), int(os.environ["WEB_CONCURRENCY"])
    options = {"interface": Interfaces.WSGI, "http": HTTPModes.http1, "websockets": False, "blocking_threads": 128}
    Granian("floor:app", port=port, workers=workers, **options).serve(target_loader=load)
"""


def weigh(bench, workers, command=None, **environ):
    """Return (the MB of a server at rest, after load)."""
    told = {"command": command} if command else {}
    with bench.server(pinned=False, WEB_CONCURRENCY=str(workers), **told, **environ) as (port, pid):
        time.sleep(1)
        urlopen(f"http://127.0.0.1:{port}/").read()
        rest = memory(pid)
        wrk(port, "/", seconds=2, connections=16, pinned=False)
        return rest, memory(pid)


def measure(bench):
    bench.fill(1000)
    bench.project.write("floor.py", FLOOR)
    weights = bench.figures["imports_mb"] = json.loads(bench.project.python(WEIGHTS))
    bench.row("memory of one process by import", ", ".join(f"{k} {v:.0f} MB" for k, v in weights.items()))
    pythons = {"the machine's Python": {}}
    if program := shutil.which(f"python{NEWEST_PYTHON}"):
        path = f"{make_programs(program)}:{bench.project.environ['PATH']}"
        pythons[NEWEST] = {"PATH": path}
    else:
        bench.row(f"memory on {NEWEST}", f"not measured: no python{NEWEST_PYTHON} on the PATH")
    for name, environ in pythons.items():
        for workers in (1, 2):
            floor, _ = weigh(bench, workers, "python floor.py", **environ)
            rest, loaded = weigh(bench, workers, **environ)
            target, met = "", None
            if name == NEWEST:
                target, met = (
                    ("1.15 × its floor", loaded <= 1.15 * floor) if workers == 1 else ("115 MB", loaded <= 115)
                )
            bench.row(
                f"memory, {workers} process{'es' if workers > 1 else ''}, {name}",
                f"at rest {rest:.0f} MB, after load {loaded:.0f} MB ({loaded / floor:.2f} × the floor: the same packages"
                f" and server, no app, {floor:.0f} MB)",
                target,
                met,
            )
            bench.figures[f"memory_{workers}_{name}"] = [floor, rest, loaded]
    bench.project.remove("floor.py")
    grow(bench)


def grow(bench):
    """Tell whether memory grows over 100,000 requests."""
    with bench.server(pinned=False, WEB_CONCURRENCY="2") as (port, pid):
        sent, before = 0, None
        while sent < 110_000:
            sent += wrk(port, "/healthz", seconds=5, connections=16, pinned=False)["requests"]
            if before is None and sent >= 10_000:
                before = memory(pid)
        after = memory(pid)
    growth = after / before - 1
    shown = f"{before:.0f} → {after:.0f} MB ({growth:+.1%})"
    bench.row("memory over 100,000 requests", shown, "± 5 %", abs(growth) <= 0.05)
