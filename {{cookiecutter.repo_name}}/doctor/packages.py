"""Checks of the lists of packages and of the Python version (steps 1 and 13 of the guide)."""

import ast
import json
import posixpath
import re
import tomllib

from doctor import FACTS, check
from doctor.files import once, plain_utf8
from doctor.lists import asked, locked, logical_lines, normal, parse, pipfile
from doctor.project import as_dict, several
from doctor.trees import strings
from doctor.versions import fits, in_force, numbers

PACKAGES, PYTHON = FACTS["packages"], FACTS["python"]
FLAT = FACTS["flat"]
OFFERED = ", ".join(PYTHON["offered"])
NEWEST = PYTHON["offered"][-1]
# https://github.com/heroku/heroku-buildpack-python, lib/python_version.sh
# There, numbers may be longer; there are none.
VERSION = r"((?:0|[1-9]\d?)\.(?:0|[1-9]\d?))(?:\.(0|[1-9]\d{0,2}))?"
# What sed's [[:space:]] is there: no spaces that hold words together.
AROUND = re.compile(r"^[^\S\xa0\u2007\u202f]+|[^\S\xa0\u2007\u202f]+$")


def misspelt(project):
    """Yield the files in the root that are nearly called requirements.txt."""
    for name in sorted(project.in_root()):
        letters = re.sub(r"[^a-z]", "", name.lower())
        wrong = letters in PACKAGES["misspelt"] or letters == "requirementstxt"
        if (
            wrong
            and name in project
            and name not in ("requirements.txt", "requirements.in")
        ):
            yield name


@check("H201", step=13)
def one_list_of_packages(project):
    """The build takes exactly one; a Pipfile without its lock counts as a mistake of its own."""
    found = [
        name
        for name in PACKAGES["lists"]
        if name in project and name not in project.slugignored
    ]
    if project.is_container or project.is_rearranged:
        return
    if project.is_named_by_a_hook(*PACKAGES["lists"]):
        return
    if "Pipfile" in project and "Pipfile.lock" not in project:
        yield "Pipfile", 0, {"found": ", ".join(["Pipfile", *found])}
    elif len(found) > 1:
        yield found[1], 0, {"found": ", ".join(found)}
    elif not (
        found
        or list(misspelt(project))
        or project.above
        or list_on_disk(project)
        or project.is_for_node
    ):
        others = [name for name in ("setup.py", "pyproject.toml") if name in project]
        yield "", 0, {"found": ", ".join(others) or "–"}


def lists_in(project):
    """Return the lists of packages that are pushed; the build takes exactly one."""
    return [name for name in PACKAGES["lists"] if name in project]


def list_on_disk(project):
    """Tell whether there is a list that is not pushed, which H103 names."""
    return any(project.in_folder(name) for name in PACKAGES["lists"])


@check("H202", step=13)
def name_of_the_list(project):
    if not any(name in project for name in PACKAGES["lists"]):
        for name in misspelt(project):
            yield name, 0, {"name": name}


@check("H203", step=13)
def encoding_of_the_list(project):
    """As pip reads it: by a byte-order mark, else as UTF-8."""
    for file in dict.fromkeys(["requirements.txt", *project.list.files]):
        content = project.contents.get(file, b"")
        marked = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        try:
            content.decode("utf-16" if marked else "utf-8")
            readable = marked or b"\0" not in content
        except UnicodeDecodeError as error:
            readable, start = (
                re.match(rb"#.*coding[:=]", content) is not None,
                error.start,
            )
            if not readable:
                yield file, content[:start].count(b"\n") + 1, {"name": file}
                continue
        if not readable:
            yield file, 1, {"name": file}


@check("H209", step=13)
def line_that_pip_refuses(project):
    if list(encoding_of_the_list(project)):
        return
    told = 0
    for line in project.list.lines:
        conflict = re.match(r"<{7}|>{7}|={7}$", line.text)
        if not line.kind and not conflict and told < 3:
            told += 1
            yield line.file, line.number, {"line": line.text[:80]}
    # Heroku CI reads this one as well, and a push does not.
    file = "requirements-test.txt"
    for number, text in logical_lines(project.text(file)):
        if not parse(file, number, text).kind and file not in project.list.files:
            yield file, number, {"line": text[:80]}, "warning"
            return


