"""A baked project seen through a real browser: the states its pages can be in, one after the other."""

import asyncio
import itertools
import shutil
import ssl
import sys
import threading
from contextlib import contextmanager, suppress

import trustme
from playwright.sync_api import Error, sync_playwright

from lab import LANGUAGES, ROOT, Site, bake_into, call, quoted, workplace

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = "axe-core@4.14.1"
# As on a phone of 2010, on phones and tablets of today, on a laptop and on a desk.
WIDTHS = (320, 375, 768, 1024, 1440)
# The pictures in README.md and README.ru.md; the others are not kept in git.
SHOWN = {f"notes-{lang}-light-desk.png": f"notes-{lang}.png" for lang in LANGUAGES}
PICTURES = ROOT / "pictures"
SMALL = {"width": 480, "height": 540}  # beside the doctor's words
DEVICES = {"desk": {"width": 900, "height": 900}, "phone": {"width": 375, "height": 812}}
# What the platform's router tells the dyno about a visitor.
ROUTER = b"\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.7\r\nHost: "


def chromium():
    """Return the path of the installed browser, None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def browser():
    """Yield a headless browser that can reach this machine only."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(),
            args=[
                "--no-sandbox",  # as root it would not start otherwise
                "--disable-quic",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
            ],
        )
        yield browser
        browser.close()


def visitor(browser, **options):
    """Return the page of a new visitor, who comes through the platform's router."""
    return browser.new_page(ignore_https_errors=True, **options)


def axe():
    """Return the source of the accessibility checker; npm fetches it into .cache/ once."""
    folder = ROOT / ".cache" / AXE.replace("@", "-")
    file = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        options = ("--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", folder)
        call(shutil.which("npm"), "install", *options, AXE)
    return file.read_text(encoding="utf-8")


class Router:
    """Stands where the platform's router does: takes https from the browser, hands http to the app."""

    def __init__(self, port):
        self.to = port
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("localhost").configure_cert(self.context)
        self.ready = threading.Event()
        # A thread of its own, because the browser's driver has an event loop in this one.
        self.thread = threading.Thread(target=asyncio.run, args=[self.serve()], daemon=True)
        self.thread.start()
        self.ready.wait()

    async def serve(self):
        self.loop, self.end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self.connect, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.end.wait()

    async def connect(self, reader, writer):
        app_reader, app_writer = await asyncio.open_connection("127.0.0.1", self.to)
        with suppress(asyncio.CancelledError):  # the end of the test
            await asyncio.gather(self.copy(reader, app_writer, told=ROUTER), self.copy(app_reader, writer))

    async def copy(self, reader, writer, told=b"\r\nHost: "):
        with suppress(OSError, ssl.SSLError):  # one of the two has gone
            while data := await reader.read(65536):
                writer.write(data.replace(b"\r\nHost: ", told, 1))
                await writer.drain()
        writer.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.end.set)
        self.thread.join()


class Shown(Site):
    """A site that a browser can reach, as visitors of the platform do."""

    def __init__(self, project, log_folder):
        super().__init__(project, log_folder)
        self.start(HEROKU_RELEASE_VERSION="v12")
        self.router = Router(self.server.port)
        self.address = f"https://localhost:{self.router.port}"

    def stop(self):
        self.router.stop()
        super().stop()


# What privacy tools do: the browser no longer says which site a form stands on.
WITHOUT_ORIGIN = """
const meta = document.createElement("meta");
meta.name = "referrer";
meta.content = "no-referrer";
document.head.append(meta);
"""


