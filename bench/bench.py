"""Measure a baked project beside itself as it was, other servers and peers; all in one run.

`make bench` writes the tables into docs/bench.md and one line into README.md, with the plot beside it; `make choices`
writes the table of what could have been done instead; `make bench OPTIONS=--json` prints the figures only. Every figure
is the median of its rounds; the rounds of what is compared are interleaved. "One core": the server runs on the first,
the visitors on the second.
"""

import argparse
import json
import os
import platform
import re
import shutil
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
import baking
import boot
import choices
import distance
import dyno
import memory_use
import million
import profile_page
import slow
import speed
from lab import ROOT, call, workplace, write_part
from tools import BEFORE, OWN, Bench, make_programs

# In this order: the last one takes changes of the project back.
MEASURES = {
    module.__name__: module.measure
    for module in (baking, boot, memory_use, speed, distance, profile_page, slow, choices, million, dyno)
}


def table(head, rows):
    return "\n".join([f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)])


def draw(figures, file):
    """Draw the start page beside the others: requests per second, and what one visitor waits."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = {
        "requests per second, two cores, 16 visitors": ("start_page", "rate"),
        "ms that one visitor waits, database 1 ms away": ("distance_1_1", "p50"),
    }
    picture, axes = pyplot.subplots(1, 2, figsize=(10, 3), layout="constrained")
    for axis, (title, (name, key)) in zip(axes, panels.items(), strict=True):
        values = {server: found[key] for server, found in figures[name].items()}
        bars = axis.barh(list(values), values.values(), color=["#0d47a1", *["#90a4ae"] * (len(values) - 1)])
        axis.bar_label(bars, fmt="%.0f" if key == "rate" else "%.1f", fontsize=8, padding=2)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=8)
    picture.savefig(file, dpi=120)


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


def write(bench):
    """Write docs/bench.md, its plot, and the line in both READMEs."""
    picture = ROOT / "docs" / "bench.png"
    # Only this environment has what draws.
    call(make_programs() / "python", __file__, "--draw", picture, input=json.dumps(bench.figures))
    measured = table(["", "Measured", "At most / at least", "Met"], bench.rows)
    print(measured, bench.profile, bench.figures["machine"], sep="\n\n")
    write_part("bench", f"{measured}\n\n{bench.figures['machine']}\n", "docs/bench.md")
    write_part("profile", f"{bench.profile}\n", "docs/bench.md")
    for language, readme in READMES.items():
        write_part("bench", summary(bench.figures, language), readme)


def write_choices(bench):
    """Write the table of choices into docs/bench.md."""
    chosen = table(["Choice", "Measured side by side", "Taken"], bench.choices)
    print(chosen, bench.figures["machine"], sep="\n\n")
    write_part("choices", f"{chosen}\n\n{bench.figures['machine']}\n", "docs/bench.md")


READMES = {"en": "README.md", "ru": "README.ru.md"}
SUMMARY = {
    "en": (
        "The start page on two cores with 16 visitors: {rate:.0f} requests/s, {run:.1f} × `flask run`, {waitress:.1f} × a plain"
        " Flask-SQLAlchemy page under waitress and {gunicorn:.1f} × under gunicorn; with the database 1 ms away one visitor"
        " waits {far:.1f} ms, not {before:.1f}.\n"
    ),
    "ru": (
        "Главная страница на двух ядрах с 16 посетителями: {rate:.0f} запросов в секунду, в {run:.1f} раза больше, чем у"
        " `flask run`, в {waitress:.1f} раза от обычной страницы с Flask-SQLAlchemy под waitress и в {gunicorn:.1f} раза от неё"
        " же под gunicorn; когда до базы 1 мс, один посетитель ждёт {far:.1f} мс, а не {before:.1f}.\n"
    ),
}


def summary(figures, language):
    """Return a README's line."""
    found, far = figures["start_page"], figures["distance_1_1"]
    beside = far.get(f"before ({BEFORE})", far["peer"])["p50"]
    rate = found[OWN]["rate"]
    text = SUMMARY[language].format(
        rate=rate,
        run=rate / found["flask run"]["rate"],
        waitress=rate / found["peer on PostgreSQL, waitress"]["rate"],
        gunicorn=rate / found["peer on PostgreSQL, gunicorn"]["rate"],
        far=far[OWN]["p50"],
        before=beside,
    )
    return re.sub(r"(\d)\.(\d)", r"\1,\2", text) if language == "ru" else text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="print the figures as JSON; no page is written")
    parser.add_argument("--choices", action="store_true", help="measure what could have been done instead")
    parser.add_argument("--only", choices=MEASURES, nargs="+", help="measure these parts; no page is written")
    parser.add_argument("--draw", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draw:
        draw(json.load(sys.stdin), options.draw)
        return
    if platform.system() != "Linux" or not all(map(shutil.which, ("wrk", "taskset", "curl"))):
        sys.exit("The bench needs Linux with wrk, curl and taskset (Debian: apt install wrk curl util-linux).")
    with workplace(make_programs()) as (work, environ):
        bench = Bench(work, environ)
        try:
            bench.prepare()
            usual = ["choices"] if options.choices else [name for name in MEASURES if name != "choices"]
            for name in options.only or usual:
                started = time.perf_counter()
                MEASURES[name](bench)
                print(f"({name} took {time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
        finally:
            if hasattr(bench, "site"):
                bench.site.stop()
    bench.figures["machine"] = machine()
    if options.json:
        print(json.dumps(bench.figures, indent=2))
    if not (options.json or options.only):
        (write_choices if options.choices else write)(bench)


if __name__ == "__main__":
    main()
