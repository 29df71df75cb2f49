"""Checks of where the files lie (steps 1 and 6 of the guide)."""

import ast
import os
import posixpath
import re
import sys

from doctor import FACTS, check
from doctor.commands import certain_lines, commands, shell_script
from doctor.files import above, installed, once, utf16
from doctor.pages import (
    static_folders,
    static_named,
    static_stores,
    static_tags,
    template_folders,
    template_is_needed,
    templates_named,
)
from doctor.project import as_dict
from doctor.trees import first_value, last_name, walk

LAYOUT, PACKAGES = FACTS["layout"], FACTS["packages"]
# What reads settings from a file, and how many arguments come before `silent`.
SETTINGS_FILES = {"from_pyfile": 1, "from_json": 1, "from_file": 2}
ROOT_FILES = ("Procfile", "requirements.txt", "Pipfile.lock", "poetry.lock", "uv.lock")
# Files that somebody reads with a program, so that marks of a conflict break them.
READ_BY_PROGRAMS = re.compile(
    r".*\.(py|txt|in|toml|json|cfg|ini|ya?ml|html|jinja2?|j2|css|js|sql|sh)$|(.*/)?(Procfile|\.python-version|\.slugignore)$"
)
# What can run a build hook there: of shells only these, and what a buildpack may have brought.
HOOK_PROGRAMS = re.compile(
    r"/(ba|da)?sh\b|python|perl|\benv\s+(?!(\S*/)?(z|fi|k|c|tc)sh\b)"
)
GITHUB_LIMIT = 100_000_000  # bytes; GitHub counts 100 MiB


@check("H101", step=1)
def no_commit(project):
    # Heroku's own CI runs the project's tests, this one too, on files without git.
    if not project.in_git and not {"CI", "DYNO"} & set(os.environ):
        yield "", 0, {}


NOT_THE_APP = {"test", "tests", "docs", "examples", "doctor", "deploy"}


@check("H102", step=1)
def app_in_a_subfolder(project):
    """The guide's first rule: what the platform reads lies in the root."""
    if project.is_rearranged:
        return
    if project.above:
        yield project.above, 0, {"folder": project.above.rstrip("/")}
        return
    for folder, path in moved(project):
        yield path, 0, {"folder": folder}
        return


def moved(project):
    """Yield (folder, path) of what belongs into the root and lies in one folder below it."""
    has_list = any(name in project for name in ROOT_FILES[1:])
    for path in sorted(project.sizes):
        folder, _, name = path.rpartition("/")
        if not folder or folder[0] == "." or {*folder.split("/")} & NOT_THE_APP:
            continue
        no_procfile = name == "Procfile" and "Procfile" not in project
        no_list = (
            name in ROOT_FILES[1:] and not has_list and not project.in_folder(name)
        )
        if no_procfile or no_list:
            yield folder, path
    if not any(looks_like_an_app(name) for name in project.in_root()):
        for path in sorted(project.sizes):
            runs = path in project.running.reached  # cd server && gunicorn main:app
            if path.endswith(("/main.py", "/app.py")) and not runs:
                yield posixpath.dirname(path), path
    for target in project.running.targets:
        first = target.module.partition(".")[0]
        folder = project.running.loading.is_folder(first, target.paths)
        if folder or project.running.find(first, target.paths):
            continue
        if project.has_folder(first):
            continue
        elsewhere = [
            p
            for p in sorted(project.trees)
            if p.endswith(f"/{target.module.replace('.', '/')}.py")
        ]
        if (
            elsewhere
            and not project.in_folder(f"{first}.py")
            and not project.in_folder(first)
        ):
            yield elsewhere[0][: -len(target.module) - 4], elsewhere[0]


@check("H511", step=1)
def module_moved(project):
    """A module is imported as if it lay in the root, but lies in a folder."""
    _, complete, known = project.available
    level = "error" if complete and known else "warning"  # a package may have it
    for found, path in modules_elsewhere(project):
        name = found.first
        package = posixpath.dirname(path).replace("/", ".")
        details = {"name": name, "file": path, "folder": package}
        yield found.path, found.line, details, level


