"""The download in a real spreadsheet program, LibreOffice: each language's columns, and nothing taken for a formula."""

import re
import shutil
from html import unescape

import pytest

from lab import LANGUAGES, Postgres, call, quoted

SOFFICE = shutil.which("soffice")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(SOFFICE is None, reason="LibreOffice (soffice) is not installed")]

SEPARATORS = {"en": ",", "ru": ";"}
TEXTS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    " =1+1",
    "\u200b=1+1",
    "a;=1+1",
    "a,=1+1",
    "a\n=1+1",
    'Привет, "мир"',
]
# https://help.libreoffice.org/latest/en-US/text/shared/guide/csv_params.html; the last one: formulas are computed.
OPTIONS = "{separator},34,76,1,,0,false,true,false,false,false,-1,true"


def opened(file, separator):
    """Return what LibreOffice has made of a CSV file: (the texts of its cells in rows, the formulas among them)."""
    options = f"CSV:{OPTIONS.format(separator=ord(separator))}"
    profile = f"-env:UserInstallation={(file.parent / 'profile').as_uri()}"
    command = (SOFFICE, profile, "--headless", f"--infilter={options}", "--convert-to", "fods", file)
    call(*command, cwd=file.parent, timeout=120)
    xml = file.with_suffix(".fods").read_text(encoding="utf-8")
    rows = [
        [
            cell_text(cell)
            for cell in re.findall(r"<table:table-cell[^>]*?(?:/>|>.*?</table:table-cell>)", row, re.DOTALL)
        ]
        for row in re.findall(r"<table:table-row.*?</table:table-row>", xml, re.DOTALL)
    ]
    return rows, re.findall(r'table:formula="([^"]*)"', xml)


def cell_text(xml):
    lines = re.findall(r"<text:p>(.*?)</text:p>", xml, re.DOTALL)
    return unescape("\n".join(re.sub("<[^>]*>", "", line) for line in lines))


def test_a_formula_would_be_seen(tmp_path):
    file = tmp_path / "formula.csv"
    file.write_text('1,"=1+1"\n', encoding="utf-8")
    assert len(opened(file, ",")[1]) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_opens_and_no_note_is_a_formula(bake, serve, tmp_path, language):
    project = bake(language=language)
    server = serve(project, "flask", "run", "--port", "{port}")
    Postgres(project).sql(f"INSERT INTO notes (body) VALUES {', '.join(f'({quoted(text)})' for text in TEXTS)}")
    file = tmp_path / "notes.csv"
    file.write_bytes(server.get("/notes.csv").text.encode())

    rows, formulas = opened(file, SEPARATORS[language])
    assert formulas == []
    names, *rows = [row[:3] for row in rows if any(row)]
    assert len(names) == 3
    assert len(rows) == len(TEXTS)
    assert 'Привет, "мир"' in [row[2] for row in rows]
    assert all(row[1] for row in rows)
    # Opened with the other language's separator it is no use, but does no harm either.
    for other in ",;\t":
        assert opened(file, other)[1] == []