@check("H210", step=13)
def list_that_is_not_there(project):
    for line in project.list.lines:
        pass  # reads them all
    for file, number, name in project.list.missing:
        yield file, number, {"name": name}


@check("H211", step=13)
def pins_against_each_other(project):
    """One package twice, or what another one wants otherwise; hashes on some lines only."""
    pins, hashed = {}, [line for line in project.list.lines if line.hashed]
    yield from against_constraints(project)
    for line in project.list.lines:
        if line.pin and project.list.holds(line):
            name, pin = normal(line.name), line.pin
            first = pins.setdefault(name, line)
            versions = [re.sub(r"(\.0)+$", "", p) for p in (first.pin, pin)]
            if numbers(versions[0]) != numbers(versions[1]):
                what = f"{name}=={first.pin}, {name}=={pin}"
                yield line.file, line.number, {"what": what}
        bare = line.kind == "package" and not line.hashed
        if hashed and bare and project.list.holds(line) is not False:
            yield line.file, line.number, {"what": f"{line.text[:60]} (--hash)"}
            return

    for name, line in project.list.pinned.items():
        for other, rows in FACTS["wants"].get(name, {}).items():
            theirs = project.list.pinned.get(other)
            spec = in_force(rows, line.pin)
            if theirs and not fits(numbers(theirs.pin), spec):
                what = f"{name}=={line.pin} ({other}{spec}), {other}=={theirs.pin}"
                yield line.file, line.number, {"what": what}


def against_constraints(project):
    """Yield the pins that a file named by -c forbids."""
    for line in project.list.constraints:
        mine = project.list.pinned.get(normal(line.name))
        spec = re.sub(r"[\s()]", "", line.spec)
        plain = re.fullmatch(r"((==|<=|>=|<|>)\d+(\.\d+)*,?)+", spec)
        holds = plain and project.list.holds(line)
        if mine and holds and not fits(numbers(mine.pin), spec):
            what = f"{mine.name}=={mine.pin}, {line.file}: {line.text[:60]}"
            yield mine.file, mine.number, {"what": what}


@check("H228", step=13)
def variable_that_pip_does_not_get(project):
    """pip fills in ${NAME} where it is set, and the build gives it none of the config vars.

    https://github.com/heroku/heroku-buildpack-python, lib/pip.sh; other buildpacks may set one.
    """
    others = [name for name in project.buildpacks if "python" not in name]
    # A hook may fill them in, as `sed -i` does.
    hook = "requirements" in project.text("bin/pre_compile")
    of_index = re.compile(r"(-i|--index-url|--extra-index-url)\b")
    for line in () if hook else project.list.lines:
        option = line.kind == "option" and not of_index.match(line.text)
        if option or project.list.holds(line) is False:
            continue
        names = set(re.findall(r"\$\{([A-Z0-9_]+)\}", line.text))
        if unknown := sorted(names - {*PACKAGES["set_in_build"]}):
            details = {"names": ", ".join(unknown)}
            yield line.file, line.number, details, "warning" if others else "error"


@check("H226", step=13)
def version_that_there_is_not(project):
    """A pin that no release has; what may have come out since the facts were made is not known."""
    for name, line in project.list.pinned.items():
        texts = FACTS["versions"].get(name, "").split()
        known = [] if line.pin in texts else [numbers(text) for text in texts]
        wanted = without_zeros(numbers(line.pin))
        if known and wanted not in map(without_zeros, known) and "post" not in line.pin:
            older = [version for version in known if version < wanted]
            newest = known[-1]
            # A first number that is a year may be a new way to count.
            far = newest[0] + 4 < wanted[0] < 18
            level = "error" if far or wanted < newest[:2] else "warning"
            near = ".".join(map(str, newest if far or not older else older[-1]))
            yield line.file, line.number, {"what": line.text[:80], "near": near}, level


