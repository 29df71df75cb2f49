"""Measure the choices of the generated project beside what it could have done instead.

Every choice is one number or line of the project; a variant is a copy of the project with just that changed.
"""

import json
from contextlib import ExitStack
from urllib.request import urlopen

from tools import ROUNDS, median, memory, slow_visitors, wrk

POOL = ("config.py", r'"pool_size": .*', '"pool_size": {},')
THREADS = ("config.py", r"^THREADS = \d+", "THREADS = {}")
PING = ("config.py", r'"pool_pre_ping": True', '"pool_pre_ping": False')
NO_STATIC_PATH = ("serve.py", r"^ +static_path_route=.*\n +static_path_mount=.*\n +static_path_expires=.*\n", "")
WHITENOISE = (
    "main.py",
    r"^    return app$",
    (
        "    from whitenoise import WhiteNoise\n\n"
        "    app.wsgi_app = WhiteNoise(app.wsgi_app, root=config.ROOT / 'static', prefix='static/')\n"
        "    return app"
    ),
)
GZIP = (
    "security.py",
    r"^    response.headers.update\(HEADERS\)$",
    (
        "    response.headers.update(HEADERS)\n"
        "    if response.mimetype == 'text/html':\n"
        "        import gzip\n\n"
        "        response.set_data(gzip.compress(response.get_data(), compresslevel=6))\n"
        "        response.headers['Content-Encoding'] = 'gzip'"
    ),
)
SLOW_QUERY = ("views.py", r'text\("SELECT 1"\)', 'text("SELECT pg_sleep(0.05)")')
AUTOCOMMIT = ("config.py", r'"pool_pre_ping": True', '"pool_pre_ping": True, "isolation_level": "AUTOCOMMIT"')
NO_COPY = ("serve.py", r"^    app = loaded_app\(\) if .*$", "    app = None")
EAGER = ("database.py", r"^import config$", "import flask_migrate\n\nimport config")


def filled(change, value):
    """Return a change with the value put in."""
    file, pattern, replacement = change
    return file, pattern, replacement.format(value)


def measure(bench, variants, path="/", connections=8, pinned=True, rounds=ROUNDS):
    """Return {name: {rate, p99, memory}} of variants (a project, its environment) that are asked in turn."""
    figures = {name: [] for name in variants}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(bench.server(project=project, pinned=pinned, **environ))
            for name, (project, environ) in variants.items()
        }
        for _ in range(rounds):
            for name, (port, _) in servers.items():
                result = wrk(port, path, seconds=1, connections=connections)
                assert result["failed"] == 0, (name, path)
                figures[name].append(result)
        return {
            name: {
                "rate": median([result["rate"] for result in results]),
                "p99": median([result["p99"] for result in results]),
                "memory": memory(servers[name][1]),
            }
            for name, results in figures.items()
        }


def speeds(figures):
    """Return the requests per second of what was measured, each beside the first."""
    first = next(iter(figures.values()))["rate"]
    return ", ".join(f"{name}: {f['rate']:.0f} req/s ({f['rate'] / first:.2f} ×)" for name, f in figures.items())


def measure_all(bench):
    """Measure all choices; call bench.choose() with each."""
    bench.fill(1000)
    own = bench.variant()

    def compare(title, taken, variants, show=speeds, **options):
        figures = measure(bench, variants, **options)
        bench.choose(title, show(figures), taken, figures)

    # Threads: visitors that send their bodies slowly hold one each.
    figures = {}
    for number in (8, 128):
        project = bench.variant(filled(THREADS, number))
        with bench.server(project=project) as (port, pid), slow_visitors("bodies", 64, port):
            result = wrk(port, "/", seconds=3, connections=8)
            figures[f"{number}"] = {"rate": result["rate"], "p99": result["p99"], "memory": memory(pid)}
    shown = ", ".join(f"{n}: {f['rate']:.0f} req/s, {f['memory']:.0f} MB" for n, f in figures.items())
    bench.choose("threads, while 64 visitors send slowly", shown, "128", figures)

    compare(
        "database connections, 16 visitors whose query takes 50 ms",
        "15 for all processes together: the smallest plan allows 20",
        {f"{n}": (bench.variant(filled(POOL, n), SLOW_QUERY), {}) for n in (15, 5)},
        path="/healthz",
        connections=16,
    )
    compare(
        "processes (WEB_CONCURRENCY), two cores that they share with the database",
        "what the platform sets: 2 on the small dynos",
        {f"{n}": (own, {"WEB_CONCURRENCY": f"{n}"}) for n in (1, 2, 3)},
        lambda figures: ", ".join(f"{n}: {f['rate']:.0f} req/s, {f['memory']:.0f} MB" for n, f in figures.items()),
        connections=16,
        pinned=False,
    )
    compare(
        "processes copied from one that is loaded",
        "copied",
        {
            "copied": (own, {"WEB_CONCURRENCY": "2"}),
            "started afresh": (bench.variant(NO_COPY), {"WEB_CONCURRENCY": "2"}),
        },
        lambda figures: ", ".join(f"{name}: {f['memory']:.0f} MB" for name, f in figures.items()),
        rounds=2,
    )
    compare(
        "static files",
        "the server: as fast as WhiteNoise, one package fewer",
        {
            "the server": (own, {}),
            "WhiteNoise": (bench.variant(NO_STATIC_PATH, WHITENOISE), {}),
            "Flask": (bench.variant(NO_STATIC_PATH), {}),
        },
        path="/static/style.css",
    )
    compare(
        "trips to the database",
        "all: a mistake takes back what went before it, and no visitor meets a connection that was cut",
        {
            "all": (own, {}),
            "no transaction": (bench.variant(AUTOCOMMIT), {}),
            "no check of the connection": (bench.variant(PING), {}),
        },
        path="/healthz",
    )

    # Compression: fewer bytes for the visitor, more work for the one core.
    packed = bench.variant(GZIP)
    sizes = {}
    for name, project in (("plain", own), ("gzip", packed)):
        with bench.server(project=project) as (port, _):
            sizes[name] = len(urlopen(f"http://127.0.0.1:{port}/").read())
    compare(
        "compression of the start page",
        "plain: what is compressed beside a secret token can give it away (BREACH)",
        {"plain": (own, {}), "gzip": (packed, {})},
        lambda figures: (
            f"{sizes['plain'] / 1000:.1f} → {sizes['gzip'] / 1000:.1f} kB, "
            f"{figures['gzip']['rate'] / figures['plain']['rate']:.2f} × the requests"
        ),
    )

    # Imports that the web process never uses.
    figures = {}
    for name, project in (("lazy", own), ("eager", bench.variant(EAGER))):
        code = (
            "import time; started = time.perf_counter(); import main; spent = time.perf_counter() - started\n"
            "with open('/proc/self/smaps_rollup') as file: text = file.read()\n"
            "import json, re; print(json.dumps([spent, int(re.search(r'Pss:\\s+(\\d+)', text).group(1)) / 1024]))"
        )
        results = [json.loads(bench.python(code, project=project)) for _ in range(ROUNDS)]
        figures[name] = [median(values) for values in zip(*results, strict=True)]
    bench.choose(
        "Alembic, which only a release needs",
        ", ".join(f"{name}: {spent:.2f} s, {used:.0f} MB" for name, (spent, used) in figures.items()),
        "imported where it is used",
        figures,
    )