@once
def modules_elsewhere(project):
    """Yield (import, file) of the project's own modules that are looked for in vain, once each."""
    told = set()
    for found in project.running.foreign:
        name = found.first
        if not found.sure or name in told or project.running.flexible:
            continue
        if project.is_package(name) or project.in_folder(f"{name}.py"):
            continue
        # A folder that several packages share: google.oauth2 is google-auth's.
        inner = [found.module, *(f"{found.module}.{n}" for n in found.names)]
        if any(map(project.owners_of, inner)):
            continue
        if name in sys.stdlib_module_names:
            continue
        for path in sorted(project.trees):
            folder, _, file = path.rpartition("/")
            if file == f"{name}.py" and folder and project.may_be_the_app(path):
                told.add(name)
                yield found, path
                break


def candidates(found):
    """Yield the files that a Mistake's module could be."""
    for folder in found.folders:
        path = posixpath.join(folder, found.module.replace(".", "/"))
        yield f"{path}.py"
        yield f"{path}/__init__.py"


def looks_like_an_app(name):
    aside = re.match(r"\.|(README|LICENSE)(\.\w+)?$", name)
    return not aside and ("." in name or name == "Procfile")


@once
def is_moved(project):
    return bool(list(app_in_a_subfolder(project)))


@check("H103", step=1)
def file_not_pushed(project):
    """What lies in the folder and is needed, but is not in the commit."""
    if not project.in_git or project.above:
        return
    told = set(project.dangling)
    pages = {path for path, is_needed in named_templates(project) if not is_needed}
    for path, _, _ in wanted(project):
        if path not in project and path not in told and project.in_folder(path):
            told.add(path)
            level = "warning" if path in pages or is_static(path) else "error"
            yield path, 0, {"name": path}, level


def wanted(project):
    """Return (path, file, line) of what has to be there, and what names it."""
    lists = () if {*PACKAGES["lists"]} & {*project.sizes} else PACKAGES["lists"]
    needed = dict.fromkeys([*LAYOUT["needed"], *lists])
    return [(name, "", 0) for name in needed] + named_files(project)


@check("H120", step=1)
def link_that_leads_nowhere(project):
    needed = {path for path, _, _ in wanted(project)}
    for path in project.dangling - set(installed([*project.sizes, *project.dangling])):
        sure = path in needed and not is_static(path)
        yield path, 0, {"name": path}, "error" if sure else "warning"


def is_static(path):
    """Tell whether a file is one that pages name: without its picture a page still works."""
    return "/static/" in f"/{path}"


def named_templates(project):
    """Yield (path, whether the start page needs it) of each template that is named."""
    named = templates_named(project)
    for name in {name for _, _, name in named}:
        places = [path for path, _, other in named if other == name]
        is_needed = any(template_is_needed(project, path, name) for path in places)
        for folder in template_folders(project) or ():
            yield posixpath.join(folder, name), is_needed


@once
def named_files(project):
    """Yield (path, file, line) of what the code names: modules, templates, files to read."""
    running, hidden = project.running, hiding(project)
    for found in running.loading.mistakes:
        for path in candidates(found) if found.file not in hidden else ():
            yield path, found.path, found.line
    for found in running.foreign:
        name = found.first
        # Python's own is meant, or the file is for one computer: try: import local_settings
        if name in sys.stdlib_module_names or found.guarded:
            continue
        for folder in running.reached[found.path][1]:
            for path in (f"{name}.py", f"{name}/__init__.py"):
                yield posixpath.join(folder, path), found.path, found.line
    for found, where in running.lost:
        for folder in where if not found.guarded else ():
            path = posixpath.join(folder, found.module.replace(".", "/"))
            yield f"{path}.py", found.path, found.line
    for path, line, name in templates_named(project):
        for folder in template_folders(project) or ():
            yield posixpath.join(folder, name), path, line
    for path, line, name in [*static_named(project), *static_tags(project)]:
        for folder in static_folders(project):
            yield posixpath.join(folder, name), path, line


