"""The project's README, "More of your own": each recipe is taken from its text, followed, and tried by what it is for."""

import functools
import http.server
import json
import re
import struct
import threading
import zlib

import pytest
from playwright.sync_api import TimeoutError as NotFound

from browser import browser, chromium
from lab import Postgres
from test_own_app import Guide

pytestmark = pytest.mark.slow

HEADINGS = {
    "en": ("A script", "A library from a CDN", "An error page of your own", "An API", "A webhook", "An upload"),
    "ru": ("Скрипт", "Библиотеку с CDN", "Своя страница ошибок", "API", "Вебхук", "Загруженный файл"),
}
AS_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
IN_BASE = "</head>"
IN_CONTENT = "{% block content %}"


class Recipes:
    """A project and its README; follow() does one recipe as a reader would."""

    def __init__(self, project, language):
        self.project, self.guide = project, Guide(project.read("README.md"))
        self.headings = dict(
            zip(("script", "cdn", "error", "api", "webhook", "upload"), HEADINGS[language], strict=True)
        )

    def follow(self, recipe):
        for kind, name, text in self.guide.steps[self.headings[recipe]]:
            piece = text.strip()
            if name.endswith("error.html"):
                self.project.write(name, f"{piece}\n")
            elif kind == "html":  # in a page, at the place that the text names
                file, at = (name, IN_BASE) if name.endswith("base.html") else ("templates/notes.html", IN_CONTENT)
                new = f"{piece}\n{at}" if at == IN_BASE else f"{at}\n{piece}"
                self.project.replace(file, at, new)
            elif not kind:
                for line in piece.splitlines():
                    self.project.run("sh", "-c", line)
            elif line := re.fullmatch(r"([A-Z_]+) = .*", piece):  # in place of the line there
                text, count = re.subn(rf"(?m)^{line[1]} = .*$", piece, self.project.read(name))
                assert count == 1, name
                self.project.write(name, text)
            elif (self.project.path / name).exists():
                self.project.append(name, f"\n\n{piece}\n")
            else:
                self.project.write(name, f"{piece}\n")
        self.project.commit()


@pytest.fixture
def recipes(bake, request):
    """The recipes of a language; their code is the same in both (test_files.py compares it), so each is followed once."""
    project = bake(language=request.param, repo_name="recipes")
    yield Recipes(project, request.param)
    project.run("python", "-m", "deploy.postgres", "delete")


@pytest.fixture(scope="module")
def driver():
    if chromium() is None:
        pytest.skip("no browser on this machine")
    with browser() as driver:
        yield driver


def fine(project):
    """The project's own tests and its doctor have nothing to say."""
    # Not those of much data, which no recipe touches.
    assert " passed" in project.run("python", "-m", "pytest", "-q", "--deselect", "test/test_notes_limits.py").stdout
    assert '"findings": []' in project.run("python", "-m", "doctor", "--json").stdout


@pytest.mark.parametrize("recipes", ["en"], indirect=True)
def test_a_script_of_one_s_own_runs_and_asks_one_s_own_pages(recipes, serve, driver):
    recipes.follow("script")
    recipes.project.replace(
        "templates/notes.html", IN_CONTENT, f"{IN_CONTENT}<script>document.title = 'smuggled'</script><i id=i>i</i>"
    )
    server = serve(recipes.project, "flask", "run", "--port", "{port}")
    page = driver.new_page()
    page.goto(f"http://localhost:{server.port}/")
    page.click("#i")
    page.wait_for_selector("#i[title=ok]", timeout=5000)
    assert page.title() != "smuggled"
    page.close()


@pytest.mark.parametrize("recipes", ["ru"], indirect=True)
def test_a_library_from_another_server_is_one_line_away(recipes, serve, driver, tmp_path):
    (tmp_path / "library.js").write_text("document.documentElement.id = 'library'", encoding="utf-8")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    cdn = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=cdn.serve_forever, daemon=True).start()
    address = f"http://localhost:{cdn.server_port}"
    tag = f'<script src="{address}/library.js"></script>'
    recipes.project.replace("templates/base.html", IN_BASE, f"{tag}{IN_BASE}")
    page = driver.new_page()
    server = serve(recipes.project, "flask", "run", "--port", "{port}")
    page.goto(f"http://localhost:{server.port}/")
    with pytest.raises(NotFound):
        page.wait_for_selector("#library", timeout=1000)
    server.stop()

    recipes.follow("cdn")
    recipes.project.replace("config.py", "https://cdn.jsdelivr.net", address)
    server = serve(recipes.project, "flask", "run", "--port", "{port}")
    page.goto(f"http://localhost:{server.port}/")
    page.wait_for_selector("#library", timeout=5000)
    page.close()
    cdn.shutdown()


