"""Asks the package index about packages and writes doctor/packages.json and doctor/versions.json: make facts.

Which modules a package has, what it brings along, which Pythons its versions are for, for some which versions of
others they want, and for some which names their modules have.

The packages are those of tests/packages.txt and all that they need. A wheel is not downloaded: its list of files is.
Those whose names are wanted are installed and asked.
"""

import io
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from email.parser import BytesParser
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from pip._internal.models.index import PyPI

from lab import CHOICES, NEWEST_PYTHON, TEMPLATE

INDEX = PyPI.pypi_url + "/{name}/json"
NAMES = Path(__file__).with_name("packages.txt")
FACTS = TEMPLATE / "doctor"
# What each file has, and what it says of that.
ABOUT = {
    "packages.json": (
        ("modules", "brings"),
        "modules: what a package is imported by, where that is not its name. brings: what it needs.",
    ),
    "versions.json": (
        ("pythons", "wants", "versions", "names"),
        "pythons: from which version on a package is for some of the platform's Pythons only. "
        + "wants: from which version on it wants which versions of another. versions: all that there are, of some. "
        + "names: what a module, or what a class makes, has in the version that stands first.",
    ),
}
ABOUT_ALL = "Facts about packages, as the index had them on this day; written by the template's `make facts`."
# What a dyno is: requirements with other marks are not for it.
DYNO = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "python_version": NEWEST_PYTHON}
DYNO |= {"python_full_version": f"{NEWEST_PYTHON}.0", "platform_machine": "x86_64", "implementation_name": "cpython"}
DYNO |= {"platform_python_implementation": "CPython", "extra": ""}
PYTHONS = ["3.10", *sorted(set(CHOICES["python_version"]) - {"auto"})]
# Whose versions are asked one by one what they want: those that people pin beside what they need.
ASKED_ONE_BY_ONE = {
    *("aiogram", "alembic", "black", "celery", "dash", "django-allauth", "djangorestframework"),
    *("fastapi", "flask", "flask-admin", "flask-login", "flask-migrate", "flask-socketio", "flask-sqlalchemy"),
    *("flask-wtf", "gradio", "httpcore", "httpx", "jinja2", "kombu", "matplotlib"),
    *("numba", "pandas", "pydantic", "python-socketio", "python-telegram-bot", "requests", "scikit-learn"),
    *("scipy", "seaborn", "spacy", "sqlalchemy-utils", "starlette", "streamlit", "tensorflow"),
    *("transformers", "uvicorn", "werkzeug"),
}
# Others whose versions people type by hand, or take from an old answer.
PINNED = {
    *("gunicorn", "psycopg2", "psycopg2-binary", "psycopg", "sqlalchemy", "numpy", "django", "click", "itsdangerous"),
    *(
        "markupsafe",
        "waitress",
        "granian",
        "whitenoise",
        "dj-database-url",
        "python-dotenv",
        "pillow",
        "gevent",
        "eventlet",
    ),
    *("redis", "beautifulsoup4", "lxml", "pymongo", "nltk", "torch", "opencv-python-headless", "discord-py"),
}
# Modules and classes whose names are told apart, by the packages that they are of.
NAMED = {
    "flask": ["flask", "flask.Flask", "flask.Blueprint", "flask.Flask.config"],
    "flask-sqlalchemy": ["flask_sqlalchemy", "flask_sqlalchemy.SQLAlchemy"],
    "sqlalchemy": ["sqlalchemy", "sqlalchemy.orm", "sqlalchemy.exc"],
    "flask-login": ["flask_login", "flask_login.LoginManager"],
    "flask-wtf": ["flask_wtf", "flask_wtf.csrf", "flask_wtf.file"],
    "wtforms": ["wtforms", "wtforms.fields", "wtforms.validators"],
    "flask-migrate": ["flask_migrate"],
    "flask-mail": ["flask_mail"],
    "flask-cors": ["flask_cors"],
    "flask-bcrypt": ["flask_bcrypt"],
    "werkzeug": ["werkzeug", "werkzeug.exceptions", "werkzeug.security", "werkzeug.utils"],
    "python-dotenv": ["dotenv"],
    "fastapi": ["fastapi", "fastapi.FastAPI", "fastapi.responses"],
    "pydantic": ["pydantic"],
    "requests": ["requests"],
}
# Each of those by its words: a module, else what a class of it makes, else an attribute of that.
ASK_NAMES = """
import importlib, importlib.metadata as metadata, json, sys
found = {}
for package, wanted in json.loads(sys.argv[1]).items():
    for name in wanted:
        parts, rest = name.split("."), []
        while True:
            try:
                thing = importlib.import_module(".".join(parts))
                break
            except ModuleNotFoundError:
                rest.insert(0, parts.pop())
        for part in rest:
            thing = getattr(thing, part)
            if isinstance(thing, type):
                of_flask = {"Flask": ("x",), "Blueprint": ("x", "x")}
                thing = thing(*of_flask.get(thing.__name__, ()))
        own = sorted(n for n in dir(thing) if not n.startswith("_"))
        found[name] = [f"{package} {metadata.version(package)}", *own]
print(json.dumps(found))
"""
OLDEST = "2019"  # what was released before is not asked one by one
MOST = 12  # modules of one package; more are a shared folder's
# Folders in a wheel that are no modules anybody means.
ASIDE = re.compile(r"(tests?|docs?|examples?|benchmarks?|scripts|tools|samples)$")