@check("H104", step=1)
def other_letters(project):
    """Linux tells capital letters from small ones."""
    code = {posixpath.dirname(path) for path in project.trees} | {""}
    for folder in sorted(project.folders):
        name = folder.rpartition("/")[2]
        beside = posixpath.dirname(folder) in code and name not in project.constants
        if name != name.lower() and name.lower() in LAYOUT["folders"] and beside:
            yield folder, 0, {"name": name, "right": name.lower()}
    told = set()
    for wanted, file, line in named_files(project):
        there = project.lower_paths.get(wanted.lower())
        known = wanted in project or project.in_folder(wanted) or there in told
        # Flask(__name__, template_folder="Templates")
        folders = (there or "").split("/")[:-1]
        known = known or {p for p in folders if p != p.lower()} & project.constants
        if there and there != wanted and not known:
            told.add(there)
            # With a manifest Django stops at a name that it does not have.
            stops = any("Manifest" in text for text in static_stores(project))
            level = "warning" if is_static(wanted) and not stops else "error"
            yield file, line, {"name": there, "right": wanted}, level


@check("H105", step=1)
def another_language(project):
    named = project.buildpacks
    files = LAYOUT["buildpack_files"]
    if project.is_for_node:
        return
    both = any("python" in buildpack for buildpack in named)
    for name, language in LAYOUT["languages"].items():
        wanted = any(files.get(buildpack) == name for buildpack in named)
        chosen = both and (wanted or ".buildpacks" in project) or project.is_container
        if name in project and not chosen:
            # Buildpacks that were chosen by a command stand nowhere in the project.
            yield name, 0, {"name": name, "language": language}, "warning"
    needs = LAYOUT["buildpack_files"] if not project.is_rearranged else {}
    for buildpack, files in needs.items():
        if buildpack in named and not any(name in project for name in files.split("|")):
            line = project.app_json_line(buildpack)
            yield (
                "app.json",
                line,
                {"name": files.partition("|")[0], "language": buildpack},
            )


@check("H111", step=13)
def buildpack_that_is_gone(project):
    for buildpack in project.buildpacks:
        if re.search(LAYOUT["buildpacks_gone"], buildpack):
            yield "app.json", project.app_json_line(buildpack), {"name": buildpack}


@check("H106", step=1, level="warning")
def container_files(project):
    """Unless something else in the project builds it."""
    names = " ".join(project.sizes)
    other = "heroku.yml" in project or re.search(LAYOUT["builds_containers"], names)
    if "Dockerfile" in project and not project.is_container and not other:
        yield "Dockerfile", 0, {"name": "Dockerfile"}


@check("H107", step=13)
def virtual_environment_pushed(project):
    """The buildpack refuses venv/ and .venv/ with a pyvenv.cfg."""
    for path in sorted(project.sizes.keys() - project.slugignored):
        if match := re.fullmatch(r"((?:.*/)?([^/]+))/pyvenv\.cfg", path):
            refused = match[1] in ("venv", ".venv")
            yield path, 0, {"folder": match[1]}, "error" if refused else "warning"
            return


@check("H151", step=1, level="warning")
def name_that_nobody_reads(project):
    """A file of the platform under nearly its name. Of .python-version and the lists of packages others tell."""
    for name in sorted(project.sizes):
        folder, _, file = name.rpartition("/")
        letters = re.sub(r"[^a-z]", "", file.lower())
        for right, also in LAYOUT["read_by_name"].items():
            meant = letters in also and folder in posixpath.dirname(right)
            if not meant or name == right or right in project:
                continue
            # A file of the app's own, which has something else in it or which a command names.
            other = right == "runtime.txt" and "python" not in project.text(name)
            commands = [text for _, text in project.procfile.values()]
            read = any(file in text for text in [*project.shell_texts, *commands])
            if not other and not read:
                yield name, 0, {"name": name, "right": right}


@check("H152", step=13, level="warning")
def programs_that_nobody_installs(project):
    """Aptfile is read by a buildpack of its own; buildpacks that a command has added stand in no file."""
    named = project.buildpacks
    wanted = re.search(r"(?m)^\s*[^#\s]", project.text("Aptfile"))
    if wanted and named and not any("apt" in name for name in named):
        yield "Aptfile", 0, {"names": ", ".join(named)}


