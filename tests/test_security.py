"""The baked project on the open internet: headers as Mozilla's Observatory scores them, and what bots send."""

import html
import re
import sys
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import faults
from lab import raw

pytestmark = pytest.mark.slow

# https://developer.mozilla.org/en-US/observatory/docs/tests_and_scoring (seen in November 2026)
A_PLUS = 100


def observatory_score(headers, cookies):
    """Return the Observatory's score of a page that comes by https, loads no scripts and redirects from http.

    It begins at 100; bonuses count only for those who lose fewer than ten points.
    """
    penalties, bonuses = 0, 0
    parts = [part.split() for part in headers.get("Content-Security-Policy", "").split(";") if part]
    policy = {name: sources for name, *sources in parts}
    if not policy:
        penalties += 25
    else:
        sources = policy.get("script-src", policy.get("default-src", ["*"])) + policy.get("style-src", [])
        if {"'unsafe-inline'", "'unsafe-eval'", "data:", "*", "https:", "http:"} & set(sources):
            penalties += 20
        elif policy.get("default-src") == ["'none'"]:
            bonuses += 10
        else:
            bonuses += 5
    for cookie in cookies:
        parts = {part.strip().lower() for part in cookie.split(";")}
        if "secure" not in parts or "httponly" not in parts:
            penalties += 40
        if "samesite=lax" in parts or "samesite=strict" in parts:
            bonuses += 5
    age = re.search(r"max-age=(\d+)", headers.get("Strict-Transport-Security", ""))
    if not age or int(age.group(1)) < 15768000:  # six months
        penalties += 20
    if headers.get("X-Content-Type-Options") != "nosniff":
        penalties += 5
    if "frame-ancestors" in policy:
        bonuses += 5
    elif headers.get("X-Frame-Options") not in ("DENY", "SAMEORIGIN"):
        penalties += 20
    if headers.get("Referrer-Policy") in ("no-referrer", "same-origin", "strict-origin-when-cross-origin"):
        bonuses += 5
    if headers.get("Cross-Origin-Resource-Policy") in ("same-origin", "same-site"):
        bonuses += 10
    if headers.get("Access-Control-Allow-Origin") == "*":
        penalties += 50
    return 100 - penalties + (bonuses if penalties < 10 else 0)


@pytest.fixture(scope="module")
def dyno(tmp_path_factory, environ):
    """A server as on a dyno, on a database of its own."""
    app = faults.bake_app(tmp_path_factory.mktemp("security"), environ)
    app.start(WEB_CONCURRENCY="1")
    yield app.server
    app.stop()


@pytest.mark.parametrize("path", ["/", "/nope", "/healthz", "/notes.csv"])
def test_observatory_gives_a_plus(dyno, path):
    answer = dyno.get(path)
    cookies = answer.headers.get_all("Set-Cookie") or []
    assert observatory_score(answer.headers, cookies) >= A_PLUS
    for name in ("X-Powered-By", "X-AspNet-Version"):
        assert name not in answer.headers


def test_the_score_can_be_missed():
    assert observatory_score({}, []) < 40
    assert observatory_score({"Content-Security-Policy": "default-src 'self' 'unsafe-inline'"}, ["a=1"]) < 40


def test_http_leads_to_https_of_the_same_host(dyno):
    answer = dyno_raw(dyno, b"GET /?q=a%0d%0aX:1 HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Proto: http\r\n")
    assert answer.startswith(b"HTTP/1.1 308")
    assert b"\nlocation: https://app.example/?q=a%0d%0aX:1\r\n" in answer.lower().replace(b"x:1", b"X:1")


def test_a_forwarded_host_is_not_believed(dyno):
    answer = dyno_raw(
        dyno, b"GET / HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.example\r\n"
    )
    assert b"evil.example" not in answer