OTHER_SYSTEM = re.compile(r"win32|win_|win-|macosx|\.exe$|\.msi$|\.dmg$")


class Remote(io.RawIOBase):
    """A file on a server, read in pieces."""

    def __init__(self, url):
        self.url, self.place = url, 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
            self.size = int(answer.headers["Content-Length"])

    def seekable(self):
        return True

    def readable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        return self.place

    def tell(self):
        return self.place

    def readinto(self, buffer):
        end = min(self.place + len(buffer), self.size)
        if self.place >= end:
            return 0
        head = {"Range": f"bytes={self.place}-{end - 1}"}
        with urllib.request.urlopen(urllib.request.Request(self.url, headers=head), timeout=60) as answer:
            data = answer.read()
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


def asked(name):
    """Return what the index knows of a package's newest version."""
    with urllib.request.urlopen(INDEX.format(name=name), timeout=60) as answer:
        return json.load(answer)


def ask(name):
    """Return (name, its modules, the names of what it needs, its Pythons, what its versions want, its versions)."""
    base, _, extra = name.partition("[")
    known = asked(base)
    wheels = [file for file in known["urls"] if file["packagetype"] == "bdist_wheel"]
    wheels.sort(key=lambda file: ("manylinux" not in file["filename"], "any" not in file["filename"], file["size"]))
    if wheels:
        remote = Remote(urljoin(INDEX.format(name=base), wheels[0]["url"]))
        found, needs = modules(io.BufferedReader(remote, 1 << 16)), known["info"]["requires_dist"] or ()
    else:
        found, needs = built(base)
    needs = needs if needs is None else sorted(set(map(canonicalize_name, needed(needs, extra.rstrip("]")))))
    wants = wanted(base, known["releases"]) if name in ASKED_ONE_BY_ONE else {}
    all_of_them = versions(known["releases"]) if name in {*ASKED_ONE_BY_ONE, *NAMED, *PINNED} else ""
    return name, found[:MOST], needs, pythons(known["releases"]), wants, all_of_them


def needed(texts, extra):
    """Yield the names of the requirements that hold on a dyno, and what their own extras add: kombu[redis]."""
    for text in texts:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(DYNO | {"extra": extra}):
            yield requirement.name
            if requirement.extras:
                theirs = asked(requirement.name)["info"]["requires_dist"] or ()
                plain_ones = set(needed(theirs, ""))
                for inner in requirement.extras:
                    yield from set(needed(theirs, inner)) - plain_ones


def built(name):
    """Return (modules, requirements) of a package without a wheel, ([], None) where none can be built of it.

    It may tell what it needs at its installation only.
    """
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, name]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(pip, check=False, stderr=subprocess.DEVNULL, timeout=120)
        for file in Path(folder).glob("*.whl"):
            with zipfile.ZipFile(file) as wheel:
                text = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")))
            message = BytesParser().parsebytes(text, headersonly=True)
            return modules(file), message.get_all("Requires-Dist", ())
    return [], None


