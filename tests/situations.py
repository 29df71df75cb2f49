"""What people do to their projects, and whether the doctor judges it rightly: python tests/situations.py writes the table.

A case of situations/*.toml is a change to a baked project (edits) or a small project of another kind (projects):
name, right ("error": it would not deploy, "warning": it would, but something is wrong, "quiet"), finds (the checks that
say so), and what is changed, in this order: copy, move, remove; write, binary (in base64), replace (file, text, by
what), append, prepend; encode; executable; forget (not committed any more). @24@ stands for 24 letters and digits, so
that no case looks like a secret to those who search for them.
"""

import base64
import json
import os
import re
import shutil
import sys
import tomllib
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import GIT, ROOT, SOURCES, Project, bake_into, call, write_part

LETTERS = "xK9mQ2vLp7RtY4wZ8nBc3JhG6fDs5AaEuVi1oTlMqNbPzX0yWkHjCgFr" * 2
# What the checks of a hundred are about.
KINDS = {
    "H1": "files and folders, pages",
    "H2": "packages",
    "H3": "the version of Python",
    "H4": "Procfile",
    "H5": "what the app imports and registers",
    "H6": "config vars and secrets",
    "H7": "app.json, pyproject.toml",
    "H8": ".slugignore",
    "H9": "database, migrations, code",
}
DEPLOYS = "it deploys: no error"


def cases():
    """Return all cases; kind says whose they are."""
    found = []
    for kind in ("edits", "projects"):
        for file in sorted((ROOT / "tests" / "situations").glob(f"{kind}*.toml")):
            text = file.read_text(encoding="utf-8")
            found += [case | {"kind": kind} for case in tomllib.loads(text)["case"]]
    return found


def expand(text):
    return re.sub(r"@(\d+)(U?)@", lambda m: letters(int(m[1]), m[2]), text)


def letters(count, upper):
    return LETTERS[:count].upper() if upper else LETTERS[:count]


def build(case, baked, folder):
    """Write a case into a folder that is not there yet, and commit it."""
    if case["kind"] == "edits":
        shutil.copytree(baked, folder, symlinks=True, ignore=SOURCES)
    else:
        folder.mkdir()
        git(folder, "init", "--quiet", "--template=")  # without its samples
    change(case, Project(folder, os.environ))
    for path in case.get("executable", ()):
        (folder / path).chmod(0o755)
    hidden = {path: (folder / path).read_bytes() for path in case.get("not_committed", ())}
    for path in hidden:
        (folder / path).unlink()
    git(folder, "add", "--all")
    if case.get("forget"):
        git(folder, "rm", "-r", "--quiet", "--cached", *case["forget"])
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "A case")
    for path, content in hidden.items():
        (folder / path).write_bytes(content)
    return folder


def change(case, project):
    for source, target in case.get("copy", {}).items():
        shutil.copy(project.path / source, project.path / target)
    for source, target in case.get("move", {}).items():
        # By way of another name: some systems do not tell capital letters from small ones.
        project.rename(source, "on the way")
        project.rename("on the way", target)
    for path in case.get("remove", ()):
        file = project.path / path
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    for path, text in case.get("write", {}).items():
        project.write(path, expand(text))
    for path, text in case.get("binary", {}).items():
        project.write(path, base64.b64decode(text))
    for path, old, by in case.get("replace", ()):
        before, found, after = project.read(path).partition(old)
        assert found, f"{case['name']}: {old!r} is not in {path}"
        project.write(path, before + expand(by) + after)
    for path, text in case.get("append", {}).items():
        project.append(path, expand(text))
    for path, text in case.get("prepend", {}).items():
        project.write(path, text + project.read(path))
    for path, encoding in case.get("encode", {}).items():
        project.recode(path, encoding)


def git(folder, *arguments):
    return call(*GIT, *arguments, cwd=folder)


def judged(case, findings):
    """Return "" where the doctor is right about a case, else what it says. findings: those of its JSON."""
    errors = {finding["id"] for finding in findings if finding["level"] == "error"}
    all_of_them = {finding["id"] for finding in findings}
    found = errors if case["right"] == "error" else all_of_them
    right = not errors if case["right"] != "error" else True
    if right and set(case.get("finds", ())) <= found:
        return ""
    return ", ".join(f"{f['level']} {f['id']} {f['file']} {f['title']}" for f in findings) or "nothing"


def look(project, folder):
    """Return the findings of a baked project's doctor."""
    result = call(sys.executable, "-m", "doctor", "--root", folder, "--json", cwd=project, check=False)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return json.loads(result.stdout)["findings"]


def score(project):
    """Return ({(kind, what): Counter}, [sentences about what is wrong])."""
    table, wrong = {}, []
    for number, case in enumerate(cases()):
        with TemporaryDirectory() as place:
            findings = look(project, build(case, project, Path(place, str(number))))
        fault = judged(case, findings)
        if fault:
            wrong.append(f"{case['name']} ({case['right']}): {fault}")
        kinds = {KINDS[id[:2]] for id in case.get("finds", ())} or {DEPLOYS}
        for kind in kinds:
            row = table.setdefault((case["kind"], kind), Counter())
            row["cases"] += 1
            row["right"] += not fault
    return table, wrong


def main():
    with TemporaryDirectory() as folder:
        table, wrong = score(bake_into(folder, os.environ, "case").path)
    rows = ["| | what students do to a baked project | small projects of other kinds |", "| --- | ---: | ---: |"]
    for kind in [*KINDS.values(), DEPLOYS]:
        cells = [table.get((whose, kind), Counter()) for whose in ("edits", "projects")]
        texts = [f"{row['right']} of {row['cases']}" if row["cases"] else "–" for row in cells]
        rows.append(f"| {kind} | {texts[0]} | {texts[1]} |")
    write_part("scores", "\n".join(rows) + "\n", "docs/doctor.md")
    print("\n".join([*rows, "", *wrong]))


if __name__ == "__main__":
    main()