def without_zeros(version):
    """Return a version's numbers without the last zeros: 3.1.0 is 3.1."""
    while version[-1:] == (0,):
        version = version[:-1]
    return version


@check("H207", step=13)
def package_only_here(project):
    """What is on no index, or not for Linux, or not pushed."""
    options = " ".join(ln.text for ln in project.list.lines if ln.kind == "option")
    others = re.search(r"index|-f\b|-i\b|find-links", options) or "PIP_" in str(
        project.app_env
    )
    for line in project.list.lines:
        name, shown = normal(line.name), {"line": line.text[:80]}
        holds = project.list.holds(line)
        if holds is False or holds is None and name in PACKAGES["windows_only"]:
            continue
        elsewhere = PACKAGES["not_on_index"].get(name)
        # The index takes no version with a "+": it came from another one, or was built here.
        local = re.search(
            r"ubuntu|build|deb\d" if others else r"ubuntu|build|deb\d|\+", line.pin
        )
        if (
            line.kind == "package"
            and (
                name in PACKAGES["windows_only"]
                or re.fullmatch(PACKAGES["mac_only"], name)
                or (elsewhere is not None and elsewhere in ("", line.pin))
                or local
            )
            or re.match(r"file:|git\+(ssh|git|file):|(git|hg|svn|bzr)\+ssh:", line.url)
            or re.search(r"git\+ssh://|git@[\w.]+:|@\s*file:", line.text)
            or line.kind == "path"
            and not there(project, line)
        ):
            yield line.file, line.number, shown


def there(project, line):
    """Tell whether a path of a list is pushed, with what makes it a package."""
    path = line.url.replace("\\", "/")
    if re.match(r"/|[A-Za-z]:|~", path) or "\\" in line.url:
        return False
    path = posixpath.normpath(path)  # from the folder that pip runs in, not the list's
    if path in project:
        return True
    base = "" if path == "." else f"{path}/"
    return any(
        f"{base}{name}" in project
        for name in ("pyproject.toml", "setup.py", "setup.cfg")
    )


@check("H220", step=13)
def not_for_this_python(project):
    found = for_other_pythons(project)
    if found and not list(python_not_offered(project)):
        line = found[0][0]
        what = several([f"{what} ({wanted})" for _, what, wanted in found])
        yield line.file, line.number, {"what": what, "python": newest_python(project)}


@once
def for_other_pythons(project):
    """Return [(Line, what it installs, the Pythons that this is for)]: pins, and the project itself."""
    python, own = project.list.python, project.list.own
    found = [
        (
            line,
            f"{name}=={line.pin}",
            in_force(FACTS["pythons"].get(name, ()), line.pin),
        )
        for name, line in project.list.pinned.items()
    ]
    if own:
        asked = requires_python(project).replace(" ", "")
        found.append((own, own.text, ",".join(re.findall(r"[<>]=?[\d.]+", asked))))
    return [
        (line, what, spec)
        for line, what, spec in found
        if not fits_some_patch(python, spec)
    ]


def fits_some_patch(python, spec):
    """Tell whether a version such as 3.13, of which the platform takes the newest patch, may fit."""
    return fits(python, spec) or len(python) == 2 and fits((*python, 99), spec)


@check("H222", step=13)
def several_packages_of_its_own(project):
    """The project installs itself, and setuptools has to guess what of it is the package.

    https://setuptools.pypa.io/en/latest/userguide/package_discovery.html#flat-layout
    """
    own = project.list.own
    build, tools = (
        project.settings("build-system"),
        project.settings("tool", "setuptools"),
    )
    told = {"packages", "py-modules"} & {*tools} or any(
        re.search(r"\b(packages|py_modules)\b", project.text(file))
        for file in ("setup.cfg", "setup.py")
    )
    other = not str(build.get("build-backend", "setuptools")).startswith("setuptools")
    if own is None or told or other or project.has_folder("src"):
        return
    folders = {path.partition("/")[0] for path in project.sizes if "/" in path}
    modules = {path[:-3] for path in project.in_root() if path.endswith(".py")}
    for names in (folders - {*FLAT["folders"]}, modules - {*FLAT["modules"]}):
        found = [n for n in sorted(names) if n.isidentifier() and n[0] != "_"]
        if len(found) > 1:
            yield own.file, own.number, {"names": several(found)}
        if found:
            return