def final(releases):
    """Return [(Version, its files)] of what pip would take, in order."""
    found = []
    for text, files in releases.items():
        with suppress(InvalidVersion):
            version = Version(text)
            files = [file for file in files if not file["yanked"]]
            if files and not (version.is_prerelease or version.is_postrelease or version.local):
                found.append((version, files))
    return sorted(found, key=lambda one: one[0])


def changes(rows):
    """Return "version text" for each of [(version, text)] whose text is not that of the one before."""
    found, last = [], ""
    for version, text in rows:
        if text != last:
            found.append(f"{version} {text}".strip())
        last = text
    return found


def pythons(releases):
    """Return from which version on a package is not for all PYTHONS, and for which it is then."""
    rows = []
    for version, files in final(releases):
        try:
            spec = SpecifierSet(files[-1]["requires_python"] or "")
        except InvalidSpecifier:
            continue
        if not any(file["packagetype"] == "sdist" or not OTHER_SYSTEM.search(file["filename"]) for file in files):
            continue  # the doctor knows those by their names
        fit = [python for python in PYTHONS if spec.contains(f"{python}.9") and has_file_for(python, files)]
        clauses = []
        if not fit:
            clauses = [f"<{PYTHONS[0]}"] if spec.contains("3.6.9") or spec.contains("2.7.9") else [f">{PYTHONS[-1]}"]
        else:
            clauses += [f">={fit[0]}"] if fit[0] != PYTHONS[0] else []
            after = PYTHONS[PYTHONS.index(fit[-1]) + 1 :]
            clauses += [f"<{after[0]}"] if after else []
        rows.append((version, ",".join(clauses)))
    return changes(rows)


def has_file_for(python, files):
    """Tell whether pip finds something to install under a Python on a dyno: a source, or a wheel that fits."""
    if any(file["packagetype"] == "sdist" for file in files):
        return True
    newest = int(python.partition(".")[2])
    for file in files:
        with suppress(InvalidWheelFilename):
            for tag in parse_wheel_filename(file["filename"])[3]:
                number = re.fullmatch(r"(cp|py)3(\d*)", tag.interpreter)
                minor = int(number[2] or 0) if number else 99
                any_later = tag.abi in ("abi3", "none")
                here = tag.platform == "any" or re.fullmatch(r"(many)?linux.*_x86_64", tag.platform)
                if here and (minor == newest or any_later and minor <= newest):
                    return True
    return False


def versions(releases):
    """Return all versions that are not for a try, as one text."""
    found = set()
    for text, files in releases.items():
        with suppress(InvalidVersion):
            version = Version(text)
            if files and not version.is_prerelease:
                found.add(version)
    return " ".join(map(str, sorted(found)))


def wanted(name, releases):
    """Return {package: from which version on which versions of it are wanted}."""
    rows = {}
    for version, files in final(releases):
        wheels = [file for file in files if file["packagetype"] == "bdist_wheel"]
        if not wheels or files[0]["upload_time"] < OLDEST:
            continue
        texts = requires_dist(urljoin(INDEX.format(name=name), wheels[0]["url"]))
        # What it wants under some Pythons only is left out.
        each = [wants_under(python, texts) for python in PYTHONS]
        here = {other: spec for other, spec in each[0].items() if all(one.get(other) == spec for one in each)}
        for other in {*rows, *here}:
            rows.setdefault(other, []).append((version, here.get(other, "")))
    return {other: found for other, of in sorted(rows.items()) if (found := changes(of))}


def wants_under(python, texts):
    """Return {package: which versions} of the requirements that hold under a Python."""
    found = {}
    for text in texts:
        with suppress(InvalidRequirement):  # as some wrote them before the index looked
            requirement = Requirement(text)
            marks = DYNO | {"python_version": python, "python_full_version": f"{python}.0"}
            if requirement.marker is None or requirement.marker.evaluate(marks):
                found[canonicalize_name(requirement.name)] = plain(requirement.specifier)
    return found


