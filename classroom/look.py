"""Look at one repository with a trusted doctor: python -I -S look.py DOCTORS LANGUAGE VERSION FOLDER.

DOCTORS has a baked project for each language, and what an unedited doctor looks like in originals.json. This is a process of its own, which imports nothing but Python and
that doctor: nothing of the repository runs, and whatever becomes of this process, the others go on. One JSON object is
printed; where the doctor could not look it has "cannot", a sentence, empty for what is no repository.
"""

import datetime
import gc
import json
import os
import re
import sys
import tomllib
from collections import Counter
from hashlib import sha1
from pathlib import Path

SECONDS = 8  # for the whole look
LARGEST = 1_000_000  # bytes; no file of a doctor is as large


def blob(content):
    """Return git's id of a file of the doctor, as the template has it."""
    content = content.replace(b"\r\n", b"\n")
    # What stands above the words in words.toml is the project's own.
    content = re.sub(rb"\Atemplate = .*\n(template_address = .*\n)?\n", b"", content)
    return sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def version_of(project):
    """Return the version of the template that a project says it has come from, "" where it says none."""
    try:
        version = tomllib.loads(project.text("doctor/words.toml")).get("template")
    except (ValueError, RecursionError):  # also of a number with 5,000 digits
        return ""
    return version if isinstance(version, str) and re.fullmatch(r"[0-9][0-9.]{0,15}", version) else ""


def read_doctor(project, paths):
    """Read also what the limits for all files together have left out."""
    left = [path for path in paths - project.contents.keys() if project.is_file(path)]
    left = [path for path in left if project.sizes[path] <= LARGEST]
    if left and project.in_git:
        with project.repository as git:
            project.contents |= zip(left, git.contents([project.hashes[path] for path in left]), strict=True)


def compared(project, originals, version):
    """Return (what the project's own doctor is: "own", "edited", "missing" or of an "other" version, changed files)."""
    own = {path for path in project.sizes if path.startswith("doctor/")}
    if not own:
        return "missing", []
    read_doctor(project, own & originals["blobs"].keys())
    changed = {path for path in own if blob(project.contents.get(path, b"")) not in originals["blobs"].get(path, ())}
    if version_of(project) not in ("", version):  # whether that is true, nobody can tell
        return ("other" if changed else "own"), sorted(changed)
    files = sorted(changed | set(originals["names"]) - own)
    return "edited" if files else "own", files


def last_commit(project):
    """Return (hash, date in UTC) of the commit that was looked at, empty where there is none."""
    if not project.in_git:
        return "", ""
    with project.repository as git:
        header = git.ask("cat-file", "commit", project.repository.head).partition(b"\n\n")[0]
    seconds = re.search(rb"(?m)^committer .*> ([0-9]{1,11}) [+-][0-9]{4}$", header)
    try:
        date = datetime.datetime.fromtimestamp(int(seconds[1]), datetime.UTC) if seconds else None
    except (OSError, OverflowError, ValueError):
        date = None
    return project.repository.head[:7], f"{date:%Y-%m-%d %H:%M}" if date else "?"


def is_plain(folder):
    """Tell whether a folder is a repository in itself, and not a door to another one."""
    git = folder / ".git"
    # Each of these names another place, whose objects git would take for this one's.
    names = ("commondir", "objects/info/alternates", "objects/info/http-alternates")
    if folder.is_symlink() or git.is_symlink() or any(os.path.lexists(git / name) for name in names):
        return False
    read = (git / name for name in ("HEAD", "packed-refs", "config", "objects", "refs", "info"))
    return (git / "HEAD").is_file() and not any(holds_link(path) for path in read)


def holds_link(path):
    """Tell whether a file or folder is a link, or has one somewhere in it."""
    inner = (Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files))
    return path.is_symlink() or any(map(os.path.islink, inner))


def look(doctor, originals, version, folder):
    """Return what is known of the repository. Raises what the doctor raises."""
    if not is_plain(folder):
        return {"cannot": ""}
    result = doctor.look(folder)
    project = result.project
    # What its owner has silenced counts like the rest.
    silenced = [finding for finding, _ in result.silenced]
    findings = doctor.report.worst_first([*result.findings, *silenced])
    commit, date = last_commit(project)
    doctors, files = compared(project, originals, version)
    first = doctor.report.as_dict(findings[0]) if findings else {}
    return {
        "errors": Counter(finding.step for finding in findings if finding.level == "error"),
        "warnings": Counter(finding.step for finding in findings if finding.level == "warning"),
        "first": first | {"place": doctor.report.place(findings[0]) if findings else ""},
        "silenced": sorted({finding.id for finding in silenced}),
        "doctor": doctors,
        "files": files,
        "commit": commit,
        "date": date,
        "version": version_of(project),
    }


def main(doctors, language, version, folder):
    """Print what is known of the repository in a folder."""
    gc.disable()  # as the doctor itself does: all stays until the end
    originals = json.loads((Path(doctors) / "originals.json").read_text(encoding="utf-8"))
    sys.path.insert(0, str(Path(doctors) / language))
    from doctor import __main__ as doctor
    from doctor import installed, repository

    # What a repository says of itself that it has installed is no evidence.
    installed.ENVIRONMENTS = ()
    # What is not pushed does not count here, and to look for it takes git two more calls.
    repository.Repository.unpushed = lambda *_: []
    try:
        with doctor.deadline(SECONDS):
            seen = look(doctor, originals, version, Path(folder))
    except (doctor.CannotCheck, OSError, doctor.subprocess.SubprocessError) as error:
        seen = {"cannot": doctor.cannot(error)}
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