@check("H223", step=13)
def poetry_finds_no_package(project):
    """Poetry installs the project itself as well, unless it is told that it is no package.

    https://python-poetry.org/docs/basic-usage/#operating-modes
    """
    own, tool = project.settings("project"), project.settings("tool", "poetry")
    name = re.sub(
        r"[-_.]+", "_", str(own.get("name") or tool.get("name") or "")
    ).lower()
    told = tool.get("package-mode") is False or tool.keys() & {"packages", "include"}
    places = (f"{base}{name}" for base in ("", "src/"))
    there = any(project.has_folder(p) or f"{p}.py" in project for p in places)
    only = lists_in(project) == ["poetry.lock"]
    if only and name and not told and not there:
        yield "pyproject.toml", 0, {"name": name}


def built_here(project):
    """Return the folders, "" for the root, whose own package the build makes."""
    paths = [line.url for line in project.list.lines if line.kind == "path"]
    found = {posixpath.normpath(path.replace("\\", "/")) for path in paths}
    only = lists_in(project)
    poetry = project.settings("tool", "poetry").get("package-mode") is not False
    uv = project.settings("tool", "uv").get("package", True) is not False
    uv = uv and project.settings("build-system")
    if only == ["poetry.lock"] and poetry or only == ["uv.lock"] and uv:
        found.add(".")
    return {"" if path == "." else f"{path}/" for path in found}


def read_by_the_build(project):
    """Yield (file, what it reads) of packages that the build makes: what setup.py and pyproject.toml name.

    setuptools warns of a readme that is not there; all other builders stop, and so does open() of setup.py.
    """
    for folder in sorted(built_here(project)):
        file = f"{folder}pyproject.toml"
        try:
            whole = tomllib.loads(project.text(file))
        except (ValueError, RecursionError):  # pip says so
            whole = {}
        own = [whole.get("project"), as_dict(whole.get("tool")).get("poetry")]
        readmes = [as_dict(table).get("readme") for table in own]
        builder = as_dict(whole.get("build-system")).get("build-backend")
        for readme in readmes if builder and "setuptools" not in str(builder) else ():
            name = as_dict(readme).get("file") or readme
            if isinstance(name, str):
                yield file, posixpath.normpath(f"{folder}{name}")
        file = f"{folder}setup.py"
        for node in project.trees[file].body if file in project.trees else ():
            if not isinstance(node, (ast.Try, ast.If)):
                for name in strings(node):
                    if re.fullmatch(r"[\w./-]+\.(md|rst|txt)", name):
                        yield file, posixpath.normpath(f"{folder}{name}")


@check("H229", step=13)
def file_that_the_build_wants(project):
    """readme = "README.md" of a package that the build makes, and no such file is pushed."""
    for file, name in read_by_the_build(project):
        if name not in project and not name.startswith(("/", "..")):
            level = "warning" if file.endswith("setup.py") else "error"
            yield file, 0, {"file": file, "name": name}, level


@check("H205", step=13, level="warning")
def heavy_and_unused(project):
    # Where there is a list of direct packages, the others are brought by those.
    direct = project.list.asked_for
    found = set(PACKAGES["heavy"]) & set(direct)
    if not found or project.unknown_needs:
        return  # one of the others may need it
    names = set()
    for path in project.trees:
        for node in project.imports_in(path):
            modules = [alias.name for alias in getattr(node, "names", ())]
            module = getattr(node, "module", None)
            names |= (
                {module.partition(".")[0]}
                if module
                else {m.partition(".")[0] for m in modules}
            )
    if names & set(PACKAGES["unpickles"]):
        return  # what is unpickled needs packages that nothing names
    used = set().union(*(project.owners_of(name) for name in names))
    used |= {normal(name) for name in names}
    for other in direct:
        used |= set(FACTS["brings"].get(other, ()))
    for package in sorted(found - used):
        line = direct[package]
        yield line.file, line.number, {"package": package}