@pytest.mark.parametrize("recipes", ["ru"], indirect=True)
def test_an_error_page_of_one_s_own_is_shown(recipes, serve):
    recipes.follow("error")
    views = "\n\n@bp.app_errorhandler(418)\ndef teapot(error):\n    return {}, 418\n"
    recipes.project.append("views.py", views)  # the usual way of Flask is no mistake either
    recipes.project.commit()
    fine(recipes.project)
    answer = serve(recipes.project, "flask", "run", "--port", "{port}").get("/nowhere")
    assert answer.status == 404
    assert "<h1>404</h1>" in answer.text


@pytest.mark.parametrize("recipes", ["en"], indirect=True)
def test_an_api_takes_json_and_answers_in_json(recipes, serve):
    recipes.follow("api")
    fine(recipes.project)
    # What a page of one's own asks by fetch() is let in without the mark, what another site's does is not.
    recipes.project.append("views.py", '\n\n@bp.post("/api/own")\ndef own():\n    return {"own": True}\n')
    server = serve(recipes.project, "flask", "run", "--port", "{port}")

    def ask(address, body=None, **headers):
        answer = server.get(address, data=body, headers=AS_JSON | {"X-Request-Id": "mine"} | headers)
        return answer.status, json.loads(answer.text)

    assert ask("/api/echo", json.dumps({"a": "ё"}).encode()) == (200, {"received": {"a": "ё"}})
    assert ask("/api/own", b"{}", Origin=f"http://127.0.0.1:{server.port}") == (200, {"own": True})
    assert ask("/api/own", b"{}", Origin="http://evil.example")[0] == 403
    for status, answer in (
        (404, ask("/no/such")),
        (405, ask("/api/echo")),
        (413, ask("/api/echo", b'"' + b"a" * 70_000 + b'"')),
        (415, ask("/api/echo", b"a=b", **{"Content-Type": "text/plain"})),
        (400, ask("/api/echo", b"{")),
    ):
        assert answer[0] == status
        assert set(answer[1]) == {"error", "request_id"}
        assert answer[1]["request_id"] == "mine"


@pytest.mark.parametrize("recipes", ["ru"], indirect=True)
def test_a_webhook_is_called_as_telegram_calls_it(recipes, serve):
    """https://core.telegram.org/bots/api#setwebhook: a secret in a header, an Update as JSON."""
    recipes.follow("webhook")
    fine(recipes.project)
    update = {"update_id": 10000, "message": {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}}}
    body = json.dumps(update | {"text": "Привет"}).encode()
    secret = "X-Telegram-Bot-Api-Secret-Token"
    for known, given, status in (
        ("right", {secret: "right"}, 200),
        ("right", {secret: "wrong"}, 403),
        ("right", {secret: "\xff"}, 403),
        ("right", {}, 403),
        ("", {secret: ""}, 403),
    ):
        environ = recipes.project.environ | {"TELEGRAM_SECRET": known}
        server = serve(recipes.project, "flask", "run", "--port", "{port}", environ=environ)
        assert server.get("/telegram", data=body, headers=AS_JSON | given).status == status
        assert ("telegram: update 10000" in server.log()) == (status == 200)
        server.stop()


@pytest.mark.parametrize("recipes", ["en"], indirect=True)
def test_an_upload_is_kept_in_the_database(recipes, serve, driver, tmp_path):
    recipes.follow("upload")
    fine(recipes.project)
    server = serve(recipes.project, "flask", "run", "--port", "{port}")
    picture = png() + bytes(100_000)  # more than a request may be without the recipe
    for name, content, kept in (("red.png", picture, True), ("page.html", b"<script>alert(1)</script>", False)):
        (tmp_path / name).write_bytes(content)
        page = driver.new_page()
        page.goto(f"http://localhost:{server.port}/")
        page.set_input_files("input[name=picture]", tmp_path / name)
        page.click("form[action='/pictures'] button")
        assert page.url.endswith("/pictures/1") == kept
        page.close()
    assert Postgres(recipes.project).sql("SELECT count(*), min(length(content)) FROM pictures") == [[1, len(picture)]]


def png():
    """Return a picture of one red point."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