def requires_dist(url):
    """Return what a wheel says it needs; the index has that beside most of them.

    https://packaging.python.org/en/latest/specifications/simple-repository-api/, "Serving distribution metadata"
    """
    try:
        with urllib.request.urlopen(f"{url}.metadata", timeout=60) as answer:
            text = answer.read()
    except HTTPError as error:
        if error.code != 404:
            raise
        with zipfile.ZipFile(io.BufferedReader(Remote(url), 1 << 16)) as wheel:
            text = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")))
    return BytesParser().parsebytes(text, headersonly=True).get_all("Requires-Dist", ())


def plain(specifiers):
    """Return specifiers in the few signs that the doctor reads: "~=2.1" as ">=2.1,<3"; "!=" is left out."""
    found = []
    for one in specifiers:
        numbers = one.version.removesuffix(".*")
        if one.operator == "~=":
            parts = Version(numbers).release
            found += [f">={numbers}", f"<{'.'.join(map(str, (*parts[:-2], parts[-2] + 1)))}"]
        elif one.operator in ("==", "<", "<=", ">", ">="):
            found.append(f"{one.operator}{numbers}")
    return ",".join(sorted(found))


def modules(file):
    """Return the names that a wheel can be imported by; "google.auth" for one inside of a shared folder."""
    with zipfile.ZipFile(file) as wheel:
        names = wheel.namelist()
    names = [re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", name) for name in names]
    found = set()
    for name in names:
        first, _, rest = name.partition("/")
        if rest and f"{first}/__init__.py" in names and not first.endswith((".dist-info", ".libs", ".data")):
            found.add(first)
        elif rest and first.isidentifier() and name.endswith("/__init__.py"):
            found.add(".".join(name.split("/")[:2]))
        elif not rest and (match := re.fullmatch(r"(\w+)(\.cpython\S*|\.abi3)?\.(py|so)", first)):
            found.add(match[1])
    return sorted(name for name in found if not ASIDE.search(name))


def names():
    """Return {module or class: ["package version", its names]} of NAMED, as they are in the newest versions."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = next(Path(folder).glob("[bS]*/python*"))
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NAMED], check=True)
        asked = subprocess.run([python, "-c", ASK_NAMES, json.dumps(NAMED)], check=True, stdout=subprocess.PIPE)
    return json.loads(asked.stdout)


def main():
    waiting = {
        line.strip() for line in NAMES.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"
    }
    known, failed = {}, []
    with ThreadPoolExecutor(8) as pool:
        while waiting:
            futures = {name: pool.submit(ask, name) for name in sorted(waiting)}
            for name, future in futures.items():
                try:
                    known[name] = future.result()[1:]
                except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                    failed.append(f"{name}: {error}")
            waiting = (
                {need for _, needs, *_ in known.values() for need in needs or ()}
                - set(known)
                - {f.partition(":")[0] for f in failed}
            )
            print(f"{len(known)} packages, {len(waiting)} more", file=sys.stderr, flush=True)
    write(known, names())
    print("\n".join(failed), file=sys.stderr)


def write(known, named):
    """Write the facts, a line a package."""
    parts = {"modules": {}, "brings": {}, "pythons": {}, "wants": {}, "versions": {}}
    for name, (found, needs, rows, wants, all_of_them) in sorted(known.items()):
        same = name.partition("[")[0].replace("-", "_")
        if found and found != [same] and "[" not in name:
            parts["modules"][name] = found
        if needs is not None:
            parts["brings"][name] = needs
        if rows:
            parts["pythons"][name] = rows
        if wants:
            parts["wants"][name] = wants
        if all_of_them:
            parts["versions"][name] = all_of_them
    parts["names"] = named
    write_files(parts)


def write_files(parts):
    """Write {title: rows} into the files that hold them."""
    for file, (titles, about) in ABOUT.items():
        lines = [f'"about": {json.dumps(f"{ABOUT_ALL} {about}")}', f'"date": "{date.today():%Y-%m}"']
        for title in titles:
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in parts[title].items())
            lines.append(f"{json.dumps(title)}: {{\n{inner}\n}}")
        (FACTS / file).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
