"""The pages in a real browser: they work, for everybody, on every width, and load nothing from elsewhere."""

import csv
import shutil

import pytest

import browser
from lab import KEY, LANGUAGES, bake_into

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.chromium() is None, reason=f"none of {', '.join(browser.PROGRAMS)} is installed"),
]

WORDS = {
    "en": {
        "added": "Note added.",
        "deleted": "Note deleted.",
        "empty": "Write something first.",
        "old": "Older →",
        "keep": "Keep it",
        "separator": ",",
    },
    "ru": {
        "added": "Заметка добавлена.",
        "deleted": "Заметка удалена.",
        "empty": "Напишите",
        "old": "Более старые →",
        "keep": "Оставить",
        "separator": ";",
    },
}


# What a finger cannot hit: https://www.w3.org/WAI/WCAG22/Understanding/target-size-enhanced
TOO_SMALL = """[...document.querySelectorAll("a, button, input:not([type=hidden]), textarea")]
  .filter(element => element.getBoundingClientRect().height < 44).map(element => element.outerHTML)"""


# What does not depend on the words: test_files.py compares the pages of both languages.
IN_ONE_LANGUAGE = pytest.mark.parametrize("site", ["ru"], indirect=True)


@pytest.fixture(scope="module")
def driver():
    with browser.browser() as driver:
        yield driver


@pytest.fixture(scope="module", params=LANGUAGES)
def site(request, tmp_path_factory, environ):
    folder = tmp_path_factory.mktemp(request.param)
    site = browser.Shown(bake_into(folder, environ, "app", language=request.param), folder)
    site.language = request.param
    yield site
    site.stop()


