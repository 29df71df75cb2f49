"""Measure the choices of the generated project beside what it could have done instead.

Every choice is one number or line of the project; a variant is a copy of the project with just that changed.
"""

import json
import textwrap
from urllib.request import urlopen

from lab import memory, set_constant
from tools import ROUNDS, USED, median, slow_visitors, wrk


def threads(project, number):
    set_constant(project, "deploy/server.py", THREADS=number)


def connections(project, number):
    set_constant(project, "config.py", MAX_CONNECTIONS=number)


def slow_page(project):
    """Add a page whose query takes 50 ms."""
    project.append(
        "views.py",
        """

@bp.get("/slow")
def slow():
    db.session.scalar(select(func.pg_sleep(0.05)))
    return "slow"
""",
    )


def around(project, name, function, code):
    """Do something with what a function of a file returns, before anybody else gets it."""
    lines = textwrap.indent(textwrap.dedent(code).strip(), "    ")
    project.append(
        name,
        f"""

def {function}(environ=None, own={function}):
    made = own(environ)
{lines}
    return made
""",
    )


def fixed_notes(project):
    """Show notes that no database was asked for."""
    project.append(
        "views.py",
        """

def found_notes(words, before):
    from datetime import UTC, datetime
    from types import SimpleNamespace

    body = "note 7 alpha word77 lorem ipsum lorem ipsum lorem ipsum"
    return [SimpleNamespace(id=n, body=body, created_at=datetime.now(UTC)) for n in range(21)], False
""",
    )


def always_a_transaction(project):
    project.replace("deploy/transactions.py", 'READING = ("GET", "HEAD", "OPTIONS")', "READING = ()")


def ping(project):
    code = 'made["SQLALCHEMY_ENGINE_OPTIONS"]["pool_pre_ping"] = True'
    around(project, "deploy/environment.py", "load", code)


def whitenoise(project):
    code = """
        from whitenoise import WhiteNoise

        made.wsgi_app = WhiteNoise(made.wsgi_app, root=made.static_folder, prefix="static/")
    """
    around(project, "main.py", "init_app", code)


def gzip(project):
    code = """
        import gzip

        @made.after_request
        def packed(response):
            if response.mimetype == "text/html":
                response.set_data(gzip.compress(response.get_data(), compresslevel=6))
                response.headers["Content-Encoding"] = "gzip"
            return response
    """
    around(project, "main.py", "init_app", code)


def eager(project):
    project.append("database.py", "\n\nimport flask_migrate\n")


def python(code):
    """Return a command; its braces are doubled because {port} is filled in."""
    return ["python", "-c", code.replace("{", "{{").replace("}", "}}")]


# A way to start the server with something changed.
COPY = """
from deploy import server
import multiprocessing
multiprocessing.set_start_method = lambda name, own=multiprocessing.set_start_method: own("fork")
server.main()
"""


def speeds(figures):
    """Return the requests per second of what was measured, each beside the first."""
    first = next(iter(figures.values()))["rate"]
    return ", ".join(f"{name}: {f['rate']:.0f} req/s ({f['rate'] / first:.2f} ×)" for name, f in figures.items())


def measure(bench):
    bench.fill(1000)
    two = {"WEB_CONCURRENCY": "2"}

    def compare(title, taken, variants, show=speeds, **options):
        figures = bench.figures[title] = bench.measure(variants, rounds=3, **options)
        bench.choose(title, show(figures), taken)

    # Threads: visitors that send their bodies slowly hold one each.
    figures = {}
    for number in (8, 128):
        with bench.server(project=bench.variant((threads, number))) as (port, pid), slow_visitors("bodies", 64, port):
            result = wrk(port, "/", seconds=3, connections=8)
            figures[f"{number}"] = {"rate": result["rate"], "p99": result["p99"], "memory": memory(pid)}
    shown = ", ".join(f"{n}: {f['rate']:.0f} req/s, {f['memory']:.0f} MB" for n, f in figures.items())
    bench.choose("threads, while 64 visitors send slowly", shown, "128")

    compare(
        "database connections, 16 visitors whose query takes 50 ms",
        "15 for all processes together: the smallest plan allows 20",
        {f"{n}": {"project": bench.variant((connections, n), (slow_page,))} for n in (15, 5)},
        path="/slow",
        connections=16,
    )
    compare(
        "processes (WEB_CONCURRENCY), two cores that they share with the database",
        "what the platform sets: 2 on the small dynos",
        {f"{n}": {"WEB_CONCURRENCY": f"{n}"} for n in (1, 2, 3)},
        lambda figures: ", ".join(f"{n}: {f['rate']:.0f} req/s, {f['memory']:.0f} MB" for n, f in figures.items()),
        connections=16,
        pinned=False,
    )
    compare(
        "processes",
        "started afresh: Python warns of copies beside threads",
        {"started afresh": two, "copied before the app is loaded": two | {"command": python(COPY)}},
        lambda figures: ", ".join(f"{name}: {f['memory']:.0f} MB" for name, f in figures.items()),
    )
    compare(
        "static files",
        "Flask: with the headers and the line in the log that all pages have",
        {"Flask": {}, "WhiteNoise": {"project": bench.variant((whitenoise,))}},
        path="/static/style.css",
    )
    compare(
        "trips to the database, which is on this computer",
        "one for each query that only reads: a transaction begins where something is changed",
        {
            "as it is": {},
            "a transaction for each page": {"project": bench.variant((always_a_transaction,))},
            "and a query before it, whether the connection is alive": {
                "project": bench.variant((always_a_transaction,), (ping,))
            },
        },
        path="/healthz",
    )

    # Compression: fewer bytes for the visitor, more work for the one core.
    variants = {"plain": {}, "gzip": {"project": bench.variant((gzip,))}}
    sizes = {}
    for name, options in variants.items():
        with bench.server(**options) as (port, _):
            sizes[name] = len(urlopen(f"http://127.0.0.1:{port}/").read())
    compare(
        "compression of the start page",
        "plain: what is compressed beside a secret token can give it away (BREACH)",
        variants,
        lambda figures: (
            f"{sizes['plain'] / 1000:.1f} → {sizes['gzip'] / 1000:.1f} kB, "
            f"{figures['gzip']['rate'] / figures['plain']['rate']:.2f} × the requests"
        ),
    )

    # Imports that the web process never uses.
    figures = {}
    code = (
        f"{USED}\nimport time\nstarted = time.perf_counter()\nimport main\n"
        "print(json.dumps([time.perf_counter() - started, used()]))"
    )
    for name, project in (("lazy", bench.project), ("eager", bench.variant((eager,)))):
        results = [json.loads(project.python(code)) for _ in range(ROUNDS)]
        figures[name] = [median(values) for values in zip(*results, strict=True)]
    bench.choose(
        "Alembic, which only a release needs",
        ", ".join(f"{name}: {spent:.2f} s, {used:.0f} MB" for name, (spent, used) in figures.items()),
        "imported where it is used",
    )