@check("H110", step=13)
def platform_s_own_folder(project):
    left = project.sizes.keys() - project.slugignored
    if any(f"{path}/".startswith(".heroku/python/") for path in left):
        yield ".heroku/python", 0, {}


@check("H156", step=1)
def settings_that_nothing_can_read(project):
    """What PowerShell's `>` has written: git finds no name in such a .gitignore, Flask stops at such a .flaskenv."""
    asked = any(
        command.program == "flask" and "FLASK_SKIP_DOTENV" not in command.variables
        for command in project.commands
    )
    for name, sure in ((".gitignore", False), (".flaskenv", asked)):
        reads = name == ".gitignore" or "python-dotenv" in project.list.packages
        reads = reads and name not in project.slugignored
        if utf16(project.contents.get(name, b"")) and reads:
            yield name, 1, {"name": name}, "error" if sure else "warning"


@check("H112", step=13)
def build_hook_fails(project):
    for name in ("bin/pre_compile", "bin/post_compile"):
        lines = [line for _, line in project.lines(name)]
        first = lines[0] if lines else ""
        ends = next(
            (
                n
                for n, line in enumerate(lines, 1)
                if (
                    re.match(r"(exit +[1-9]\d*|false)\s*$", line)
                    or re.match(
                        r"python3? +-c .*(SystemExit|exit)\(([1-9]|['\"]\w)", line
                    )
                )
                and not is_inside("\n".join(lines[: n - 1]))
            ),
            0,
        )
        if first.startswith("#!") and b"\r\n" in project.contents[name]:
            yield name, 1, {"name": name, "what": "CRLF"}
        elif ends:
            yield name, ends, {"name": name, "what": lines[ends - 1].strip()}
        elif first.startswith("#!") and not re.search(HOOK_PROGRAMS, first):
            yield name, 1, {"name": name, "what": first}
        elif name == "bin/pre_compile" and (made := makes_python_folder(lines)):
            yield name, made, {"name": name, "what": lines[made - 1].strip()}
        elif asked := last_question(project, lines):
            number, level = asked
            details = {"name": name, "what": lines[number - 1].strip()}
            yield name, number, details, level
        elif lost := lost_script(project, name) or node_program(project, lines):
            yield name, lost[0], {"name": name, "what": lost[1]}


def stops_at_a_failure(script):
    """Tell whether a shell script ends where one of its commands fails."""
    return bool(re.search(r"(?m)^set -\w*e|\A#!.*sh -\w*e", script))


def node_program(project, lines):
    """Return (line, text) of a command of Node.js, which the stack lacks; only its own buildpack brings it."""
    whole = "\n".join(lines)
    brought = [name for name in project.buildpacks if "python" not in name]
    if (
        brought
        or not stops_at_a_failure(whole)
        or re.search(r"command -v|nodejs|nvm|\bPATH=", whole)
    ):
        return None
    for number, line in enumerate(lines, 1):
        plain = re.match(r"(npm|npx|yarn|pnpm|node) [^|]*$", line)
        if plain and not is_inside("\n".join(lines[: number - 1])):
            return number, f"{plain[1]}: command not found"
    return None


def is_inside(before):
    """Tell whether what stands before a line of a shell script has opened something that it may belong to."""
    opened = len(re.findall(r"(?m)^\s*(?:if|case|for|while|until)\b", before))
    closed = len(re.findall(r"\b(?:fi|esac|done)\b", before))
    return opened > closed or before.count("{") > before.count("}") or "<<" in before


def makes_python_folder(lines):
    """Return the number of the line that makes .heroku/python, 0 without: behind the hook the build stops at it."""
    made = re.compile(
        r"\s*(mkdir|cp|mv|ln|tar|unzip)\b[^#]*\s(\./)?\.heroku/python(/|\s|$)"
    )
    return next((n for n, line in enumerate(lines, 1) if made.match(line)), 0)


