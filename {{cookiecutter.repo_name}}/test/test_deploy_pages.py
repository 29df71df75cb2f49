"""What stands whatever the app itself shows: error pages, CSRF, logs, headers, /healthz."""

import io
import re
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from flask import abort, render_template_string, request
from flask_migrate import check
from flask_wtf import FlaskForm
from jinja2 import ChoiceLoader, DictLoader
from sqlalchemy import DateTime, Integer, text
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized
from wtforms import (
    BooleanField,
    FieldList,
    FileField,
    IntegerField,
    SelectMultipleField,
    StringField,
)
from wtforms.validators import DataRequired

import config
from database import db
from deploy.environment import WORDS
from deploy.streaming import SEPARATOR, csv_pieces
from deploy.visitors import IN_MEMORY
from main import init_app

ROOT = Path(__file__).resolve().parent.parent
OWN_PAGE = (ROOT / "templates" / "error.html").exists()
NOWHERE = "postgres://nobody:nothing@127.0.0.1:1/none"
FORM = "<form method=post><input name=csrf_token value='{{ csrf_token() }}'></form>"


def without_its_own(app):
    """Take away the app's own logins and error handlers: they would stand before ours."""
    ours = ("deploy.", "flask_wtf.")
    for functions in app.before_request_funcs.values():
        functions[:] = [f for f in functions if f.__module__.startswith(ours)]
    for by_status in app.error_handler_spec.values():
        for handlers in by_status.values():
            own = [e for e, f in handlers.items() if not f.__module__.startswith(ours)]
            for error in own:
                del handlers[error]
    return app


@pytest.fixture
def make(database_url, monkeypatch):
    """A function that makes an app with a few pages of the tests' own."""
    apps = []

    def make(url=database_url, **settings):
        for name, value in settings.items():
            monkeypatch.setattr(config, name, value, raising=False)
        app = init_app({"DATABASE_URL": url, "SECRET_KEY": "only for tests"})

        @app.route("/test/form", methods=["GET", "POST"])
        def form():
            return request.form.get("typed") or render_template_string(FORM)

        @app.get("/test/query")
        def query():
            return str(db.session.scalar(text("SELECT 1")))

        @app.get("/test/number")
        def number():
            return str(db.session.scalar(text("SELECT (2 ^ 40)::integer")))

        @app.get("/test/broken")
        def broken():
            raise ValueError("a mistake in the program")

        apps.append(app)
        return without_its_own(app)

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def says_why(response):
    """Return the status of an error page, which says what happened in its own way."""
    assert OWN_PAGE or 'id="reason"' in response.text
    assert response.text.strip()
    return response.status_code


@pytest.fixture
def visitor(make):
    return make().test_client()


def test_an_unknown_page_says_so(visitor):
    assert says_why(visitor.get("/nothing/here")) == 404


def test_an_error_page_looks_like_the_other_pages(visitor):
    page = visitor.get("/nothing/here").text
    assert 'class="plain"' not in page, "templates/base.html needs its block content"


def test_a_mistake_in_the_program_is_an_error_page(visitor, caplog):
    response = visitor.get("/test/broken")
    assert says_why(response) == 500
    assert "a mistake in the program" in caplog.text
    assert "a mistake in the program" not in response.text


@pytest.mark.parametrize("base", ["{{ nobody.knows() }}", "<p>no such block"])
def test_an_error_page_comes_also_where_base_html_is_broken(make, base):
    app = make()
    app.jinja_loader = ChoiceLoader([DictLoader({"base.html": base}), app.jinja_loader])
    assert says_why(app.test_client().get("/nothing/here")) == 404


def test_while_the_database_is_away_pages_say_so(make):
    visitor = make(NOWHERE).test_client()
    response = visitor.get("/test/query")
    assert says_why(response) == 503
    assert response.headers["Retry-After"]
    health = visitor.get("/healthz")
    assert (health.status_code, health.json) == (503, {"database": "unreachable"})


def test_a_laptop_called_by_a_foreign_name_says_what_to_do(client):
    response = client.get("/healthz", base_url="http://evil.example")
    assert response.status_code == 400
    assert "LAPTOP_HOSTS" in response.text


def test_an_error_page_comes_also_where_every_page_asks_the_database(make):
    app = make(NOWHERE)

    @app.context_processor
    def menu():
        return {"menu": db.session.scalars(text("SELECT 1")).all()}

    assert says_why(app.test_client().get("/nothing/here")) == 404
    assert says_why(app.test_client().get("/test/query")) == 503


def test_health_check_asks_the_database(client):
    response = client.get("/healthz")
    assert (response.status_code, response.json) == (200, {"database": "ok"})