def states(page, site):
    """Bring the page into every state that it can be in, one after the other; yield their names."""
    site.sql("TRUNCATE notes RESTART IDENTITY")
    page.goto(site.address)
    yield "empty"

    site.sql(
        "INSERT INTO notes (body, created_at) SELECT text, timestamptz '2026-11-22 12:00 UTC' + n * interval '7 min'"
        f" FROM unnest(ARRAY[{', '.join(quoted(text) for text in NOTES[language(page)])}])"
        " WITH ORDINALITY AS t(text, n)"
    )
    page.goto(site.address)
    yield "notes"

    site.sql(
        "INSERT INTO notes (body, created_at) SELECT 'note ' || n || repeat(' words', n % 40),"
        " timestamptz '2026-11-22 15:00 UTC' + n * interval '1 min' FROM generate_series(1, 3000) AS n"
    )
    site.sql(f"INSERT INTO notes (body) VALUES (repeat('W', 1000)), ({quoted('<b>not bold</b>')})")
    page.goto(site.address)
    yield "thousands"

    page.goto(f"{site.address}/?q=zzzzzz")
    yield "nothing-found"

    page.fill("textarea", "   ")
    page.click("#add button")
    yield "form-error"

    page.goto(f"{site.address}/there-is-no-such-page")
    yield "404"

    page.goto(f"{site.address}/notes/1/delete")
    yield "delete"

    page.goto(site.address)
    page.evaluate(WITHOUT_ORIGIN)
    page.context.clear_cookies()
    page.fill("textarea", "too late")
    page.click("#add button")
    yield "expired"

    site.sql("ALTER TABLE notes RENAME COLUMN body TO text")
    page.goto(site.address)
    yield "500"
    site.sql("ALTER TABLE notes RENAME COLUMN text TO body")

    site.sql("ALTER TABLE notes RENAME TO others")
    page.goto(site.address)
    yield "no-tables"
    site.sql("ALTER TABLE others RENAME TO notes")

    site.postgres.stop()
    page.goto(site.address)
    yield "503"
    site.postgres.start()


NOTES = {
    "en": [
        "Ask which database plan the course pays for",
        "Read step 13 again: memory is counted over all processes",
        "Presentation on Friday.\nSlides, the address of the app, a glass of water.",
    ],
    "ru": [
        "Узнать, какой план базы данных оплачивает курс",
        "Перечитать шаг 13: память считают по всем процессам",
        "Защита в пятницу.\nСлайды, адрес приложения, стакан воды.",
    ],
}


def language(page):
    return page.get_attribute("html", "lang")


def take_pictures():
    """Write a picture of every state into pictures/, in both languages and themes, for a desk and a phone.

    Those of README.md go into docs/. What was there before stays in pictures/before/; index.html shows both.
    """
    if chromium() is None:
        sys.exit(f"A browser is needed for the pictures, one of: {', '.join(PROGRAMS)} (Debian: apt install chromium).")
    keep_before()
    with workplace() as (folder, environ), browser() as driver:
        for lang in LANGUAGES:
            site = Shown(bake_into(folder, environ, f"notes-{lang}", language=lang), folder)
            try:
                for theme, (device, size) in itertools.product(("light", "dark"), DEVICES.items()):
                    page = visitor(driver, color_scheme=theme, viewport=size)
                    for state in states(page, site):
                        save_picture(page, f"{state}-{lang}-{theme}-{device}.png")
                    page.close()
            finally:
                site.stop()
    names = sorted(path.name for path in PICTURES.glob("*.png"))
    rows = (f'<h2>{name}</h2><img src="before/{name}" alt="not there"> <img src="{name}">' for name in names)
    (PICTURES / "index.html").write_text("<h1>Before, and now</h1>" + "\n".join(rows), encoding="utf-8")
    print(f"{PICTURES.name}/index.html")


def keep_before():
    """Move the pictures of the last time out of the way."""
    before = PICTURES / "before"
    shutil.rmtree(before, ignore_errors=True)
    before.mkdir(parents=True)
    for file in PICTURES.glob("*.png"):
        file.rename(before / file.name)


def save_picture(page, name, tries=10):
    """Take a picture. A browser on a busy machine has none at once now and then: "Unable to capture screenshot"."""
    folder = ROOT / "docs" if name in SHOWN.values() else PICTURES
    while True:
        try:
            page.screenshot(path=folder / name)
            break
        except Error as error:
            tries -= 1
            if "Unable to capture screenshot" not in str(error) or not tries:
                raise
            page.wait_for_timeout(200)  # milliseconds: until it has drawn the page
    print(f"{folder.name}/{name}")
    if name in SHOWN:
        size = page.viewport_size
        page.set_viewport_size(SMALL)
        save_picture(page, SHOWN[name])
        page.set_viewport_size(size)


if __name__ == "__main__":
    take_pictures()
