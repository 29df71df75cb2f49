"""What differs on Heroku: whom the app believes, https, and what its cookies are like."""

import pytest
from flask import request
from test_deploy_pages import without_its_own

from deploy.visitors import visitor_of
from main import init_app

KEY = "only for tests, and long enough for a dyno"
ROUTER = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


@pytest.fixture
def visitor_seen(database_url):
    """A function: start the app with these variables; whom does it see, and how come?"""

    def visitor_seen(headers=(), **environ):
        app = init_app({"DATABASE_URL": database_url, "SECRET_KEY": KEY} | environ)
        app.add_url_rule(
            "/seen", view_func=lambda: [request.remote_addr, request.scheme]
        )
        visitor = without_its_own(app).test_client()
        return visitor.get("/seen", headers=ROUTER | dict(headers)).json

    return visitor_seen


def test_the_router_is_believed_on_a_dyno(visitor_seen):
    assert visitor_seen(DYNO="web.1") == ["203.0.113.7", "https"]


def test_an_nginx_of_one_s_own_is_believed_in_what_it_writes_anew(visitor_seen):
    """Not in X-Forwarded-For, which it passes on as the visitor has sent it."""
    seen = visitor_seen(BEHIND_NGINX="1", headers={"X-Real-IP": "198.51.100.9"})
    assert seen == ["198.51.100.9", "https"]


def test_nobody_is_believed_elsewhere(visitor_seen):
    assert visitor_seen() == ["127.0.0.1", "http"]


@pytest.mark.parametrize(
    ("environ", "visitor"),
    [
        ({"RENDER": "true"}, "6.6.6.6, 203.0.113.7"),  # documents no header
        ({"DYNO": "web.1"}, "203.0.113.7/32"),
        ({}, "127.0.0.1/32"),
    ],
)
def test_visitors_are_told_apart_in_counts(database_url, environ, visitor):
    """Where nobody can tell their address, by all that is said of it."""
    settings = {"DATABASE_URL": database_url, "SECRET_KEY": KEY}
    app = init_app(settings | environ)
    app.add_url_rule("/visitor", view_func=lambda: visitor_of(request.environ))
    forged = ROUTER | {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"}
    answer = without_its_own(app).test_client().get("/visitor", headers=forged)
    assert answer.text == visitor


def test_cookies_are_for_https_only_on_a_dyno(database_url):
    environ = {"DATABASE_URL": database_url, "SECRET_KEY": KEY}
    assert init_app(environ | {"DYNO": "web.1"}).config["SESSION_COOKIE_SECURE"]
    assert not init_app(environ).config["SESSION_COOKIE_SECURE"]


def test_http_leads_to_https_on_a_dyno(database_url):
    environ = {"DATABASE_URL": database_url, "SECRET_KEY": KEY, "DYNO": "web.1"}
    visitor = init_app(environ).test_client()
    answer = visitor.get("/?q=a", headers=ROUTER | {"X-Forwarded-Proto": "http"})
    assert answer.status_code == 308
    assert answer.location == "https://localhost/?q=a"
    assert "max-age" in answer.headers["Strict-Transport-Security"]
