"""Measure a baked project: size, start, memory, speed, slow visitors, a million notes; all side by side in one run.

`make bench` prints a table and writes it into README.md, with the plot beside it; `make bench OPTIONS=--json` prints
the figures only. Every figure is the median of its rounds; the rounds of what is compared are interleaved. The
server runs on one core, the visitors and the database on the other.
"""

import argparse
import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
import choices
from lab import (
    ROOT,
    SERVER,
    TEMPLATE,
    Project,
    Site,
    bake_into,
    call,
    free_port,
    make_venv,
    memory,
    merged,
    set_constant,
    start_server,
    stop_server,
    workplace,
    write_part,
)
from tools import ROUNDS, USED, get, interleaved, median, read_csv, seconds, slow_visitors, wrk

OWN = "deploy/server.py"
# What is compared, and the command that starts it; {port} is filled in.
SERVERS = {
    OWN: " ".join(SERVER),
    "flask run": "flask run -h 0.0.0.0 -p {port}",
    "gunicorn": "gunicorn main:init_app() --bind 0.0.0.0:{port} --preload --workers 2 --threads 5 --reuse-port"
    " --keep-alive 95",
    "waitress": "waitress-serve --port {port} --threads 8 --call main:init_app",
}


SLOW = {
    ("headers", 64): "64 slow headers",
    ("bodies", 64): "64 slow bodies",
    ("downloads", 40): "40 slow downloads",
    ("idle", 200): "200 open connections",
}

# What the start page costs without any server: all of it, a page without the database, the query, the HTML.
PROFILE = """
import json, logging, time, main, views
from database import db
from flask import render_template
from flask_wtf.csrf import generate_csrf
from models import Note
app = main.init_app()
logging.disable(logging.CRITICAL)
visitor = app.test_client()
query = db.select(Note).order_by(Note.id.desc()).limit(21)

def ask():
    db.session.scalars(query).all()
    db.session.close()

def nothing():
    with app.test_request_context("/"):
        pass

def token():
    with app.test_request_context("/"):
        views.NoteForm()
        generate_csrf()

def best(function, times=60):
    function()
    rounds = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(times):
            function()
        rounds.append((time.perf_counter() - started) / times * 1000)
    return min(rounds)

with app.test_request_context("/"):
    notes = db.session.scalars(query).all()[:20]
    names = dict(form=views.NoteForm(), max_length=1000, notes=notes, words="", before=None, next_before=5)
    figures = {"HTML": best(lambda: render_template("notes.html", **names)), "database": best(ask)}
figures["form and its token"] = best(token) - best(nothing)
figures["Flask alone (a 404)"] = best(lambda: visitor.get("/nope"))
figures["all"] = best(lambda: visitor.get("/"))
print(json.dumps(figures))
"""


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


