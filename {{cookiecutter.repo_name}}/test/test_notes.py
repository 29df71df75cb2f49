{%- set ru = cookiecutter.language == "ru" -%}
"""The pages, as a visitor meets them."""

import re

import pytest
from flask_migrate import check
from sqlalchemy import select

from config import NOTES_PER_MINUTE
from database import db
from forms import MAX_LENGTH
from models import Note
from views import PAGE_SIZE


def bodies(response):
    """Return the notes on a page, as they are shown."""
    return re.findall(r'<p class="body" dir="auto">(.*?)</p>', response.text, re.DOTALL)


def test_a_new_note_is_on_the_page(client):
    response = client.post("/", data={"body": "Buy milk"}, follow_redirects=True)
    assert response.status_code == 200
    assert bodies(response) == ["Buy milk"]


def test_newest_notes_come_first(client, add_notes):
    add_notes("old", "new")
    assert bodies(client.get("/")) == ["new", "old"]


def test_a_page_leads_to_the_next_one(client, add_notes):
    add_notes(*(f"note {number}" for number in range(PAGE_SIZE + 3)))
    first = client.get("/")
    assert len(bodies(first)) == PAGE_SIZE
    next_page = re.search(r'href="(/\?before=\d+)"', first.text).group(1)
    assert bodies(client.get(next_page)) == ["note 2", "note 1", "note 0"]


def test_search_finds_other_forms_of_a_word(client, add_notes):
    add_notes("{{ 'Мои заметки' if ru else 'Running shoes' }}", "{{ 'Молоко' if ru else 'Milk' }}")
    response = client.get("/", query_string={"q": "{{ 'ЗАМЕТКА' if ru else 'RUN' }}"})
    assert bodies(response) == ["{{ 'Мои заметки' if ru else 'Running shoes' }}"]


@pytest.mark.parametrize("words", ["'", "a & | !", '"', "%", "\0", "x" * 2000])
def test_search_takes_any_text(client, words):
    assert client.get("/", query_string={"q": words}).status_code == 200


@pytest.mark.parametrize("before", ["0", "-1", "9" * 30, "x", ""])
def test_any_page_number_gives_a_page(client, before):
    assert client.get("/", query_string={"before": before}).status_code == 200


@pytest.mark.parametrize("body", ["", "   ", "x" * (MAX_LENGTH + 1), "a\0b"])
def test_a_bad_note_is_refused_and_says_why(client, body):
    response = client.post("/", data={"body": body})
    assert response.status_code == 422
    assert 'id="body-error"' in response.text
    assert bodies(response) == []


def test_a_note_is_shown_as_text_not_as_html(client):
    response = client.post(
        "/", data={"body": "<script>alert(1)</script>"}, follow_redirects=True
    )
    assert "<script>" not in response.text
    assert "&lt;script&gt;" in response.text


def test_a_deleted_note_is_gone(app, client, add_notes):
    add_notes("old", "new")
    with app.app_context():
        oldest = db.session.scalar(select(Note.id).order_by(Note.id))
    response = client.post(f"/notes/{oldest}/delete", follow_redirects=True)
    assert bodies(response) == ["new"]
    assert client.post(f"/notes/{oldest}/delete").status_code == 404


def test_the_download_holds_all_notes(client, add_notes):
    add_notes('with "quotes"', "=1+1", "Привет")
    response = client.get("/notes.csv")
    assert response.mimetype == "text/csv"
    lines = response.data.decode("utf-8-sig").splitlines()
    assert lines[0] == "id,created_at,body"
    assert lines[1].endswith(",Привет")
    assert lines[2].endswith(",'=1+1")  # text for a spreadsheet, not a formula
    assert lines[3].endswith(',"with ""quotes"""')


def test_a_form_without_its_token_is_refused(app, client):
    app.config["WTF_CSRF_ENABLED"] = True
    try:
        assert client.post("/", data={"body": "from elsewhere"}).status_code == 400
        page = client.get("/")
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text).group(1)
        data = {"body": "from our page", "csrf_token": token}
        response = client.post("/", data=data, follow_redirects=True)
        assert bodies(response) == ["from our page"]
    finally:
        app.config["WTF_CSRF_ENABLED"] = False


def test_an_unknown_page_says_so(client):
    response = client.get("/nothing/here")
    assert response.status_code == 404
    assert 'id="reason"' in response.text


def test_health_check_asks_the_database(client):
    response = client.get("/healthz")
    assert (response.status_code, response.json) == (200, {"database": "ok"})


def test_every_request_is_logged_with_its_id(client, caplog):
    caplog.set_level("INFO")
    response = client.get("/healthz", headers={"X-Request-Id": "abc-123"})
    assert response.headers["X-Request-Id"] == "abc-123"
    assert "GET /healthz 200" in caplog.text


def test_migrations_match_the_models(app):
    with app.app_context():
        check()  # ends the test with an error if a model has changed since


def test_a_flood_of_notes_is_held_back(client, add_notes):
    add_notes(*["note"] * NOTES_PER_MINUTE)
    answer = client.post("/", data={"body": "one more"})
    assert answer.status_code == 429
    assert "one more" in answer.text  # nothing that was written is lost


def test_pages_forbid_scripts_and_frames(client):
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