def test_a_form_without_its_token_is_refused(visitor):
    data = {"typed": "kept"}
    assert visitor.post("/test/form", data=data).status_code == 400
    data["csrf_token"] = re.search("value='(.*)'", visitor.get("/test/form").text)[1]
    assert visitor.post("/test/form", data=data).text == "kept"


def test_a_body_that_is_cut_off_is_refused(visitor):
    """Half of a text is no text; where a server knows no end, none is waited for."""
    own = {"Origin": "http://localhost"}
    form = "application/x-www-form-urlencoded"
    for length, status in ((9, 200), (10, 400)):
        answer = visitor.post(
            "/test/form",
            input_stream=io.BytesIO(b"typed=abc"),
            environ_overrides={"CONTENT_LENGTH": str(length)},
            content_type=form,
            headers=own,
        )
        assert answer.status_code == status


def test_a_browser_that_names_this_site_needs_no_token(visitor):
    """Browsers without cookies or Referer, and pages that were open for a week."""
    own = {"Origin": "http://localhost"}
    assert visitor.post("/test/form", data={"typed": "a"}, headers=own).text == "a"


FOREIGN = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://localhost:9999",  # another program on this computer
    "http://[",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_form_of_another_site_is_refused(visitor, caplog, origin):
    page = visitor.get("/test/form").text
    data = {"typed": "a", "csrf_token": re.search("value='(.*)'", page)[1]}
    answer = visitor.post("/test/form", data=data, headers={"Origin": origin})
    assert answer.status_code == 403
    assert origin in caplog.text


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("pie-80.app.github.dev", "https://pie-80.app.github.dev", 200),
        ("pie-80.app.github.dev", "http://localhost:80", 200),
        ("localhost", "https://pie-80.app.github.dev", 200),
        ("localhost", "https://cake-80.app.github.dev", 403),
        ("pie-80.app.github.dev", "http://localhost:81", 403),
    ],
)
def test_a_tunnel_may_name_itself_in_host_and_in_origin(make, host, origin, status):
    app = make()
    own = {"OWN_HOSTS": ["pie-80.app.github.dev"]}
    app.config |= {"TRUSTED_HOSTS": ["localhost", *own["OWN_HOSTS"]]} | own
    headers = {"Host": host, "Origin": origin}
    data = {"typed": "x"}
    answer = app.test_client().post("/test/form", data=data, headers=headers)
    assert answer.status_code == status


def test_a_form_speaks_the_language_of_the_project(app):
    class Form(FlaskForm):
        name = StringField(validators=[DataRequired()])

    with app.test_request_context("/", method="POST"):
        form = Form(meta={"csrf": False})
        assert not form.validate()
    said = {"en": "This field is required.", "ru": "Обязательное поле."}
    assert form.name.errors == [said[WORDS["form_language"]]]


def test_settings_of_config_py_count(make):
    options = {"echo": True, "connect_args": {"application_name": "own"}}
    config = make(
        SESSION_COOKIE_SAMESITE="Strict",
        SEND_FILE_MAX_AGE_DEFAULT=1,
        SQLALCHEMY_ENGINE_OPTIONS=options,
    ).config
    assert config["SESSION_COOKIE_SAMESITE"] == "Strict"
    assert config["SEND_FILE_MAX_AGE_DEFAULT"] == 1
    found = config["SQLALCHEMY_ENGINE_OPTIONS"]
    assert found["echo"]
    assert found["pool_size"]
    assert {"application_name", "connect_timeout"} <= found["connect_args"].keys()


def test_a_form_takes_what_is_sent_for_its_fields(app):
    class Form(FlaskForm):
        name, number, ready = StringField(), IntegerField(), BooleanField()
        letters = SelectMultipleField(choices=["a", "b", "c"])
        files = FieldList(FileField(), min_entries=2)

    sent = {"number": 0, "ready": False, "letters": ["a", "c"]}
    with app.test_request_context("/", method="POST", json=sent):
        form = Form(meta={"csrf": False})
        assert (form.number.data, form.ready.data) == (0, False)
        assert form.letters.data == ["a", "c"]
    files = {name: (io.BytesIO(b"x"), "x.txt") for name in ("files-0", "name")}
    with app.test_request_context("/", method="POST", data=files):
        form = Form(meta={"csrf": False})
        assert form.files[0].data.filename == "x.txt"
        assert not form.name.data  # a file is no text