MALFORMED = [
    *("a" * 64 + ".example", "a." * 127 + "example", "evil.example/path", "evil@app.example", "evil:123456", "evil%0d"),
    *("evil example", "evil?x", "evil\\x", "злой.рф", "<script>", "[::1"),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", MALFORMED)
def test_a_malformed_host_is_refused_and_not_echoed(dyno, host, scheme):
    """Under http it would be a place to be sent to."""
    head = f"GET /?q=a HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: {scheme}\r\n"
    answer = dyno_raw(dyno, head.encode())
    assert answer.split()[1] == b"400"
    assert host.encode() not in answer
    names = answer.lower().partition(b"\r\n\r\n")[0]
    assert b"\nlocation:" not in names
    assert b"\ncontent-security-policy: default-src 'none'" in names
    assert b"\nstrict-transport-security:" in names


def test_hsts_binds_this_host_only(dyno):
    """Another host below this name may still be reached by http only."""
    promise = dyno.get("/").headers["Strict-Transport-Security"].lower()
    assert "max-age" in promise
    assert "includesubdomains" not in promise


@pytest.mark.parametrize("path", ["//evil.example", "//evil.example/%2f..", "/\\evil.example", "/https:/evil.example"])
def test_no_address_leads_to_another_site(dyno, path):
    answer = dyno_raw(dyno, b"GET " + path.encode() + b" HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Proto: https\r\n")
    location = re.search(rb"(?im)^location: (\S+)", answer)
    assert not location or not re.match(rb"(https?:)?//evil", location.group(1))


def dyno_raw(server, head, body=b""):
    """Send a request as it is; return what comes back."""
    return raw(server.port, head + b"Connection: close\r\n\r\n" + body)


FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@FEW
@given(
    path=st.binary(max_size=60),
    query=st.binary(max_size=60),
    name=st.sampled_from([b"q", b"before", b"x"]),
)
def test_no_address_gives_a_500(dyno, path, query, name):
    safe = "".join(f"%{byte:02x}" for byte in path).encode()
    values = "".join(f"%{byte:02x}" for byte in query).encode()
    line = b"GET /" + safe + b"?" + name + b"=" + values + b"&" + name + b"=" + values + b" HTTP/1.1\r\n"
    answer = dyno_raw(dyno, line + b"Host: a\r\nX-Forwarded-Proto: https\r\n")
    assert answer.startswith(b"HTTP/1.1 ")
    assert answer.split()[1] < b"500", (line, answer[:300])


@FEW
@given(query=st.text(max_size=40), before=st.integers() | st.text(max_size=20))
def test_no_search_and_no_page_number_gives_a_500(dyno, query, before):
    answer = dyno.get("/?" + urlencode({"q": query, "before": before}))
    assert answer.status in (200, 400), answer.status


@FEW
@given(
    name=st.sampled_from(
        ["X-Forwarded-For", "X-Forwarded-Port", "X-Request-Id", "Cookie", "Referer", "Accept", "Range", "If-None-Match"]
    ),
    value=st.binary(max_size=80).map(lambda value: re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", value)),
    path=st.sampled_from([b"/", b"/static/style.css", b"/notes.csv"]),
)
def test_no_header_gives_a_500(dyno, name, value, path):
    answer = dyno_raw(
        dyno,
        b"GET "
        + path
        + b" HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n"
        + name.encode()
        + b": "
        + value
        + b"\r\n",
    )
    assert answer.split()[1] < b"500", (name, value, answer[:300])


@FEW
@given(body=st.text(max_size=1200))
def test_every_note_is_shown_as_it_was_or_refused(dyno, body):
    answer = dyno.add(body)
    assert answer.status in (200, 422)
    if answer.status == 200:
        shown = re.search(r'<p class="body" dir="auto">(.*?)</p>', answer.text, re.DOTALL).group(1)
        # A browser sends line breaks as \r\n, and surrounding space is dropped.
        assert html.unescape(shown).split() == body.split()


@pytest.mark.parametrize(
    ("length", "sent", "status"),
    [
        (10_000_000, 10_000_000, b"413"),  # all of it
        (10_000_000, 100, b"413"),  # only announced
        (70_000, 70_000, b"413"),
    ],
)
def test_a_huge_body_is_refused(dyno, length, sent, status):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n"
    head += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n" % length
    try:
        answer = dyno_raw(dyno, head, b"body=" + b"a" * (sent - 5))
    except ConnectionError:  # closed before all of it was sent
        answer = b"HTTP/1.1 " + status
    assert answer.split()[1] == status


@pytest.mark.parametrize("body", [b"\xff\xfe=\xff", b"body=%ff%fe", b"body=%00", b"=&&&=", b"body=a&body=b", b""])
def test_a_strange_body_is_refused(dyno, body):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n"
    head += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n" % len(body)
    assert dyno_raw(dyno, head, body).split()[1] == b"400"


def test_debug_is_off_where_others_can_come(bake, serve):
    project = bake()
    result = project.run("flask", "run", check=False, DYNO="web.1", FLASK_DEBUG="1", SECRET_KEY="x" * 40)
    assert result.returncode == 1
    assert "FLASK_DEBUG" in result.stderr
    server = serve(project, "flask", "run", "--debug", "--port", "{port}")
    # By default the development server is reached from this machine only.
    with open(f"/proc/{server.process.pid}/net/tcp") as table:
        listening = [line.split()[1] for line in table if f":{server.port:04X} 00000000:0000 0A" in line]
    assert listening == [f"0100007F:{server.port:04X}"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such rights")
def test_passwords_are_for_their_owner_only(bake):
    project = bake()
    for name in (".env", "instance/secret_key"):
        if name != ".env":
            project.python("from deploy import environment; environment.load({})")
        assert (project.path / name).stat().st_mode & 0o077 == 0, name
