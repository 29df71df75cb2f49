{%- import cookiecutter.language ~ "/words.jinja" as t -%}
{%- if cookiecutter.example == "notes" -%}
"""{{ t.notes_views_purpose }}"""

from flask import (
    Blueprint,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_wtf.csrf import CSRFError
from sqlalchemy import func, select

from config import NOTES_PER_MINUTE, NOTES_PER_MINUTE_IN_ALL
from database import db
from deploy.errors import csrf_error, csrf_reason
from deploy.streaming import csv_download
from deploy.transactions import TooLong
from deploy.visitors import PerMinute
from forms import MAX_LENGTH, NoteForm
from models import SEARCH_LANGUAGE, Note

bp = Blueprint("notes", __name__)

PAGE_SIZE = 20
MAX_QUERY = 80  # {{ t.notes_max_query }}
SEARCH_TIME = 50  # {{ t.notes_search_time }}
RARE = 1000  # {{ t.notes_rare }}
MAX_ID = 2**63 - 1  # {{ t.notes_max_id }}
NOTE = f"/notes/<int(max={MAX_ID}):note_id>/delete"
FORM_FAULTS = {
    "expired": "{{ t.notes_expired }}",
    "cookie": "{{ t.notes_no_cookie }}",
    "token": "{{ t.notes_expired }}",
}
# {{ t.notes_one_more }}
NEWEST = (
    select(Note.id, Note.body, Note.created_at)
    .order_by(Note.id.desc())
    .limit(PAGE_SIZE + 1)
)
visitors = PerMinute(NOTES_PER_MINUTE, NOTES_PER_MINUTE_IN_ALL)


@bp.after_request
def keep_search_engines_away(response):
    """{{ t.notes_no_search_engines }}"""
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


@bp.get("/")
def index():
    return notes_page(NoteForm())


@bp.post("/")
def add():
    form = NoteForm()
    if not form.validate_on_submit():
        return notes_page(form), 422
    if visitors.is_exceeded():
        form.body.errors = [
            "{{ t.notes_flood }}",
        ]
        return notes_page(form), 429, {"Retry-After": "60"}
    db.session.add(Note(body=form.body.data.strip()))
    db.session.commit()
    flash("{{ t.notes_added }}")
    return redirect(url_for("notes.index"))


@bp.get(NOTE)
def ask(note_id):
    """{{ t.notes_ask }}"""
    note = db.get_or_404(Note, note_id)
    return render_template("delete.html", note=note, place=place())


@bp.post(NOTE)
def delete(note_id):
    note = db.get_or_404(Note, note_id)
    db.session.delete(note)
    db.session.commit()
    flash("{{ t.notes_deleted }}")
    return redirect(url_for("notes.index", **place()))


@bp.get("/notes.csv")
def download():
    columns = {
        "{{ t.notes_csv_number }}": Note.id,
        "{{ t.notes_csv_date }}": Note.created_at,
        "{{ t.notes_csv_text }}": Note.body,
    }
    return csv_download(db, columns, "notes.csv")


@bp.errorhandler(CSRFError)
def keep_the_text(error):
    """{{ t.notes_keep_the_text }}"""
    fault = FORM_FAULTS.get(csrf_reason(error))
    if request.endpoint != "notes.add" or not fault:
        return csrf_error(error)
    current_app.logger.warning("csrf: %s", error.description)
    form = NoteForm()
    form.body.errors = [fault]
    return notes_page(form), 400


def place():
    """{{ t.notes_place }}"""
    return {name: request.args.get(name) for name in ("q", "before")}


def found_notes(words, before):
    """{{ t.notes_found }}"""
    query = NEWEST
    if words:
        # {{ t.notes_why_plain }}
        wanted = func.plainto_tsquery(SEARCH_LANGUAGE, words)
        has_words = Note.words.op("@@")(wanted)
        found = select(Note.id).where(has_words).limit(RARE)
        ids = db.session.scalars(found.execution_options(time_limit=SEARCH_TIME)).all()
        if not ids:
            return [], db.session.scalar(select(func.numnode(wanted))) == 0
        # {{ t.notes_why_rare }}
        query = query.where(Note.id.in_(ids) if len(ids) < RARE else has_words)
        query = query.execution_options(time_limit=SEARCH_TIME)
    if before is not None:
        # {{ t.notes_why_before }}
        query = query.where(Note.id < max(0, min(before, MAX_ID)))
    return db.session.execute(query).all(), False


def notes_page(form):
    """{{ t.notes_page }}"""
    words = request.args.get("q", "").replace("\0", "").strip()[:MAX_QUERY]
    before = request.args.get("before", type=int)
    try:
        notes, only_common = found_notes(words, before)
        too_long = False
    except TooLong:
        notes, only_common, too_long = [], False, True
    return render_template(
        "notes.html",
        form=form,
        max_length=MAX_LENGTH,
        notes=notes[:PAGE_SIZE],
        words=words,
        only_common=only_common,
        too_long=too_long,
        before=before,
        next_before=notes[PAGE_SIZE - 1].id if len(notes) > PAGE_SIZE else None,
    )
{%- else -%}
"""{{ t.views_purpose }}"""

from flask import Blueprint, render_template

# {{ t.views_why_blueprint }}
bp = Blueprint("pages", __name__)


@bp.get("/")
def index():
    return render_template("index.html")
{%- endif %}
