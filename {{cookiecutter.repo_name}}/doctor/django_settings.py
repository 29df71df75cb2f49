"""Checks of what the settings of a Django project say that run (steps 9 and 13)."""

import ast
import posixpath
import re

from doctor import FACTS, check
from doctor.data import inside_conditions
from doctor.files import line_at
from doctor.imports import newest_allowed
from doctor.pages import CSS_URL, static_stores, stores_of
from doctor.procfile import hides_https
from doctor.project import several
from doctor.settings import settings_given
from doctor.trees import strings, unparse
from doctor.versions import numbers

DJANGO = FACTS["django"]


@check("H617", step=9)
def redirect_without_end(project):
    """SECURE_SSL_REDIRECT behind waitress, which takes away the header that says https."""
    pairs = project.running.settings.get("SECURE_SSL_REDIRECT", [])
    on = [pair for pair in pairs if getattr(pair[1], "value", 0) is True]
    if on and behind_waitress(project):
        yield on[-1][0], on[-1][1].lineno, {}


def behind_waitress(project):
    """Tell whether web, the last line of it, hides from Django that a visitor came by https."""
    web = [command for command in project.commands if command.type == "web"]
    told = any("--url-scheme" in command.text for command in web[-1:])
    return any(map(hides_https, web[-1:])) and not told


@check("H635", step=9, level="warning")
def https_taken_for_http(project):
    """Behind waitress addresses begin with http://, and what sends visitors to https does so for ever."""
    # waitress.serve(app) in what is started.
    served = any(
        use.of == "waitress.serve"
        and not {w.arg for w in use.node.keywords}
        & {"trusted_proxy", "url_scheme", None}
        for use in project.running.loading.calls
    )
    hides = behind_waitress(project) or served
    if not hides or project.has_text("ProxyFix"):
        return
    for module, name in {
        "flask_talisman": "Talisman",
        "flask_sslify": "SSLify",
    }.items():
        for path, call in project.calls(name) if module in project.imported else ():
            off = re.search(r"force_https=(?!True)", unparse(call))
            if not off and project.is_sure(path):
                yield path, call.lineno, {"what": f"{name}()"}, "error"
                return
    for path, function in project.nodes(ast.FunctionDef):
        code = "".join(map(unparse, function.body))
        hooked = "before_" in "".join(map(unparse, function.decorator_list))
        asks = re.search(r"request\.(is_secure|scheme)\b", code)
        sends = re.search(r"redirect\(.*https", code)
        if hooked and asks and sends and "forwarded" not in code.lower():
            yield path, function.lineno, {"what": f"{function.name}()"}, "error"
            return
    for path, call in project.calls("url_for"):
        words = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
        if words.get("_external") is True and "_scheme" not in words:
            yield path, call.lineno, {"what": unparse(call)[:60]}
            return


@check("H636", step=13, level="warning")
def gathered_with_other_settings(project):
    """collectstatic takes the settings that manage.py names; the pages want a manifest, of other settings."""
    manage, running = first_manage(project), project.running
    told = DJANGO["variable"] in str(project.json.get("env"))
    shown = [p for p in project.contents if p.endswith((".html", ".jinja2"))]
    tags = any(re.search(r"\{% ?static\b", project.text(p)) for p in shown)
    runs = "".join([*(c.text for c in project.commands), *project.build_hooks])
    if not manage or told or not tags or "collectstatic" in runs:
        return
    loaded = {module.path for module in running.loading.modules.values()} - {manage}
    gathers = {name for name, _ in running.settings_of(manage)}
    serves = {name for path in loaded for name, _ in running.settings_of(path)}
    if len(gathers) != 1 or len(serves) != 1 or gathers == serves:
        return
    (name,), (other,) = gathers, serves
    paths = [posixpath.dirname(manage)]
    places = [running.find(module, paths) for module in (name, other)]
    if not all(places) or any(
        re.search("environ|getenv", project.text(p)) for p in places
    ):
        return
    makes, wants = (
        any("Manifest" in text for text in stores_of(running.values(p, n, paths)))
        for p, n in zip(places, (name, other), strict=True)
    )
    if wants and not makes:
        # What setdefault() names, a config var may name otherwise.
        fixed = "setdefault" not in project.text(manage)
        details = {"name": manage, "module": name}
        yield manage, 0, details, "error" if fixed else "warning"


@check("H618", step=13)
def style_names_what_is_not_there(project):
    """With a manifest, collectstatic looks for all that a style sheet names."""
    if not any("Manifest" in text for text in static_stores(project)):
        return
    folders = ["static"]
    for _, value in project.running.settings.get("STATICFILES_DIRS", []):
        folders += [text.strip("/") for text in strings(value)]
    # collectstatic puts the folders of all apps into one.
    parts = [p.partition("/static/") for p in project.sizes if "/static/" in p]
    gathered = {inner for _, _, inner in parts}
    for path in sorted(project.contents):
        inside = any(f"/{folder}/" in f"/{path}" for folder in folders)
        for name in (
            CSS_URL.findall(project.text(path))
            if inside and path.endswith(".css")
            else ()
        ):
            named = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
            other = named.partition("/static/")[2] in gathered
            if not other and named not in project and not named.startswith(".."):
                yield path, 0, {"name": name}
                break