def test_what_is_wrong_with_a_form_is_said(make, caplog):
    app = make()
    visitor, stranger = app.test_client(), app.test_client(use_cookies=False)
    token = re.search("value='(.*)'", visitor.get("/test/form").text)[1]
    said = {}
    for name, client, sent in (
        ("token", visitor, ""),
        ("cookie", stranger, token),
        ("expired", visitor, token),
    ):
        app.config["WTF_CSRF_TIME_LIMIT"] = -1 if name == "expired" else 3600
        answer = client.post("/test/form", data={"csrf_token": sent})
        assert answer.status_code == 400
        said[name] = re.search('id="reason">(.*?)<|$', answer.text, re.DOTALL)[1]
    assert OWN_PAGE or len(set(said.values())) == 3
    assert caplog.text.count("csrf: ") == 3


def test_own_words_of_an_abort_are_shown(make):
    app = make()
    app.add_url_rule("/test/no", view_func=lambda: abort(403, "Owners <only>."))
    visitor = app.test_client()
    assert OWN_PAGE or "Owners &lt;only&gt;." in visitor.get("/test/no").text
    answer = visitor.get("/test/no", headers={"Accept": "application/json, */*"})
    assert answer.json["error"] == "Owners <only>."


def test_what_json_can_hold_and_nothing_else_is_a_400(make):
    app = make()
    app.config["WTF_CSRF_ENABLED"] = False
    app.add_url_rule("/test/json", view_func=lambda: request.json, methods=["POST"])

    @app.post("/test/text")
    def keep():
        return str(db.session.scalar(text("SELECT :text"), {"text": request.json}))

    visitor = app.test_client()
    for path, sent in (
        ("/test/json", "[" * 60_000),
        ("/test/json", "{"),
        ("/test/text", r'"\ud800"'),
    ):
        kind = "application/json"
        answer = visitor.post(path, data=sent, content_type=kind)
        assert answer.status_code == 400
        assert answer.json["error"]


def test_a_body_of_unknown_length_is_refused(visitor):
    """Nobody could tell half of it from all."""
    chunked = {"Transfer-Encoding": "chunked", "Origin": "http://localhost"}
    assert visitor.post("/test/form", headers=chunked).status_code == 411


def test_a_body_that_is_too_long_is_told_the_limit(make):
    visitor = make(MAX_CONTENT_LENGTH=100_000).test_client()
    own, data = {"Origin": "http://localhost"}, {"typed": "a" * 100_000}
    assert says_why(visitor.post("/test/form", data=data, headers=own)) == 413
    headers = own | {"Accept": "application/json"}
    answer = visitor.post("/test/form", data=data, headers=headers)
    assert answer.status_code == 413
    assert " 98 " in answer.json["error"]  # kB
    assert "MAX_CONTENT_LENGTH" in answer.json["error"]