class Bench:
    """A baked project, its database, and the figures that were measured."""

    def __init__(self, work, environ):
        self.work, self.environ = work, environ | {"HOME": str(work)}
        self.figures = {}
        self.numbers = itertools.count()

    # --- the project and its servers ---

    def folder(self):
        """Return a new folder."""
        folder = self.work / str(next(self.numbers))
        folder.mkdir()
        return folder

    def bake(self, **options):
        return bake_into(self.folder(), self.environ, "bench", **options)

    def prepare(self):
        self.project = self.bake()
        set_constant(self.project, "config.py", NOTES_PER_MINUTE=10**9)
        self.site = Site(self.project, self.work)
        # As on a dyno, but for the router: the visitors here come by http. One process, unless it is said.
        own = {name: self.environ[name] for name in ("HOME", "LOCAL_POSTGRES_DIR")}
        self.project.environ = merged(self.site.environ | own, {"DYNO": None, "WEB_CONCURRENCY": None})

    def sql(self, *statements):
        return self.site.sql(*statements)

    def fill(self, notes):
        self.sql(
            "TRUNCATE notes RESTART IDENTITY",
            "INSERT INTO notes (body) SELECT 'note ' || n || ' ' || (ARRAY['alpha', 'beta', 'gamma'])[1 + n % 3]"
            f" || ' word' || n % 99991 || repeat(' lorem ipsum', 3) FROM generate_series(1, {notes}) AS n",
            "VACUUM ANALYZE notes",
        )

    def variant(self, *changes):
        """Return a copy of the project; changes: functions of choices.py, each with what it is told."""
        project = Project(self.folder() / "bench", self.project.environ)
        shutil.copytree(self.project.path, project.path)
        for change, *words in changes:
            change(project, *words)
        return project

    @contextmanager
    def server(self, command=SERVER, pinned=True, project=None, **environ):
        """Start a server; yield (its port, its process id)."""
        project = project or self.project
        words = ["taskset", "-c", "0"] if pinned else []
        log = self.work / f"server-{next(self.numbers)}.log"
        server = start_server(project, [*words, *command], log, project.environ | environ)
        try:
            yield server.port, server.process.pid
        finally:
            stop_server(server, signal.SIGKILL)  # some take half a minute to heed SIGTERM

    # --- the measurements ---

    def bake_time(self):
        empty = Project(self.work / "empty", self.environ)
        empty.write("cookiecutter.json", '{"repo_name": "empty"}')
        empty.write("{{cookiecutter.repo_name}}/README.md", "empty\n")
        project = self.bake()
        shutil.rmtree(project.path / ".git")
        known = ("-c", "user.name=a", "-c", "user.email=a@example.com")

        def git():
            project.run("git", "init", "--quiet")
            project.run("git", "add", "--all")
            project.run("git", *known, "commit", "--quiet", "--message", "x")
            shutil.rmtree(project.path / ".git")

        times = interleaved(
            {
                "empty": lambda: self.bake(template=empty.path),
                "hooks": self.bake,
                "no hooks": lambda: self.bake(options=["--accept-hooks=no"]),
                "git": git,
            }
        )
        floor = times["empty"] * 1.5 + times["git"]
        self.add(
            "bake, hooks on",
            f"{times['hooks']:.2f} s",
            f"1.5 × empty template + git = {floor:.2f} s",
            times["hooks"] <= floor,
        )
        self.add("bake, hooks off", f"{times['no hooks']:.2f} s", f"empty template {times['empty']:.2f} s")
        self.figures["bake"] = times

    def dyno(self):
        self.project.run("git", "checkout", "-q", "config.py")
        environ = {"DATABASE_URL": None, "SECRET_KEY": None}
        started = time.perf_counter()
        result = self.project.run("python", "-m", "doctor", "--dyno", "--json", check=False, timeout=900, **environ)
        elapsed = time.perf_counter() - started
        report = json.loads(result.stdout)
        figures = report["dyno"]
        self.figures["dyno"] = figures
        slug = figures["slug_mb"]
        self.add("slug, packed, without Python", f"{slug:.1f} MB", "25 MB", slug <= 25)
        parts = figures["largest_parts_mb"]
        rest = figures["unpacked_mb"] - sum(parts.values())
        self.add(
            "slug, unpacked, by part",
            f"{figures['unpacked_mb']:.0f} MB: "
            + ", ".join(f"{name} {size:.1f}" for name, size in parts.items())
            + f", all else {rest:.1f}",
            "",
        )
        self.add("doctor --dyno, all of it", f"{elapsed:.0f} s", "")
        static = median([seconds(lambda: self.project.run("python", "-m", "doctor", **environ)) for _ in range(ROUNDS)])
        self.add("doctor, static", f"{static:.2f} s", "1 s", static <= 1)
        suite = seconds(lambda: self.project.run("python", "-m", "pytest", "-q", **environ))
        self.add("the project's own tests", f"{suite:.1f} s", "")
        file = ROOT / ".cache" / "suite-seconds"
        if file.exists():
            self.add(
                "the template's tests",
                f"{float(file.read_text()) / 60:.1f} min",
                "15 min",
                float(file.read_text()) < 900,
            )

    def boot(self):
        baseline = (
            "import socket, flask, sqlalchemy, sqlalchemy.orm\n"
            "server = socket.create_server(('127.0.0.1', {port}))\n"
            "connection, _ = server.accept(); connection.recv(1000)\n"
            "connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
        )

        def start(command):
            port = free_port()
            words = [word.format(port=port) for word in command]
            process = subprocess.Popen(
                words,
                cwd=self.project.path,
                env=self.project.environ | {"PORT": str(port)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            while get(port, "/") is None:
                assert process.poll() is None, command
                time.sleep(0.005)
            spent = time.perf_counter()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return spent

        commands = {
            "floor": ["python", "-c", baseline],
            "import main": ["python", "-c", f"import main\n{baseline}"],
            OWN: SERVER,
            "flask run": ["flask", "run", "-p", "{port}"],
        }
        times = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                started = time.perf_counter()
                times[name].append(start(command) - started)
        times = {name: median(values) for name, values in times.items()}
        self.figures["boot"] = times
        ratio = times[OWN] / times["floor"]
        self.add(
            "boot to the first page",
            f"{times[OWN]:.2f} s ({ratio:.2f} ×)",
            f"1.2 × Flask + SQLAlchemy + port, {times['floor']:.2f} s",
            ratio <= 1.2,
        )
        self.add("the same with flask run", f"{times['flask run']:.2f} s", "")
        self.add(
            "import main + port, no server",
            f"{times['import main']:.2f} s ({times['import main'] / times['floor']:.2f} ×)",
            "",
        )
        lines = self.project.run("python", "-X", "importtime", "-c", "import main").stderr.splitlines()
        costs = {}
        for line in lines[1:]:
            own, _, name = line.removeprefix("import time:").split("|")
            package = name.strip().partition(".")[0]
            costs[package] = costs.get(package, 0) + int(own) / 1000
        top = sorted(costs.items(), key=lambda item: -item[1])[:6]
        self.figures["imports_ms"] = costs
        self.add("the slowest imports", ", ".join(f"{name} {cost:.0f} ms" for name, cost in top), "")

    def memory_use(self):
        self.fill(1000)
        weights = json.loads(self.project.python(WEIGHTS))
        self.figures["imports_mb"] = weights
        self.add("memory of one process by import", ", ".join(f"{k} {v:.0f} MB" for k, v in weights.items()), "")
        for workers, limit in (("1", 75), ("2", 115)):
            with self.server(pinned=False, WEB_CONCURRENCY=workers) as (port, pid):
                time.sleep(1)
                rest = memory(pid)
                wrk(port, "/", seconds=3, connections=16)
                loaded = memory(pid)
                title = f"memory, {workers} worker{'s' if workers == '2' else ''}"
                self.add(f"{title}, at rest", f"{rest:.0f} MB", f"{limit} MB", rest <= limit)
                self.add(f"{title}, after load", f"{loaded:.0f} MB", f"{limit} MB", loaded <= limit)
                self.figures[f"memory_{workers}"] = [rest, loaded]
                if workers == "2":
                    sent = 0
                    while sent < 10_000:
                        sent += wrk(port, "/healthz", seconds=5, connections=16)["requests"]
                    before = memory(pid)
                    while sent < 110_000:
                        sent += wrk(port, "/healthz", seconds=10, connections=16)["requests"]
                    after = memory(pid)
                    growth = after / before - 1
                    self.add(
                        "memory over 100,000 requests",
                        f"{before:.0f} → {after:.0f} MB ({growth:+.1%})",
                        "± 5 %",
                        abs(growth) <= 0.05,
                    )

    def speed(self):
        self.fill(1000)
        pages = {
            "start page": "/",
            "database page": "/healthz",
            "error page": "/nope",
            "static file": "/static/style.css",
        }
        rates = {(server, page): [] for server in SERVERS for page in pages}
        latencies = {key: [] for key in rates}
        with contextmanagers(self.server(command.split()) for command in SERVERS.values()) as ports:
            for _ in range(ROUNDS):
                for page, path in pages.items():
                    for server, (port, _) in zip(SERVERS, ports, strict=True):
                        result = wrk(port, path, seconds=1, connections=8)
                        assert page == "error page" or result["failed"] == 0, (server, page)
                        rates[server, page].append(result["rate"])
                        latencies[server, page].append((result["p50"], result["p99"]))
        self.figures["requests_per_second"] = {
            f"{server}, {page}": median(values) for (server, page), values in rates.items()
        }
        for page in pages:
            ours = median(rates[OWN, page])
            parts = [f"{ours:.0f} req/s"]
            ratios = {server: ours / median(rates[server, page]) for server in SERVERS if server != OWN}
            parts += [f"{ratio:.2f} × {server}" for server, ratio in ratios.items()]
            middle, worst = (median(values) for values in zip(*latencies[OWN, page], strict=True))
            parts.append(f"p50 {middle:.1f} ms, p99 {worst:.1f} ms")
            if page == "static file":
                target, met = "3 × flask run", ratios["flask run"] >= 3
            elif page == "error page":
                # Nothing but Flask and a template: no page of Flask's can come out better beside the others.
                target, met = "", None
            else:
                target = "2 × flask run, 1.3 × gunicorn"
                met = ratios["flask run"] >= 2 and ratios["gunicorn"] >= 1.3
            self.add(f"{page}, one core", ", ".join(parts), target, met)

        profile = json.loads(self.project.python(PROFILE))
        self.figures["start_page_ms"] = profile
        parts = ", ".join(f"{name} {value:.1f}" for name, value in profile.items())
        self.add("where its milliseconds go", parts, "")

    def slow_visitors(self):
        self.fill(200_000)
        two = {"WEB_CONCURRENCY": "2"}
        calm = {}
        for (kind, count), title in SLOW.items():
            parts = []
            for name, command in SERVERS.items():
                with self.server(command.split(), **two if name == OWN else {}) as (port, pid):
                    if name not in calm:
                        wrk(port, "/", seconds=1, connections=8)
                        calm[name] = median([wrk(port, "/", seconds=1, connections=8)["p99"] for _ in range(ROUNDS)])
                    with slow_visitors(kind, count, port):
                        results = [wrk(port, "/", seconds=1, connections=8) for _ in range(ROUNDS)]
                        used = memory(pid)
                p99 = median([result["p99"] for result in results])
                lost = sum(result["failed"] for result in results)
                answered = sum(result["requests"] for result in results)
                figures = {
                    "p99_ms": p99,
                    "calm_p99_ms": calm[name],
                    "answered": answered,
                    "lost": lost,
                    "memory_mb": used,
                }
                self.figures.setdefault(f"slow_{kind}", {})[name] = figures
                if name == OWN:
                    met = p99 <= 3 * calm[name] and not lost and used <= 400
                    parts.append(f"p99 {p99:.0f} ms ({p99 / calm[name]:.1f} ×), {lost} lost, {used:.0f} MB")
                elif answered:
                    parts.append(f"{name} {p99 / calm[name]:.1f} ×, {lost} lost")
                else:
                    parts.append(f"{name} answers nobody")
            self.add(title, "; ".join(parts), "3 × calm, none lost, 400 MB", met)

    def million(self):
        rows = {}
        search = "SELECT id FROM notes WHERE words @@ plainto_tsquery('english', 'word77777') LIMIT 1000"
        for notes in (1_000, 10_000, 100_000, 1_000_000):
            self.fill(notes)
            with self.server() as (port, pid):
                get(port, "/")
                rows[notes] = {
                    "page": median([seconds(get, port, f"/?before={notes // 2}") for _ in range(9)]) * 1000,
                    "search": median([seconds(get, port, "/?q=word777") for _ in range(9)]) * 1000,
                }
                if notes == 1_000_000:
                    self.download(port, pid)
        self.figures["growth_ms"] = rows
        small, large = rows[1_000], rows[1_000_000]
        for what in ("page", "search"):
            values = " → ".join(f"{rows[notes][what]:.1f}" for notes in rows)
            ratio = large[what] / small[what]
            self.add(f"{what}, 1,000 → 1,000,000 notes", f"{values} ms ({ratio:.1f} ×)", "stays flat (2 ×)", ratio <= 2)
        plan = " / ".join(row[0].strip() for row in self.sql(f"EXPLAIN (COSTS OFF) {search}"))
        self.figures["plan"] = plan
        self.add("plan of the search", plan, "an index", "ix_notes_words" in plan)

    def download(self, port, pid):
        rest = memory(pid)
        peak, done = [rest], threading.Event()

        def watch():
            while not done.is_set():
                peak.append(memory(pid))
                time.sleep(0.1)

        watcher = threading.Thread(target=watch)
        watcher.start()
        times, firsts = [], []
        for _ in range(ROUNDS):
            first, total, lines = read_csv(port)
            assert lines == 1_000_001, lines
            firsts.append(first)
            times.append(total)
        done.set()
        watcher.join()
        # While another download runs, notes are added and deleted.
        writer = subprocess.Popen(["curl", "-s", "-o", os.devnull, f"http://127.0.0.1:{port}/notes.csv"])
        writes = []
        while writer.poll() is None:
            writes.append(
                seconds(
                    self.sql,
                    "INSERT INTO notes (body) VALUES ('meanwhile')",
                    "DELETE FROM notes WHERE body = 'meanwhile' AND id > 1000000",
                )
            )
        orm = float(
            self.project.python(
                "import time, csv, io, main\n"
                "from models import Note; from database import db\n"
                "app = main.init_app()\n"
                "with app.app_context():\n"
                "    db.session.execute(db.text('SET statement_timeout = 0'))\n"
                "    started = time.perf_counter(); out = io.StringIO(); writer = csv.writer(out)\n"
                "    writer.writerows((n.id, n.created_at, n.body) for n in db.session.scalars(db.select(Note)).all())\n"
                "    print(time.perf_counter() - started)\n"
            )
        )
        ours, first, grown = median(times), median(firsts) * 1000, max(peak) - rest
        self.figures["csv"] = {
            "seconds": ours,
            "first_byte_ms": first,
            "grown_mb": grown,
            "orm_seconds": orm,
            "writes": len(writes),
        }
        self.add(
            "CSV of a million notes", f"{ours:.1f} s, {orm / ours:.1f} × faster than the ORM", "5 ×", orm / ours >= 5
        )
        self.add("its first byte", f"{first:.0f} ms", "50 ms", first <= 50)
        self.add("its memory over rest", f"{grown:.0f} MB", "10 MB", grown <= 10)
        self.add(
            "added and deleted meanwhile",
            f"{len(writes)} times, {median(writes) * 1000:.0f} ms each with a process of its own",
            "",
        )

    def choices(self):
        choices.measure_all(self)

    # --- the tables ---

    def add(self, title, measured, target, met=None):
        row = (title, measured, target, {True: "yes", False: "**no**", None: ""}[met])
        self.figures.setdefault("rows", []).append(row)
        print(f"{title:36} {measured:70} {target:40} {row[3]}", file=sys.stderr, flush=True)

    def choose(self, title, measured, taken, figures):
        """Keep what was measured of one choice, and what the project does because of it."""
        self.figures.setdefault("choices", []).append((title, measured, taken, figures))
        print(f"{title:36} {measured:70} {taken}", file=sys.stderr, flush=True)

    def choices_table(self):
        lines = ["| Choice | Measured side by side | Taken |", "| --- | --- | --- |"]
        return "\n".join(lines + [f"| {' | '.join(row[:3])} |" for row in self.figures["choices"]])

    def table(self):
        lines = ["| | Measured | At most / at least | Met |", "| --- | --- | --- | --- |"]
        return "\n".join(lines + [f"| {' | '.join(row)} |" for row in self.figures["rows"]])


@contextmanager
def contextmanagers(managers):
    """Enter several context managers; yield the list of what they give."""
    with ExitStack() as stack:
        yield [stack.enter_context(manager) for manager in managers]


def draw(figures, file):
    """Draw the requests per second of the servers side by side; print the same as text."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rates = figures["requests_per_second"]
    pages = ("start page", "database page", "static file")
    picture, axes = pyplot.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
    lines = []
    for axis, page in zip(axes, pages, strict=True):
        values = [rates[f"{server}, {page}"] for server in SERVERS]
        axis.barh(list(SERVERS), values, color=["#0d47a1", *["#90a4ae"] * 3])
        axis.invert_yaxis()
        axis.set_title(f"{page}, requests per second", fontsize=9)
        axis.tick_params(labelsize=8)
        lines.append(f"{page}, requests per second")
        for server, value in zip(SERVERS, values, strict=True):
            lines.append(f"  {server:16} {'█' * max(1, round(40 * value / max(values))):40} {value:6.0f}")
    picture.savefig(file, dpi=120)
    print("\n".join(lines))


def make_programs():
    """Return the folder of programs of an environment with the project's packages and what they are compared with."""
    return make_venv("venv-bench", TEMPLATE / "requirements-test.txt", ROOT / "requirements-bench.txt")


def machine():
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    versions = json.loads(
        call(
            make_programs() / "python",
            "-c",
            "import json, importlib.metadata as m;"
            "print(json.dumps({n: m.version(n) for n in ('flask', 'granian', 'sqlalchemy', 'psycopg', 'gunicorn', 'waitress')}))",
        ).stdout
    )
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{time.strftime('%Y-%m-%d')}, {model.group(1) if model else platform.machine()}, {os.cpu_count()} cores,"
        f" {platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}, {names}"
    )


PARTS = ("bake_time", "boot", "memory_use", "speed", "slow_visitors", "choices", "million", "dyno")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="print the figures as JSON; README.md stays as it is")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="measure these parts; README.md stays as it is")
    parser.add_argument("--draw", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draw:
        draw(json.load(sys.stdin), options.draw)
        return
    if platform.system() != "Linux" or not (shutil.which("wrk") and shutil.which("taskset") and shutil.which("curl")):
        sys.exit("The bench needs Linux with wrk, curl and taskset (Debian: apt install wrk curl util-linux).")
    with workplace(make_programs()) as (work, environ):
        bench = Bench(work, environ)
        try:
            bench.prepare()
            for part in options.only or PARTS:
                getattr(bench, part)()
        finally:
            if hasattr(bench, "site"):
                bench.site.stop()
    bench.figures["machine"] = machine()
    if options.json:
        print(json.dumps(bench.figures, indent=2))
    if options.json or options.only:
        return
    # Only this environment has what draws.
    command = [str(make_programs() / "python"), __file__, "--draw", str(ROOT / "docs" / "bench.png")]
    figures = json.dumps(bench.figures)
    text = call(*command, input=figures).stdout.rstrip()
    print(bench.table(), bench.choices_table(), bench.figures["machine"], text, sep="\n\n")
    body = (
        f"{bench.table()}\n\n{bench.figures['machine']}\n\n![Requests per second](docs/bench.png)\n\n"
        f"```text\n{text}\n```\n\nWhat the project does, beside what it could have done; from the same run:\n\n"
        f"{bench.choices_table()}\n"
    )
    write_part("bench", body)


if __name__ == "__main__":
    main()
