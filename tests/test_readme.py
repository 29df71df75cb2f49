"""The READMEs of the template and the pages in docs/: short, true, and whole."""

import html
import re
import sys
from pathlib import Path

import pytest

from lab import LANGUAGES, ROOT, call, with_part
from readme import READMES, opinion, table
from test_guide import commands, tokens
from test_hooks import POST

PAGES = [*READMES.values(), "CONTRIBUTING.md", "SECURITY.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
COMMIT = re.compile(r"(commit|[Кк]оммит:?) [0-9a-f]{7}")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", READMES.values())
def test_a_readme_is_read_in_a_minute(name):
    assert len(read(name).split()) <= 900


@pytest.mark.parametrize("page", PAGES)
def test_every_page_and_picture_that_is_named_is_there(page):
    """Also those in the READMEs' HTML."""
    links = [token.attrs.get("href") or token.attrs.get("src") for token in tokens(read(page)) if token.attrs]
    links = [link for link in links if link] + re.findall(r'<img src="(.*?)"', read(page))
    for link in links:
        if not re.match(r"https?://|mailto:", link):
            name, _, heading = link.partition("#")
            target = (ROOT / page).parent / name if name else ROOT / page
            assert target.exists(), link
            assert not heading or heading in re.sub(r"[ ]", "-", target.read_text(encoding="utf-8").lower()), link


def test_the_table_of_checks_is_up_to_date(baked):
    text = read("docs/doctor.md")
    assert with_part(text, "checks", table(baked(language="en"))) == text, "run: make readme"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_doctor_says_what_the_readme_shows(bake, language):
    text = read(READMES[language])
    said = opinion(bake(language=language, github_owner="me", author_name="Ann"), language)
    assert len(said.splitlines()) <= 15
    assert COMMIT.sub("", with_part(text, "doctor", said)) == COMMIT.sub("", text), "run: make readme"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pictures_of_the_first_minutes_show_today_s_words(language):
    shown = ""
    for number in (1, 2, 3):
        svg = read(f"docs/start-{language}-{number}.svg")
        assert not re.search(r"@font-face|url.http|href=.http", svg)  # nothing is loaded from elsewhere
        rows = re.findall(r"<text[^>]*>(.*?)</text>", svg)
        shown += html.unescape(" ".join(rows)).replace("\xa0", " ")
    words = POST.MESSAGES[language]
    for line in (words["committed"], words["next"], *words["read"].splitlines(), *POST.RUN, *POST.CHECK, "H401"):
        assert line in shown, "run: make pictures"


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_one_line_bakes_a_project(number, tmp_path, environ):
    """As the README has it, with a folder in the place of the address; pipx itself is run by uv."""
    lines = [line for line in commands(read("README.md")) if "gh:OWNER" in line]
    assert lines == [line for line in commands(read("README.ru.md")) if "gh:OWNER" in line]
    words = [str(ROOT) if word.startswith("gh:") else word for word in lines[number].split()]
    uvx = [str(Path(sys.executable).with_name("uv")), "tool", "run"]
    words = [*uvx, *(words[1:] if words[0] == "uvx" else words), "--no-input", "--default-config"]
    result = call(*words, cwd=tmp_path, env=environ, timeout=300)
    assert "make run" in result.stdout
    assert (tmp_path / "my-notes" / "main.py").exists()
