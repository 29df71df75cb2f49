"""Where the time of the start page goes, in one process that nobody else asks."""

import json

# Parts of the page by themselves, the best of seven rounds, in microseconds of processor time and waiting.
PROFILE = """
import json, logging, time, main, views
from database import db
from flask import Flask, render_template, session, url_for
from flask_wtf.csrf import generate_csrf
from models import Note

app = main.init_app()


@app.get("/plain")
def plain():
    return ""


@app.get("/cookie")
def cookie():
    session["csrf_token"] = "a" * 40
    return ""


empty = Flask("empty")
empty.add_url_rule("/plain", view_func=plain)
# Lines of the log are made and then go nowhere.
logging.getLogger().handlers[0].stream = open("/dev/null", "w")
visitor, visitor_of_empty = app.test_client(use_cookies=False), empty.test_client(use_cookies=False)


def best(function, times=200):
    function()
    rounds = []
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(times):
            function()
        rounds.append((time.perf_counter() - started) / times * 1e6)
    return min(rounds)


def orm():
    views.found_notes("", None)
    db.session.close()


def token():
    with app.test_request_context("/"):
        views.NoteForm()
        generate_csrf()


def nothing():
    with app.test_request_context("/"):
        pass


with app.test_request_context("/"):
    notes = db.session.execute(views.NEWEST).all()[:20]
    names = dict(form=views.NoteForm(), max_length=1000, notes=notes, words="", before=None, next_before=5)
    rows = best(lambda: render_template("notes.html", **names))
    html = best(lambda: render_template("notes.html", **names | {"notes": []}))
    asks = best(orm)
    driver = db.engine.raw_connection().dbapi_connection
    driver.autocommit = True
    query = "SELECT id, body, created_at FROM notes ORDER BY id DESC LIMIT 21"
    wire = best(lambda: driver.execute(query).fetchall())
    record = logging.LogRecord("request", logging.INFO, "", 0, "%s %s %d %.0f ms", ("GET", "/", 200, 1.0), None)
    line = best(lambda: logging.getLogger().handle(record))
    links = best(lambda: [url_for("notes.ask", note_id=note.id, q=None, before=None) for note in notes])
    dates = best(lambda: [app.jinja_env.filters["local_time"](note.created_at) for note in notes])

form = best(token) - best(nothing)
flask = best(lambda: visitor_of_empty.get("/plain"))
own = best(lambda: visitor.get("/plain"))
cookie = best(lambda: visitor.get("/cookie")) - own
whole = best(lambda: visitor.get("/"))
parts = {
    "Flask and its test client, an empty page": flask,
    "what deploy/ adds to any page (headers, hosts, https)": own - flask - line,
    "the line of the log": line,
    "the query: PostgreSQL and psycopg": wire,
    "the query: SQLAlchemy's part": asks - wire,
    "HTML: the page without notes": html,
    "HTML: 20 links": links,
    "HTML: 20 dates": dates,
    "HTML: the rest of 20 notes": rows - html - links - dates,
    "the form and its token": form,
    "the cookie of the session": cookie,
}
parts["what the parts cost more together"] = whole - sum(parts.values())
print(json.dumps(parts))
print(json.dumps([whole, len(visitor.get("/").data)]))
"""


def measure(bench):
    bench.fill(1000)
    lines = bench.project.python(PROFILE).splitlines()
    parts = bench.figures["profile"] = json.loads(lines[-2])
    whole, size = json.loads(lines[-1])
    rows = [f"| {name} | {spent:.0f} | {spent / whole:.0%} |" for name, spent in parts.items()]
    bench.profile = "\n".join(
        ["| Part of the start page | µs | |", "| --- | ---: | ---: |", *rows, f"| all of it | {whole:.0f} | |"]
    )
    before = bench.before
    sizes = f"{size / 1000:.1f} kB"
    if before:
        code = "import main; print(len(main.init_app().test_client().get('/').data))"
        sizes = f"{int(before.python(code).splitlines()[-1]) / 1000:.1f} → {sizes}"
    bench.row("size of the start page, 20 notes", sizes)