@pytest.fixture
def open_page(driver, site):
    """A function that opens a page as a new visitor; at the end nothing may have been wrong in the background."""
    complaints, pages = [], []

    def watch(request):
        if not request.url.startswith(site.address):
            complaints.append(f"a request to {request.url}")

    def open_page(**options):
        page = browser.visitor(driver, **options)
        page.on("request", watch)
        page.on("console", lambda message: complaints.append(f"{message.type} in the console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"an error in a script: {error}"))
        pages.append(page)
        return page

    site.sql("TRUNCATE notes RESTART IDENTITY")
    yield open_page
    for page in pages:
        page.context.close()
    # The browser itself notes in the console that a page came with an error status.
    assert [text for text in complaints if "the server responded with a status of" not in text] == []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_visit(open_page, site, scripts):
    """Add, find, page, download, delete: with scripts and without them."""
    words = WORDS[site.language]
    page = open_page(java_script_enabled=scripts)
    page.goto(site.address)
    page.fill("textarea", "Купить молоко\n=1+1 <script>alert(1)</script>")
    page.click("#add button")
    assert page.inner_text("[role=status]") == words["added"]
    assert page.inner_text(".note .body") == "Купить молоко\n=1+1 <script>alert(1)</script>"

    page.fill("textarea", "   ")
    page.click("#add button")
    assert words["empty"] in page.inner_text("[role=alert]")

    site.sql("INSERT INTO notes (body) SELECT 'note ' || n FROM generate_series(1, 45) AS n")
    page.goto(site.address)
    page.click(f"text={words['old']}")
    page.click(f"text={words['old']}")
    assert "Купить молоко" in page.inner_text(".note:last-of-type")

    page.fill("[name=q]", "молоко")
    page.press("[name=q]", "Enter")
    assert page.locator(".note").count() == 1

    with page.expect_download() as download:
        page.click("#pages a[download]")
    assert download.value.suggested_filename == "notes.csv"
    with open(download.value.path(), encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.reader(file, delimiter=words["separator"]))) == 1 + 46

    page.click(".note footer a")
    page.click(f"text={words['keep']}")
    assert page.locator(".note").count() == 1
    page.click(".note footer a")
    assert "Купить молоко" in page.inner_text("main")
    page.click("main button")
    assert page.inner_text("[role=status]") == words["deleted"]
    assert page.input_value("[name=q]") == "молоко"  # back where one was
    assert page.locator(".note").count() == 0


@IN_ONE_LANGUAGE
def test_an_expired_page_of_this_site_is_as_good(open_page, site):
    page = open_page()
    page.goto(site.address)
    page.fill("textarea", "a long text")
    page.context.clear_cookies()
    page.click("#add button")
    assert page.inner_text(".note .body") == "a long text"


@IN_ONE_LANGUAGE
def test_an_expired_page_loses_nothing(open_page, site):
    """Where the browser does not say which site the form stands on."""
    page = open_page()
    page.goto(site.address)
    page.evaluate(browser.WITHOUT_ORIGIN)
    page.fill("textarea", "a long text")
    page.context.clear_cookies()
    page.click("#add button")
    assert page.input_value("textarea") == "a long text"
    assert page.locator("[role=alert]").count() == 1
    page.evaluate(browser.WITHOUT_ORIGIN)
    page.click("#add button")
    assert page.inner_text(".note .body") == "a long text"


@IN_ONE_LANGUAGE
def test_database_down_and_back(open_page, site):
    page = open_page()
    site.postgres.stop()
    assert page.goto(site.address).status == 503
    assert page.locator("main a.button").count() == 2  # once more, and the start page
    number = page.inner_text("main code")
    assert f"[{number}]" in site.server.log()
    site.postgres.start()
    with page.expect_response(site.address + "/") as again:
        page.click("main a.button >> nth=0")
    assert again.value.status == 200


@IN_ONE_LANGUAGE
def test_keyboard_alone_is_enough(open_page, site):
    page = open_page()
    page.goto(site.address)
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "TEXTAREA":
            break
    page.keyboard.type("typed")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.wait_for_selector(".note .body")
    assert page.inner_text(".note .body") == "typed"


@IN_ONE_LANGUAGE
def test_nothing_secret_is_on_the_page(open_page, site):
    page = open_page()
    page.goto(site.address)
    assert "v12" not in page.content()
    assert site.password not in page.content()
    assert KEY not in page.content()


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed, which fetches the accessibility checker")
def test_every_state_suits_every_visitor(open_page, site):
    """In every state: accessible in both themes, no sideways scrolling on any width, nothing jumps."""
    checker = browser.axe()
    page = open_page(bypass_csp=True)  # for the checker's script only
    seen = []
    for state in browser.states(page, site):
        seen.append(state)
        for width in browser.WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (state, width)
        page.set_viewport_size({"width": 375, "height": 800})
        assert page.evaluate(TOO_SMALL) == [], state
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.evaluate(checker)
            result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            assert [f"{v['id']}: {v['nodes'][0]['html']}" for v in result["violations"]] == [], (state, theme)
    assert len(seen) == 11


@IN_ONE_LANGUAGE
def test_a_wide_table_scrolls_by_itself(open_page, site):
    page = open_page(viewport={"width": 320, "height": 800})
    page.goto(site.address)
    cells = "".join(f"<{tag}>Название книги</{tag}>" for tag in ("th", *["td"] * 4))
    page.evaluate("row => document.querySelector('main').innerHTML = `<table><tr>${row}</tr></table>`", cells)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    table = page.locator("table")
    assert table.evaluate("table => table.scrollWidth > table.clientWidth")
    assert page.get_by_role("cell").count() == 4  # it is still a table to those who hear it


@IN_ONE_LANGUAGE
def test_nothing_jumps_while_a_page_loads(open_page, site):
    site.sql("INSERT INTO notes (body) SELECT 'note ' || n FROM generate_series(1, 45) AS n")
    page = open_page(viewport={"width": 375, "height": 800})
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(e => window.shift += e.value))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    page.goto(site.address, wait_until="networkidle")
    assert page.evaluate("window.shift") == 0
