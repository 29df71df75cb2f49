"""Tell which of the fetched repositories would deploy: python -m classroom check OUT [--csv FILE] [--html FILE]."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.progress import track

from classroom import HERE, ROOT, Refused, bake
from classroom.look import blob

SECONDS = 9.5  # for one repository; look.py ends by itself before
AT_ONCE = min(8, max(2, os.cpu_count() or 2))
STEPS = range(1, 14)  # of the guide
LONGEST = 600  # characters of a cell; some findings list all that was found
# What spreadsheets take for a formula, also in wide letters.
FORMULA = re.compile(r"\s*[=+@＝＋＠－-]")


def printable(text):
    """Return one short line that does nothing to a terminal or a page: names come from the repositories."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def make_doctors(folder):
    """Write a project for each language, the doctors that are trusted, and what an unedited one looks like."""
    blobs, names = blobs_of_history(), set()
    for language in bake.SETTINGS["language"]:
        answers = bake.complete_texts({"language": language, "repo_name": language, "example": "none"})
        for file in (bake.render(answers, folder) / "doctor").iterdir():
            names.add(f"doctor/{file.name}")
            blobs[f"doctor/{file.name}"].add(blob(file.read_bytes()))
    originals = {"blobs": {path: sorted(ids) for path, ids in blobs.items()}, "names": sorted(names)}
    (folder / "originals.json").write_text(json.dumps(originals), encoding="utf-8")


def blobs_of_history():
    """Return {path: git's ids of all that this file of the doctor has ever been in this checkout}.

    Projects may be older than it. In a downloaded archive there are none.
    """
    places = [f"{{{{cookiecutter.repo_name}}}}/doctor/{name}" for name in ("*.py", "*.toml")]
    words = ("doctor.toml", "log_words.toml")
    places += [f"templates/{language}/{name}" for language in bake.SETTINGS["language"] for name in words]
    command = ["git", "-C", ROOT, "log", "--format=", "--raw", "--no-abbrev", "--no-renames", "--no-color"]
    listing = subprocess.run([*command, "--", *places], capture_output=True, check=False).stdout.decode(
        "utf-8", "replace"
    )
    found = defaultdict(set)
    for line in listing.splitlines():
        facts, _, path = line.partition("\t")
        if path:
            name = path.rpartition("/")[2]
            found["doctor/words.toml" if name == "doctor.toml" else f"doctor/{name}"].add(facts.split()[3])
    return found


def look(doctors, words, folder):
    """Return what look.py says of a repository, as a dict."""
    command = [sys.executable, "-I", "-S", HERE / "look.py", doctors, words["language"]]
    command += [bake.SETTINGS["_version"], folder]
    try:
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False)
        return json.loads(result.stdout)
    except subprocess.TimeoutExpired:
        return {"cannot": words["too_long"].format(seconds=SECONDS)}
    except ValueError:
        last = result.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        return {"cannot": words["doctor_failed"].format(reason=" ".join(last))}


def row(name, seen, words):
    """Return the line of the table for one repository: texts and numbers, ready for every kind of table."""
    errors, warnings = (
        {step: seen.get(level, {}).get(str(step), 0) for step in STEPS} for level in ("errors", "warnings")
    )
    first = seen.get("first", {})
    verdict = "could_not_look" if "cannot" in seen else "wrong" if any(errors.values()) else "fine"
    cannot = (seen["cannot"] or words["no_repository"]) if "cannot" in seen else ""
    where = f"{first['place']}: " if first.get("place") else ""
    cure = f"{first['id']} {where}{first['title']}. {first['fix']}" if first.get("id") else cannot
    return {
        "student": printable(name),
        "verdict": verdict,
        "cure": printable(cure),
        "errors": errors,
        "warnings": warnings,
        "silenced": ", ".join(seen.get("silenced", ())),
        "files": printable(", ".join(seen.get("files", ()))),
        **{key: printable(seen.get(key, "")) for key in ("doctor", "commit", "date", "version")},
    }


def cell(value):
    """Return a value so that a spreadsheet takes it for what it is."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def as_csv(rows, words):
    """Return the table for a spreadsheet in this language."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=words["separator"])
    head = ["student", "verdict", "cure", "errors", "warnings", "silenced", "doctor", "files", "commit", "date"]
    by_step = [f"{words[level]} {step}" for level in ("errors", "warnings") for step in STEPS]
    writer.writerow([*(words[name] for name in (*head, "version")), *by_step])
    for line in rows:
        looked = line["verdict"] != "could_not_look"  # or nothing is known, and that is not 0
        texts = line | {level: sum(line[level].values()) if looked else "" for level in ("errors", "warnings")}
        texts |= {"verdict": words[line["verdict"]], "doctor": words.get(f"doctor_{line['doctor']}", "")}
        numbers = [number if looked else "" for level in ("errors", "warnings") for number in line[level].values()]
        writer.writerow([*(cell(texts[name]) for name in (*head, "version")), *numbers])
    return "\ufeff" + text.getvalue()


def as_html(rows, words):
    """Return the table as a web page that needs nothing else."""
    environment = Environment(autoescape=True, loader=FileSystemLoader(HERE), undefined=StrictUndefined)
    students = {step: sum(1 for line in rows if line["errors"][step]) for step in STEPS}
    template = environment.get_template("page.html")
    return template.render(rows=rows, words=words, counts=count(rows), students=students)


def count(rows):
    """Return {verdict: how many have it}."""
    found = Counter(line["verdict"] for line in rows)
    return {verdict: found[verdict] for verdict in ("fine", "wrong", "could_not_look")}


def write(file, text):
    """Write a file completely or not at all."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def run(words, out, table=None, page=None):
    """Look at every folder in OUT; print and write the table. Raises Refused, OSError."""
    if not out.is_dir():
        raise Refused(words["no_out"].format(out=out))
    folders = sorted(path for path in out.resolve().iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise Refused(words["empty_out"].format(out=out))
    for file in filter(None, (table, page)):
        if not file.resolve().parent.is_dir():
            raise Refused(words["no_parent"].format(file=file))
    with tempfile.TemporaryDirectory(prefix="doctors-") as doctors, ThreadPoolExecutor(AT_ONCE) as pool:
        make_doctors(Path(doctors))
        try:
            looks = pool.map(lambda folder: look(doctors, words, folder), folders)
            looks = track(looks, words["checking"], total=len(folders), console=Console(stderr=True))
            rows = [row(folder.name, seen, words) for folder, seen in zip(folders, looks, strict=True)]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for line in rows:
        if line["verdict"] != "fine" or line["doctor"] != "own":
            notes = [line["cure"], words[f"doctor_{line['doctor']}"] if line["doctor"] not in ("", "own") else ""]
            print(f"{line['student']}: {words[line['verdict']]}. {' '.join(filter(None, notes))}")
    print(words["checked"].format(total=len(rows), **count(rows)))
    if table:
        write(table, as_csv(rows, words))
    if page:
        write(page, as_html(rows, words))