@check("H624", step=12, level="warning")
def tag_that_django_has_no_more(project):
    """{% load staticfiles %}, {% ifequal %}; a link to the logout, which Django 5 takes by POST only."""
    version = newest_allowed(project, "django") or (0,)
    own = project.has_text("django.contrib.auth.urls")
    gone = [row for row in DJANGO["tags"] if version >= numbers(row["since"])]
    gone = [row for row in gone if own or "logout" not in row["tag"]]
    pages = sorted(p for p in project.contents if p.endswith(".html"))
    for path in pages if gone else ():
        for row in gone:
            if match := re.search(row["tag"], project.text(path)):
                what = re.sub(r"[{%}]", "", match[0]).strip()[:60]
                details = {"what": what, "since": f"Django {row['since']}"}
                line = line_at(project.text(path), match.start())
                yield path, line, {**details, "instead": row["instead"]}


@check("H621", step=9, level="warning")
def setting_that_is_gone(project):
    """STATICFILES_STORAGE, which Django 5.1 no longer reads."""
    version = newest_allowed(project, "django") or (0,)
    for name, (since, instead) in DJANGO["gone"].items():
        values = project.running.settings.get(name, [])
        if values and version >= numbers(since):
            path, value = values[-1]
            details = {"name": name, "since": since, "instead": instead}
            yield path, value.lineno, details


@check("H622", step=9, level="warning")
def origins_without_https(project):
    """CSRF_TRUSTED_ORIGINS = ["shop.example.org"]: since Django 4 each begins with https://."""
    version = newest_allowed(project, "django") or (0,)
    for path, value in project.running.settings.get("CSRF_TRUSTED_ORIGINS", ())[-1:]:
        plain = [text for text in strings(value) if text and "://" not in text]
        whole = isinstance(value, (ast.List, ast.Tuple))
        checks = any(
            {"migrate", "check"} & {*c.arguments[:2]} for c in project.commands
        )
        if plain and whole and version >= (4,):
            level = "error" if checks else "warning"
            yield path, value.lineno, {"name": plain[0]}, level


@check("H623", step=9, level="warning")
def forms_behind_waitress(project):
    """waitress takes away the header that says https, and Django then takes a form for a stranger's."""
    values = project.running.settings
    texts = [
        text for _, value in values.get("MIDDLEWARE", ()) for text in strings(value)
    ]
    checks = any(text.endswith("CsrfViewMiddleware") for text in texts)
    if behind_waitress(project) and checks and not values.get("CSRF_TRUSTED_ORIGINS"):
        forms = [p for p in sorted(project.contents) if p.endswith(".html")]
        forms = [p for p in forms if "csrf_token" in project.text(p)]
        if forms and (newest_allowed(project, "django") or (0,)) >= (4,):
            yield forms[0], 0, {"name": several(forms)}


@check("H609", step=9)
def hosts_of_this_computer(project):
    """Django, and Flask 3.1, answer 400 to all that ask for another host, as every visitor of the platform does."""
    yield from trusted_hosts(project)
    values = project.running.settings
    hosts = values.get("ALLOWED_HOSTS", [])
    names = [name for _, value in hosts for name in strings(value)]
    plain = all(isinstance(value, (ast.List, ast.Tuple)) for _, value in hosts)
    debug = [getattr(value, "value", None) for _, value in values.get("DEBUG", [])]
    here = all(re.fullmatch(DJANGO["here"], name) for name in names)
    later = r"ALLOWED_HOSTS\.|^[ \t]+ALLOWED_HOSTS\s*\+?=|ALLOWED_HOSTS\s*\+=.*environ|django_heroku"
    later += r"|^[ \t]+from\s.*import\s*\*"
    texts = [project.text(path) for path, _ in hosts]
    grows = any(re.search(later, text, re.MULTILINE) for text in texts)
    if hosts and plain and here and not grows and (names or debug == [False]):
        details = {"name": "ALLOWED_HOSTS", "hosts": several(names) or "[]"}
        yield hosts[-1][0], hosts[-1][1].lineno, details