@check("H208", step=7)
def no_driver(project):
    have, sure, _ = project.available
    uses = {"sqlalchemy", "flask-sqlalchemy"} & set(project.list.packages)
    wanted = "DATABASE_URL" in project.constants
    known = (
        project.imported & set(PACKAGES["driver_modules"])
        | set(PACKAGES["drivers"]) & have
    )
    if uses and wanted and not known and sure:
        line = project.list.packages[min(uses)]
        yield line.file, line.number, {}


# --- lock files ---


@check("H216", step=13)
def lock_file_is_stale(project):
    """A package is asked for, but the lock file does not have it: the tools stop there."""
    for file, wanted in (
        ("uv.lock", asked(project)),
        ("poetry.lock", asked(project)),
        ("Pipfile.lock", pipfile(project)),
    ):
        if file in project:
            missing = sorted(wanted - all_locked(project, file))
            if missing and all_locked(project, file) is not None:
                yield file, 0, {"name": file, "missing": ", ".join(missing)}


def all_locked(project, file):
    """Return the names of all packages in a lock file."""
    try:
        if file == "Pipfile.lock":
            return {
                normal(name)
                for name in json.loads(project.text(file)).get("default", {})
            }
        packages = tomllib.loads(project.text(file)).get("package", [])
        return {normal(package["name"]) for package in packages}
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return set(locked(project, file))


@check("H230", step=13)
def lock_file_without_its_project(project):
    """Poetry and uv want a project of that name in pyproject.toml, beside their lock file.

    https://python-poetry.org/docs/pyproject/#name,
    https://docs.astral.sh/uv/concepts/projects/layout/#the-pyprojecttoml
    """
    only = lists_in(project)
    own, tool = project.settings("project"), project.settings("tool")
    poetry, uv = as_dict(tool.get("poetry")), as_dict(tool.get("uv"))
    named = own.get("name") or poetry.get("name") or poetry.get("package-mode") is False
    if only == ["poetry.lock"] and not named:
        yield "pyproject.toml", 0, {"name": "poetry.lock"}
    elif only == ["uv.lock"] and not own and "workspace" not in uv:
        yield "pyproject.toml", 0, {"name": "uv.lock"}


@check("H217", step=13)
def lock_file_and_python(project):
    """uv wants .python-version and nothing else; both must fit requires-python."""
    if project.is_container:
        return
    if "uv.lock" in project and ".python-version" not in project:
        what = "runtime.txt" if "runtime.txt" in project else ".python-version"
        yield "uv.lock", 0, {"what": what}
        return
    named = named_python(project)
    wanted = requires_python(project)
    if named and wanted and {"uv.lock", "poetry.lock"} & set(project.sizes):
        clauses = ",".join(re.findall(r"[<>=]=?[\d.]+", wanted.replace(" ", "")))
        clauses = clauses.replace("==", ">=")
        if clauses and not fits_some_patch(numbers(named[1]), clauses):
            yield named[0], 1, {"what": f"requires-python = {wanted}"}


def requires_python(project):
    try:
        lock = tomllib.loads(project.text("uv.lock"))
    except (ValueError, RecursionError):
        lock = {}
    asked = project.settings("project").get("requires-python")
    return str(asked or lock.get("requires-python") or "")


# --- the version of Python ---


@check("H224", step=1)
def names_of_nltk_data(project):
    """Each line goes to NLTK's downloader as it is; for a name it does not know it asks, and nobody answers."""
    lines = project.contents.get("nltk.txt", b"x").decode("utf-8", "replace")
    for number, line in enumerate(lines.removesuffix("\n").split("\n"), start=1):
        if "nltk" in project.available[0] and not re.fullmatch(r"[\w.-]+", line):
            yield "nltk.txt", number, {"line": line.rstrip("\r") or "–"}
            return


@check("H301", step=1, level="warning")
def python_not_named(project):
    named = {".python-version", "runtime.txt"} & set(project.sizes)
    named |= set(wrong_version_files(project))
    on_disk = project.in_folder(".python-version")
    if "requirements.txt" in project and not (named or on_disk or project.is_container):
        yield "", 0, {"newest": NEWEST}


