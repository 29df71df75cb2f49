"""A million notes: pages and searches stay flat, the download needs no memory."""

import os
import subprocess
import threading
import time

from lab import memory
from tools import get, median, read_csv, seconds


def measure(bench):
    rows = {}
    search = "SELECT id FROM notes WHERE words @@ plainto_tsquery('english', 'word77777') LIMIT 1000"
    for notes in (1_000, 10_000, 100_000, 1_000_000):
        bench.fill(notes)
        with bench.server() as (port, pid):
            get(port, "/")
            rows[notes] = {
                "page": median([seconds(get, port, f"/?before={notes // 2}") for _ in range(9)]) * 1000,
                "search": median([seconds(get, port, "/?q=word777") for _ in range(9)]) * 1000,
            }
            if notes == 1_000_000:
                download(bench, port, pid)
    bench.figures["growth_ms"] = rows
    small, large = rows[1_000], rows[1_000_000]
    for what in ("page", "search"):
        values = " → ".join(f"{rows[notes][what]:.1f}" for notes in rows)
        ratio = large[what] / small[what]
        bench.row(f"{what}, 1,000 → 1,000,000 notes", f"{values} ms ({ratio:.1f} ×)", "stays flat (2 ×)", ratio <= 2)
    plan = " / ".join(row[0].strip() for row in bench.sql(f"EXPLAIN (COSTS OFF) {search}"))
    bench.figures["plan"] = plan
    bench.row("plan of the search", plan, "an index", "ix_notes_words" in plan)


def download(bench, port, pid):
    rest = memory(pid)
    peak, done = [rest], threading.Event()

    def watch():
        while not done.is_set():
            peak.append(memory(pid))
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    times, firsts = [], []
    for _ in range(3):
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
                bench.sql,
                "INSERT INTO notes (body) VALUES ('meanwhile')",
                "DELETE FROM notes WHERE body = 'meanwhile' AND id > 1000000",
            )
        )
    orm = float(
        bench.project.python(
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
    bench.figures["csv"] = {
        "seconds": ours,
        "first_byte_ms": first,
        "grown_mb": grown,
        "orm_seconds": orm,
        "writes": len(writes),
    }
    bench.row("CSV of a million notes", f"{ours:.1f} s, {orm / ours:.1f} × faster than the ORM", "5 ×", orm / ours >= 5)
    bench.row("its first byte", f"{first:.0f} ms", "50 ms", first <= 50)
    bench.row("its memory over rest", f"{grown:.0f} MB", "10 MB", grown <= 10)
    bench.row(
        "added and deleted meanwhile",
        f"{len(writes)} times, {median(writes) * 1000:.0f} ms each with a process of its own",
        "",
    )