def trusted_hosts(project):
    """Yield the same of TRUSTED_HOSTS, which Flask knows since 3.1."""
    version = newest_allowed(project, "flask") or (0,)
    given = [row for row in settings_given(project) if row[1] == "TRUSTED_HOSTS"]
    path, _, value = given[0] if len(given) == 1 else ("", "", None)
    plain = isinstance(value, (ast.List, ast.Tuple)) and value.elts
    names = [getattr(part, "value", None) for part in value.elts] if plain else []
    texts = all(isinstance(name, str) for name in names)
    here = names and texts and all(re.fullmatch(DJANGO["here"], n) for n in names)
    read = here and id(value) not in inside_conditions(project)
    # deploy/ sets it by itself.
    if read and version >= (3, 1) and "deploy/environment.py" not in project:
        details = {"name": "TRUSTED_HOSTS", "hosts": several(names)}
        yield path, value.lineno, details


@check("H619", step=9, level="warning")
def debug_pages_for_everybody(project):
    """Django's DEBUG = True shows code and settings on every error page."""
    values = project.running.settings.get("DEBUG", [])
    if values and getattr(values[-1][1], "value", None) is True:
        yield values[-1][0], values[-1][1].lineno, {}


@check("H620", step=9, level="warning")
def static_files_that_nobody_serves(project):
    """Only runserver serves them by itself; collectstatic no more than gathers them."""
    web = [c for c in project.commands if c.type == "web"][-1:]
    plain = web and web[0].program in ("gunicorn", "waitress-serve", "uvicorn")
    apps = project.running.settings.get("INSTALLED_APPS", [])
    address = project.running.settings.get("STATIC_URL", [])
    far = not address or any(":" in text for _, v in address for text in strings(v))
    served = re.compile(DJANGO["static_served"])
    kinds = (".py", ".txt", ".toml", ".lock", "Procfile", "Pipfile")
    own = [p for p in project.contents if p.endswith(kinds) and "doctor/" not in p]
    texts = map(project.text, own)
    shown = [p for p in project.contents if p.endswith((".html", ".jinja2"))]
    tags = [p for p in shown if re.search(r"\{% ?static\b", project.text(p))]
    if plain and apps and tags and not far and not any(map(served.search, texts)):
        yield tags[0], 0, {"name": several(sorted(tags))}


@check("H627", step=13)
def settings_that_are_not_there(project):
    """The buildpack runs collectstatic of the first manage.py, which loads the settings that it names."""
    manage, running = first_manage(project), project.running
    names = {name for name, _ in running.settings_of(manage)} if manage else set()
    # Where else the name or the place may come from.
    others = r"sys\.path|environ(?!\.setdefault)|decouple|dotenv"
    told = str(project.json.get("env")) + project.text(manage) * bool(manage)
    own = [p for p in project.contents if not p.startswith("doctor/")]
    off = any("DISABLE_COLLECTSTATIC" in project.text(p) for p in own)
    if (
        len(names) != 1
        or off
        or re.search(others, told)
        or DJANGO["variable"] in str(project.json.get("env"))
    ):
        return
    name = names.pop()
    if not running.find(name, [posixpath.dirname(manage)]):
        # The name of one that is here for this computer only may be another one there.
        mine = project.has_folder(
            posixpath.join(posixpath.dirname(manage), name.partition(".")[0])
        )
        level = "error" if project.available[1] and not mine else "warning"
        yield manage, 0, {"name": manage, "module": name}, level


def first_manage(project):
    """Return the manage.py that the buildpack runs, "" without one or without Django."""
    found = sorted(
        (p.count("/"), p) for p in project.trees if f"/{p}".endswith("/manage.py")
    )
    here = found and found[0][0] <= 2 and "django" in project.available[0]
    return found[0][1] if here else ""


@check("H610", step=13)
def static_files_without_a_place(project):
    """The buildpack runs collectstatic where there is a manage.py, and stops if that fails."""
    manage, running = first_manage(project), project.running
    if not manage:
        return
    paths = [posixpath.dirname(manage)]
    names = {name for name, _ in running.settings_of(manage)}
    path = (
        running.find(name, paths) if len(names) == 1 and (name := names.pop()) else None
    )
    otherwise = re.compile(DJANGO["static_otherwise"])
    own = [p for p in project.contents if path and not p.startswith("doctor/")]
    if not path or any(otherwise.search(project.text(p)) for p in own):
        return
    if re.search(r"(locals|globals)\(\)", project.text(path)):
        return  # a package changes the settings
    apps = [
        (file, app)
        for file, value in running.values(path, name, paths).get("INSTALLED_APPS", [])
        for app in strings(value)
    ]
    named = [app for _, app in apps]
    listed = running.values(path, name, paths).get("STATICFILES_DIRS", [])
    folders = [posixpath.join(*paths, app.partition(".")[0], "static") for app in named]
    some = "django.contrib.admin" in named or any(map(project.has_folder, folders))
    some = some or any(getattr(value, "elts", ()) for _, value in listed)
    if some and "django.contrib.staticfiles" in named:
        yield apps[0][0], 0, {"name": manage}