def last_question(project, lines):
    """Return (line, level) where the last command is `[ … ] && …`, whose answer "no" is the end of the build.

    Whether a file is there can be known where nothing else may make it; what a config var holds cannot.
    """
    commands = [n for n, x in enumerate(lines, 1) if x.split("#")[0].strip()]
    last = lines[commands[-1] - 1] if commands else ""
    match = re.match(r"(?:test|\[{1,2}) (.+?)(?: \]{1,2})? && [^|;]+$", last)
    if not match or "||" in last:
        return None
    asked = re.fullmatch(r"-[fesd] ([\w./-]+)", match[1])
    if asked and not asked[1].startswith(("/", ".heroku", "..")):
        there = project.has_folder(asked[1]) or asked[1] in project.sizes
        others = [lines[n - 1] for n in commands[:-1]]
        quiet = all(re.match(r"\s*(#|echo\b|set\b|export\b|:)", x) for x in others)
        alone = quiet and not any("python" not in name for name in project.buildpacks)
        return (commands[-1], "error") if alone and not there else None
    name = re.search(r"\$\{?([A-Z_a-z]\w*)", match[1])
    given = name and re.search(
        rf"\b{name[1]}(=| in )|\bread .*{name[1]}", "\n".join(lines)
    )
    known = not name or given or name[1] in as_dict(project.json.get("env"))
    known = known or name[1] in FACTS["packages"]["set_in_build"]
    return None if known else (commands[-1], "warning")


def lost_script(project, name):
    """Return (line, script) of what a build hook surely runs last, or under `set -e`, and lacks."""
    text = project.text(name)
    lines = [x for x in certain_lines(text, "") if x[1].split("#")[0].strip()]
    total = [n for n, x in enumerate(text.splitlines(), 1) if x.split("#")[0].strip()]
    if not re.search(r"(?m)^\s*set +-\w*e|\A#!.*sh +-\w*e", text):
        lines = [x for x in lines[-1:] if x[0] == total[-1]]
    for number, line, folder in (
        lines if text.startswith("#!") and "sh" in text[:40] else ()
    ):
        into = re.fullmatch(r"\s*cd +([\w./-]+)\s*(?:&&.*)?", line)
        place = posixpath.normpath(folder or ".").partition("/")[0]
        lost = into and not into[1].startswith(("/", "..")) and place != "."
        if lost and text.count(into[1]) == 1 and not project.has_folder(place):
            return number, into[1]
        for command in commands(project, name, name, number, line, folder):
            file = command.python_file() or shell_script(command) or ""
            made = not file or re.search(r"^/|[~$<>(]|vendor/|\.heroku/|\.\./", file)
            made = made or "-c" in command.arguments
            if not made and command.path(file) not in project and text.count(file) == 1:
                return (
                    (number, file)
                    if not re.search(r"[|;`]|(?<!&)&(?!&)", line)
                    else None
                )
    return None


@check("H113", step=1)
def link_to_another_repository(project):
    # Where .gitmodules lacks one git ends in an error; else a folder is empty.
    listed = project.text(".gitmodules")
    texts = "\n".join([project.code, *(command.text for command in project.commands)])
    for path in sorted(project.modes):
        if project.modes[path] == "160000":
            name = re.escape(posixpath.basename(path))
            fails = listed or re.search(rf"\b{name}\b", texts)
            known = f"path = {path}" in listed
            yield path, 0, {"name": path}, "error" if fails and not known else "warning"


