"""Requests per second and how long they take: this project, the same under other servers, and peers."""

import shutil
from pathlib import Path

from lab import NEWEST_PYTHON, Project
from tools import BEFORE, OWN, SERVERS, ask, make_programs

PEERS = Path(__file__).resolve().parent / "peers"
POSTS = 20  # as many as the start page shows notes
PAGES = {"/healthz": "database page", "/nope": "error page"}


def peers(bench):
    """Return {name: what Bench.server() is told} of the peers, each under two servers."""
    databases = {"SQLite": str(bench.folder() / "blog.sqlite"), "PostgreSQL": blog_database(bench)}
    variants = {}
    for database, address in databases.items():
        module = {"SQLite": "sqlite_blog", "PostgreSQL": "postgres_blog"}[database]
        project = Project(PEERS, bench.project.environ | {"BLOG": address, "PYTHONDONTWRITEBYTECODE": "1"})
        project.python(f"import {module}; {module}.fill({POSTS})")
        told = {"project": project}
        gunicorn = f"gunicorn {module}:app --bind 127.0.0.1:{{port}} --workers 2 --threads 4"
        variants[f"peer on {database}, gunicorn"] = told | {"command": gunicorn}
        variants[f"peer on {database}, waitress"] = told | {"command": f"waitress-serve --port {{port}} {module}:app"}
    return variants


def blog_database(bench):
    """Return the address of an empty database."""
    postgres = bench.site.postgres
    postgres.sql("DROP DATABASE IF EXISTS blog WITH (FORCE)")
    postgres.sql("CREATE DATABASE blog OWNER app")
    return postgres.url("app", bench.site.password, "blog").replace("postgres://", "postgresql+psycopg://")


def ratios(found, name):
    ours = found[name]["rate"]
    return ", ".join(f"{ours / other['rate']:.2f} × {key}" for key, other in found.items() if key != name)


def measure(bench):
    bench.fill(1000)
    start_page(bench)
    other_pages(bench)
    other_projects(bench)


def start_page(bench):
    two = {"WEB_CONCURRENCY": "2"}
    variants = {OWN: two} | {name: {"command": command} for name, command in SERVERS.items() if name != OWN}
    if before := bench.before:
        variants[f"before ({BEFORE})"] = two | {"project": before, "command": before.commands()["web"]}
    else:
        bench.row("before", f"not measured: commit {BEFORE} is not in this clone")
    others = peers(bench)
    found = bench.measure(variants | others, connections=16, pinned=False)
    bench.figures["start_page"] = found
    us = found[OWN]
    bench.row(
        "start page, two cores, 16 visitors",
        f"{us['rate']:.0f} req/s, p50 {us['p50']:.1f} ms, p99 {us['p99']:.1f} ms; "
        + ratios({name: found[name] for name in SERVERS}, OWN),
    )
    if before:
        ratio = us["rate"] / found[f"before ({BEFORE})"]["rate"]
        bench.row("the same beside before", f"{ratio:.2f} ×", f"1.5 × before ({BEFORE})", ratio >= 1.5)
    for database, least in (("PostgreSQL", 1.3), ("SQLite", 0.5)):
        of_peer = {name: found[name] for name in others if database in name}
        best = max(of_peer.values(), key=lambda one: one["rate"])
        ratio = us["rate"] / best["rate"]
        bench.row(
            f"the same beside a peer on {database}",
            ", ".join(f"{us['rate'] / one['rate']:.2f} × {name.partition(', ')[2]}" for name, one in of_peer.items()),
            f"{least} × the faster one",
            ratio >= least,
        )


def other_pages(bench):
    variants = {name: {"command": command} for name, command in SERVERS.items()}
    with bench.servers(variants) as servers:
        for path, title in PAGES.items():
            found = bench.figures[title] = ask(servers, path, rounds=3)
            us = found[OWN]
            shown = f"{us['rate']:.0f} req/s, {ratios(found, OWN)}, p50 {us['p50']:.1f} ms, p99 {us['p99']:.1f} ms"
            bench.row(f"{title}, one core, 8 visitors", shown)


def other_projects(bench):
    """The newest Python, and the project without the example."""
    variants = {"this Python": {}}
    if program := shutil.which(f"python{NEWEST_PYTHON}"):
        variants[f"Python {NEWEST_PYTHON}"] = {"PATH": f"{make_programs(program)}:{bench.project.environ['PATH']}"}
    none = bench.bake(example="none")
    none.environ = bench.project.environ
    variants["example=none"] = {"project": none}
    found = bench.figures["other_projects"] = bench.measure(variants)
    shown = ", ".join(f"{name} {one['rate']:.0f} req/s, p50 {one['p50']:.1f} ms" for name, one in found.items())
    bench.row("start page, one core, 8 visitors", shown)