def wrong_version_files(project):
    """Yield the files in the root whose names the build refuses, also beside the right one.

    It does not look for them where there is a runtime.txt.
    """
    yield from (
        name
        for name in sorted(project.in_root())
        if name in PYTHON["misspelt"]
        and name in project
        and "runtime.txt" not in project
    )


@check("H302", step=1)
def python_version_unreadable(project):
    for name in wrong_version_files(project):
        yield name, 0, {"text": name, "newest": NEWEST}
    for name, form in (
        (".python-version", VERSION),
        ("runtime.txt", rf"python-{VERSION}"),
    ):
        if name not in project or (
            name == ".python-version" and "runtime.txt" in project
        ):
            continue
        content = project.contents.get(name, b"")
        versions = version_lines(project, name)
        readable = len(versions) == 1 and re.fullmatch(form, versions[0])
        if not readable or not plain_utf8(content):
            text = ", ".join(project.text(name).split("\n")).strip(" ,")[:30]
            yield name, 1, {"text": text, "newest": NEWEST}
    named = {".python-version", "runtime.txt"} & project.sizes.keys()
    wanted = as_dict(as_dict(lock_meta(project)).get("requires"))
    text = str(wanted.get("python_full_version", wanted.get("python_version", "")))
    if text and not named and not re.fullmatch(VERSION, text):
        yield "Pipfile.lock", 0, {"text": text, "newest": NEWEST}


def version_lines(project, name):
    """Return the lines of a file that names a Python, without comments and what is around them."""
    lines = [AROUND.sub("", line) for line in project.text(name).split("\n")]
    return [line for line in lines if line and line[0] != "#"]


def named_python(project):
    """Return (file, "3.x", patch or None) of what the project asks for, None where it says nothing readable."""
    for file, form in (
        ("runtime.txt", rf"python-{VERSION}"),
        (".python-version", VERSION),
    ):
        if file in project:
            match = re.fullmatch(form, "\n".join(version_lines(project, file)))
            return (file, match[1], match[2]) if match else None
    wanted = as_dict(as_dict(lock_meta(project)).get("requires"))
    match = re.fullmatch(
        VERSION, str(wanted.get("python_full_version", wanted.get("python_version")))
    )
    return ("Pipfile.lock", match[1], match[2]) if match else None


def lock_meta(project):
    try:
        return as_dict(json.loads(project.text("Pipfile.lock") or "{}")).get("_meta")
    except (ValueError, RecursionError):
        return None


def newest_python(project):
    """Return the Python that the platform would take."""
    named = named_python(project)
    return named[1] if named else NEWEST


@check("H303", step=1)
def python_not_offered(project):
    named = named_python(project)
    known = PYTHON["offered"] + PYTHON["ending"]
    if named and named[1] not in known and not newer_than_the_facts(named[1]):
        yield named[0], 1, {"version": named[1], "offered": OFFERED}


def newer_than_the_facts(version):
    """Tell whether a version has come out since the list of what is offered was made.

    Of those that were out then the buildpack was seen to refuse some: they are known.
    """
    known = PYTHON["refused"]
    return numbers(NEWEST) < numbers(version) < (4,) and version not in known


@check("H306", step=1, level="warning")
def python_not_known(project):
    named = named_python(project)
    if named and (newer_than_the_facts(named[1]) or newer_patch(named)):
        version = f"{named[1]}.{named[2]}" if named[2] else named[1]
        yield (
            named[0],
            1,
            {"version": version, "date": FACTS["date"], "offered": OFFERED},
        )


def newer_patch(named):
    return int((named[2] or "0")[:6]) > PYTHON["patches"].get(named[1], 999)


@check("H304", step=1, level="warning")
def runtime_txt(project):
    if "runtime.txt" in project and "uv.lock" not in project:
        yield "runtime.txt", 1, {}


@check("H305", step=1, level="warning")
def python_ends_soon(project):
    named = named_python(project)
    if named and named[1] in PYTHON["ending"]:
        yield named[0], 1, {"version": named[1], "offered": OFFERED}