def test_a_long_body_within_the_limit_is_whole(make):
    visitor = make(MAX_CONTENT_LENGTH=3 * IN_MEMORY).test_client()
    typed = "0123456789" * (IN_MEMORY // 5)
    head = '--x\r\nContent-Disposition: form-data; name="typed"\r\n\r\n'
    kind = "multipart/form-data; boundary=x"
    headers = {"Origin": "http://localhost", "Content-Type": kind}
    body = f"{head}{typed}\r\n--x--"
    with visitor.post("/test/form", data=body, headers=headers) as answer:
        assert answer.text == typed


def test_a_header_of_a_view_s_own_stays(make):
    app = make()
    allowed = {"Permissions-Policy": "geolocation=(self)"}
    app.add_url_rule("/test/map", view_func=lambda: ("a map", allowed))
    headers = app.test_client().get("/test/map").headers
    assert headers.getlist("Permissions-Policy") == ["geolocation=(self)"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_what_an_error_says_in_its_headers_is_kept(make):
    app, login = make(), WWWAuthenticate("basic", {"realm": "books"})

    @app.get("/test/door")
    def door():
        raise Unauthorized(www_authenticate=login)

    visitor = app.test_client()
    answer = visitor.get("/test/door")
    assert says_why(answer) == 401
    assert answer.headers["WWW-Authenticate"] == login.to_header()
    beyond = {"Range": "bytes=99999999-"}
    with visitor.get("/static/style.css", headers=beyond) as answer:
        assert answer.status_code == 416
        size = (ROOT / "static" / "style.css").stat().st_size
        assert answer.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nothing", 404), ("/test/broken", 500), ("/test/query?away", 503)],
)
def test_a_program_gets_json(make, path, status):
    visitor = (make(NOWHERE) if "away" in path else make()).test_client()
    answer = visitor.get(path, headers={"Accept": "application/json"})
    assert answer.status_code == status
    assert answer.json["error"]
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


def test_what_no_column_takes_is_a_400(visitor):
    assert visitor.get("/test/number").status_code == 400


def test_more_sources_for_pages_are_one_line(make):
    app = make(EXTRA_SOURCES={"script-src": "https://cdn.example"})
    policy = app.test_client().get("/healthz").headers["Content-Security-Policy"]
    assert "script-src 'self' https://cdn.example;" in policy
    app = make(EXTRA_SOURCES={"frame-src": "https://maps.example data:"})
    policy = app.test_client().get("/healthz").headers["Content-Security-Policy"]
    assert policy.endswith("frame-src https://maps.example data:")


BAD_SOURCES = [
    {"no-such": "https://a"},
    {"script": "https://a"},
    {"script-src": ["https://a"]},
    {"script-src": "https://a; x"},
    ["https://a"],
    None,
]


@pytest.mark.parametrize("sources", BAD_SOURCES)
def test_sources_that_cannot_be_read_stop_the_start(make, sources):
    with pytest.raises(SystemExit, match="EXTRA_SOURCES"):
        make(EXTRA_SOURCES=sources)


@pytest.mark.parametrize("limit", ["5 MB", 1.5, 0])
def test_a_limit_that_is_no_number_stops_the_start(make, limit):
    with pytest.raises(SystemExit, match="MAX_CONTENT_LENGTH"):
        make(MAX_CONTENT_LENGTH=limit)


@pytest.mark.parametrize("zone", ["", None, "MSK", "localtime"])
def test_a_time_zone_that_nobody_knows_stops_the_start(make, zone):
    with pytest.raises(SystemExit, match="TIME_ZONE"):
        make(TIME_ZONE=zone)


SUMMER = datetime(2026, 6, 30, 20, 45)


@pytest.fixture
def far_away(monkeypatch):
    """This computer's own time zone, which is nobody's business."""
    monkeypatch.setenv("TZ", "XXX+11")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows has no TZ")
@pytest.mark.usefixtures("far_away")
def test_a_date_is_shown_in_the_time_zone(make):
    local_time = make(TIME_ZONE="Asia/Kolkata").jinja_env.filters["local_time"]
    assert "02:15" in local_time(SUMMER)  # without a time zone it is of UTC
    assert local_time(SUMMER) == local_time(SUMMER.replace(tzinfo=UTC))
    assert local_time(None) == ""
    assert local_time(date(2026, 7, 1)) in local_time(SUMMER)  # that day everywhere


def test_a_download_has_its_dates_in_the_time_zone(make):
    app = make(TIME_ZONE="Asia/Kolkata")
    row = f"SELECT 1 AS id, TIMESTAMP '{SUMMER}' AS a, TIMESTAMPTZ '{SUMMER}Z' AS b"
    kinds = {"id": Integer, "a": DateTime, "b": DateTime(timezone=True)}
    columns = text(row).columns(**kinds).subquery().columns.items()
    with app.app_context():
        *_, row = csv_pieces(db.engine, dict(columns), app)
    dates = row.decode().strip().split(SEPARATOR)[1:]
    assert dates == ["2026-07-01 02:15:00"] * 2


def test_static_files_are_guarded_and_logged(visitor, caplog):
    caplog.set_level("INFO")
    with visitor.get("/static/style.css") as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "GET /static/style.css 200" in caplog.text
    known = {"If-None-Match": answer.headers["ETag"]}
    with visitor.get("/static/style.css", headers=known) as unchanged:
        assert unchanged.status_code == 304
    assert visitor.post("/static/style.css").status_code == 405


def test_every_request_is_logged_with_its_id(client, caplog):
    caplog.set_level("INFO")
    response = client.get("/healthz", headers={"X-Request-Id": "abc-123"})
    assert response.headers["X-Request-Id"] == "abc-123"
    assert "GET /healthz 200" in caplog.text


def test_no_method_forges_a_line_of_the_log(visitor, caplog):
    caplog.set_level("INFO")
    visitor.open("/healthz", method="GET\nERROR [-] FORGED")
    assert "GET%0AERROR" in caplog.text
    assert "\nERROR [-] FORGED" not in caplog.text


def test_pages_forbid_foreign_scripts_and_frames(client):
    policy = client.get("/healthz").headers["Content-Security-Policy"]
    extra = getattr(config, "EXTRA_SOURCES", {}).get("script-src", "")
    scripts = f"script-src 'self' {extra}".strip()
    assert "default-src 'none'" in policy
    assert f"{scripts};" in policy  # and nothing else
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_migrations_match_the_models(app):
    with app.app_context():
        check()  # ends the test with an error if a model has changed since


def test_the_web_process_imports_only_what_it_needs():
    code = "import main, sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    modules = subprocess.check_output(command, cwd=ROOT, encoding="utf-8").split()
    for_others = {"alembic", "doctor", "flask_migrate", "deploy.postgres", "psutil"}
    assert not (for_others | {"pytest", "platformdirs"}) & set(modules)