@check("H115", step=6)
def file_too_large(project):
    for path in sorted(project.sizes):
        if project.sizes[path] > 1.048_576 * GITHUB_LIMIT:
            yield path, 0, {"name": path, "size": project.sizes[path] // 1_048_576}


@check("H116", step=1)
def marks_of_a_conflict(project):
    for path in sorted(project.contents):
        if path.endswith((".rej", ".orig")):
            yield path, 0, {"mark": path.rpartition(".")[2]}, "warning"
            continue
        content = project.contents[path]
        if b"<<<<<<< " not in content and b">>>>>>> " not in content:
            continue  # most files: an expression takes six times as long
        start = re.search(rb"(?m)^(<{7}|>{7}) ", content)
        if start and is_conflict(project, path, content):
            line = content[: start.start()].count(b"\n") + 1
            unused = path.endswith(".py") and not project.is_sure(path)
            unused = unused or not READ_BY_PROGRAMS.fullmatch(path)
            aside = re.fullmatch(r".*\.(ya?ml|css|txt)|.*/\.github/.*", path)
            unused = unused or (
                aside and path not in {*project.list.files, "heroku.yml"}
            )
            unused = unused or not project.may_be_the_app(path)
            yield (
                path,
                line,
                {"mark": start[1].decode()},
                "warning" if unused else "error",
            )


def is_conflict(project, path, content):
    """Tell whether marks stand in the way of what reads the file; one alone may be prose."""
    if path.endswith(".py"):
        return path in project.broken
    both = re.search(rb"(?m)^<{7} ", content) and re.search(rb"(?m)^>{7} ", content)
    return (
        path in {"Procfile", *project.list.files}
        or both
        and not path.endswith((".md", ".rst"))
    )


@check("H117", step=1)
def hides_a_module(project):
    """A file of the root is loaded in place of Python's or a package's module of its name."""
    few = project.list.packages.keys() <= {*LAYOUT["flask_alone"]}
    for path, name in hiding(project).items():
        later = few and name in LAYOUT["shadowed_at_times"]
        yield path, 0, {"name": path, "module": name}, "warning" if later else "error"


@once
def hiding(project):
    """Return {file in the root: the module that it hides}."""
    listed = {m for name in project.list.packages for m in project.modules_of(name)}
    loaded = {m.path for m in project.running.loading.modules.values() if not m.main}
    found = {}
    for path in sorted(project.sizes):
        name = path.removesuffix(".py").removesuffix("/__init__")
        if not path.endswith(".py") or "/" in name or name.startswith("_"):
            continue
        own = project.imports_in(path) if path in project.trees else ()
        itself = any(name in imported_by(node) for node in own)
        if name in LAYOUT["shadowed"] or (
            name in listed and (path in loaded or itself)
        ):
            found[path] = name
    return found


def imported_by(node):
    """Return the first names of what an import statement loads from elsewhere."""
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        names = [node.module] if node.module and not node.level else []
    return [name.partition(".")[0] for name in names]


@check("H118", step=9)
def settings_not_pushed(project):
    """app.config.from_pyfile() of a file that .gitignore holds back, as Flask's instance/."""
    secrets = ".streamlit/secrets.toml"
    written = any(secrets in text for text in project.shell_texts)
    for use in project.running.loading.uses:
        wanted = use.of.startswith("streamlit.secrets") and "try" not in use.guards
        if wanted and secrets not in project and not written:
            yield use.path, use.node.lineno, {"name": secrets}
            break
    calls = project.running.loading.calls
    sure = {id(use.node) for use in calls if not {"try", "thread"} & use.guards}
    tries = [node for _, node in project.nodes(ast.Try) for node in node.body]
    tried = {id(node) for statement in tries for node in walk(statement)}
    for path, node in project.calls(*SETTINGS_FILES):
        name, method = first_value(node), last_name(node.func)
        silent = any(word.arg in ("silent", None) for word in node.keywords)
        silent = silent or len(node.args) > SETTINGS_FILES[method] or id(node) in tried
        of_an_app = last_name(getattr(node.func, "value", None)) == "config"
        if silent or not of_an_app or not isinstance(name, str) or name[:1] == "/":
            continue
        text, inner = project.text(path), f"instance/{name}"
        if re.search(r"\b(root|instance)_path\s*=", text):
            continue
        folders = ["", *above(path)]  # that of the file which makes the app is one
        places = [posixpath.normpath(posixpath.join(f, name)) for f in folders]
        places.append(inner)
        if "instance_relative_config=True" in text:
            places = [place for place in project.sizes if place.endswith(inner)]
        there = any(place in project for place in places)
        made = any(name in script for script in project.shell_texts)
        if there or made or re.search(r"\b(exists|isfile|is_file)\(", text):
            continue
        shown = inner if "instance_relative_config" in text else name
        level = "error" if id(node) in sure else "warning"
        yield path, node.lineno, {"name": shown}, level
