"""Checks of secrets: in what is pushed, and on pages (step 9)."""

import ast
import re

from doctor import FACTS, check
from doctor.data import inside_conditions
from doctor.files import line_at
from doctor.project import as_dict
from doctor.trees import last_name, name_of_target, unparse, walk

HARMLESS = re.compile(FACTS["config_vars"]["harmless"])
ASIDE = re.compile(FACTS["config_vars"]["aside"])
BROWSER_KEYS = re.compile(
    r"maps\.google|google_?maps?_|firebase|authDomain", re.IGNORECASE
)
# Values that nobody takes for a password: words, an address of a page, a sentence.
PLAIN = r"[A-Za-z_-]*|.{0,7}|/.*|https?:.*|.*\s.*[.!?:]|(\S+\s+){4}.*"
SHOWN = re.compile(FACTS["config_vars"]["shown"])
MARKS = FACTS["secret_marks"]
SECRETS = {kind: re.compile(pattern) for kind, pattern in FACTS["secrets"].items()}
# What a build puts into the pages, so that everybody has it.
FOR_BROWSERS = re.compile(r"VITE_|REACT_APP_|NEXT_PUBLIC_|NUXT_PUBLIC_|VUE_APP_")
# Ends of names for something beside a secret.
ABOUT = re.compile(
    r"(?i)_(FILE|HEADER|ISSUER|HASHER|PATH|DIR|NAME|ALGORITHM|PROJECT|MODEL|TEMPLATE|URL|ID)$"
)
# Where all config vars are, what makes an answer of them, and decorators that let everybody in.
WHOLE = re.compile(
    r"((os\.)?environ|(current_app|app)\.config)(\.copy\(\)|\.items\(\)|\.values\(\))?"
)
SHOWS = {
    "jsonify",
    "dumps",
    "str",
    "repr",
    "pformat",
    "dict",
    "Response",
    "make_response",
    "format",
}
# What takes one after another: of a mapping these are the names alone.
ONE_BY_ONE = {"join", "sorted", "list"}
# What a view may do before it answers without asking who is there.
PLAIN_STEPS = (ast.Import, ast.ImportFrom, ast.Assign, ast.Return)
OF_ADDRESS = re.compile(r"^\w+(\.\w+)*\.(route|get|post)\(")
WHOLE_CONFIG = re.compile(
    r"\{\{-?\s*config(\.items\(\))?\s*[|}-]|\{%-?\s*for\s[\w ,]+ in config\.items\(\)"
)
IN_PAGES = re.compile(r".*\.(m?js|html?|jinja2?)")  # what every visitor gets
ENV_FILE = (
    r"(.*/)?\.env(\.(local|production|prod|development|backup|bak|old|orig|save|copy)"
    r"|[ _-]?(copy|old|backup)|~)?"
)


@check("H601", step=9)
def env_file_pushed(project):
    """An error where it holds what looks like a secret."""
    for path in sorted(project.sizes):
        if re.fullmatch(ENV_FILE, path):
            values = [line.partition("=")[::2] for _, line in project.lines(path)]
            secret = any(is_secret(name, value.strip(" \"'")) for name, value in values)
            aside = ASIDE.fullmatch(path.replace(".env", "x")) or not secret
            told = re.compile(r"(?i)SECRET|PASS|TOKEN|KEY|URL|URI|DSN|AUTH|USER")
            if secret or any(told.search(name) and value for name, value in values):
                yield path, 0, {"name": path}, "warning" if aside else "error"


def is_secret(name, value):
    """Tell whether a config var's name and value look like a real secret."""
    named = re.search(r"(?i)SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY|DATABASE_URL", name)
    # A name for something beside it, and an address without a password.
    about = ABOUT.search(name) or FOR_BROWSERS.match(name)
    host = ""
    if match := re.search(r"://[^:/@]*:([^@]+)@([^:/?]*)", value):
        value, host = match.groups()
    elif "://" in value or about:
        return False
    plain = HARMLESS.fullmatch(value) or re.fullmatch("[a-z_ -]*|.{0,7}", value)
    # No host of the internet.
    near = re.match(r"localhost|127\.|0\.0\.|host\.docker", host)
    return bool(named) and not (plain or near or is_for_show(value, host))


@check("H602", step=9)
def secret_in_file(project):
    setting = r"(?m)^\s*SECRET_KEY\s*=.*(environ|getenv|config\(|env\(|env\.)"
    fallback = re.compile(setting)
    told, lines = set(), set()
    texts = (
        text for path in project.trees if "SECRET_KEY" in (text := project.text(path))
    )
    is_read = any(map(fallback.search, texts))
    for path in sorted(project.contents):
        # A password there is of a database of the workflow's own.
        workflow = path.startswith(".github/")
        aside = ASIDE.fullmatch(path) and not workflow
        if aside or b"\0" in project.contents[path][:1000]:
            continue
        text = project.text(path)
        for kind, pattern in SECRETS.items():
            own = workflow and not kind.startswith(("GitHub", "Heroku"))
            if MARKS.get(kind, "") not in text or own:
                continue
            if kind in ("postgres", "SECRET_KEY") and SHOWN.fullmatch(path):
                continue
            if kind == "API key" and not IN_PAGES.fullmatch(path):
                continue  # H608 is about those in code
            if kind == "SECRET_KEY" and is_read:
                continue  # what stands in the code is for a computer of one's own
            for match in pattern.finditer(text):
                before = text[: match.start()]
                of_class = re.findall(r"(?m)^class (\w+)", before)[-1:]
                own = kind == "SECRET_KEY" and re.match(
                    "(?i)dev|test|local", "".join(of_class)
                )
                shown = any(map(HARMLESS.fullmatch, match.groups()))
                if own or shown or is_for_show(*match.groups()) or match[0] in told:
                    continue
                told.add(match[0])
                lines.add((path, before.count("\n") + 1))
                # Those of Google's for maps and Firebase every browser gets; their cure is a restriction.
                # So does every browser get the one of a widget, which its service has written so.
                near = text[max(0, match.start() - 300) : match.end() + 100]
                public = kind == "Google" and BROWSER_KEYS.search(text)
                public = public or kind == "API key" and "widget" in near.lower()
                level = "warning" if public else "error"
                what = (
                    f"{match[0].partition('://')[0]}://…@"
                    if kind == "postgres"
                    else kind
                )
                yield path, before.count("\n") + 1, {"kind": what}, level
    for line in project.list.lines:
        user = re.search(
            r"://([\w.-]+:[^/\s@:$<{]{8,}|(gh\w|github_pat|glpat)[_-]\w+)@", line.text
        )
        if user and (line.file, line.number) not in lines:
            yield line.file, line.number, {"kind": "https://…@"}


def is_for_show(secret, host):
    """Tell whether a secret is made of few characters, or for a host that is not on the internet."""
    few = len(secret) >= 16 and len(set(secret)) < 8
    counted = re.search(r"(?i)123456789|abcdefgh|deadbeef", secret)
    inside = re.fullmatch(
        r"[\w-]+|.*\.(local|internal|lan|test)|(10|192\.168|172\.(1[6-9]|2\d|3[01]))\..*",
        host,
    )
    return bool(few or counted or host and inside)


@check("H628", step=9)
def secrets_on_a_page(project):
    """A view that shows os.environ or app.config whole, or a template that shows config: all keys are in them."""
    hooks = ("before_request", "before_app_request")
    hooked = any(
        last_name(decorator) in hooks
        for path, node in project.nodes(ast.FunctionDef)
        for decorator in node.decorator_list
    ) or any(not path.startswith("deploy/") for path, _ in project.calls(*hooks))
    for module, function, *_ in () if hooked else project.running.loading.views:
        texts = list(map(unparse, function.decorator_list))
        # Whatever else it does may send strangers away.
        plain = all(isinstance(node, PLAIN_STEPS) for node in function.body)
        own = any(name.id == "app" for name in stored(function))
        if not plain or own or not all(map(OF_ADDRESS.search, texts)):
            continue
        for node in function.body:
            what = shown_whole(node.value) if isinstance(node, ast.Return) else ""
            if what:
                yield module.path, node.lineno, {"what": what}
    own = project.has_keyword("config") or not project.is_flask
    for path in () if own else sorted(project.contents):
        text = project.text(path) if path.endswith(".html") else ""
        match = WHOLE_CONFIG.search(text)
        if match and not re.search(r"(for|set)\s+config\b", text):
            yield path, line_at(text, match.start()), {"what": "config"}, "warning"


def stored(function):
    """Yield the names that a function gives values to."""
    for node in walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node


def shown_whole(value):
    """Return what an answer gives away whole, "" for any other."""
    if value is None:
        return ""
    if isinstance(value, ast.Call) and last_name(value.func) in SHOWS | ONE_BY_ONE:
        more = [word.value for word in value.keywords if word.arg is None]
        found = next(filter(None, map(shown_whole, [*value.args, *more])), "")
        names_only = last_name(value.func) in ONE_BY_ONE and "(" not in found
        return "" if names_only else found
    if isinstance(value, ast.Dict) and value.keys == [None]:
        return shown_whole(value.values[0])
    if isinstance(value, ast.JoinedStr):
        parts = [n.value for n in value.values if isinstance(n, ast.FormattedValue)]
        return next(filter(None, map(shown_whole, parts)), "")
    if isinstance(value, ast.BinOp):
        return shown_whole(value.left) or shown_whole(value.right)
    if isinstance(value, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
        # f"{name}={value}" for name, value in os.environ.items()
        each = value.generators[0]
        pair = [name.id for name in walk(each.target) if isinstance(name, ast.Name)]
        shown = value.value if isinstance(value, ast.DictComp) else value.elt
        all_of_them = len(pair) == 2 and pair[1] in as_they_are(shown) and not each.ifs
        return shown_whole(each.iter) if all_of_them else ""
    text = unparse(value)
    return text if WHOLE.fullmatch(text) else ""


def as_they_are(value):
    """Return the names whose values stand in a text unchanged: bool(value) and value[:2] tell little."""
    match value:
        case ast.Name(id=name):
            return {name}
        case ast.JoinedStr(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
            pass
        case ast.FormattedValue(value=part):
            parts = [part]
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.Call(func=func, args=parts) if last_name(func) in SHOWS:
            pass
        case _:
            return set()
    return {name for part in parts for name in as_they_are(part)}


@check("H607", step=9)
def secret_as_an_example(project):
    """A real value in app.json or .env.example, which everybody then has."""
    named = re.compile(r"(?i).*(SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY).*")
    pairs = []
    for name, entry in project.app_env.items():
        value = as_dict(entry).get("value", entry)
        pairs.append(("app.json", project.app_json_line(name), name, value))
    for number, line in project.lines(".env.example"):
        name, _, value = line.lstrip("# ").partition("=")
        pairs.append((".env.example", number, name, value.strip(" \"'")))
    for file, line, name, value in pairs:
        long = isinstance(value, str) and re.fullmatch(r"[\w+/=.-]{16,}", value)
        mixed = long and re.search(r"\d", value) and re.search(r"[A-Za-z]", value)
        mixed = mixed and not ABOUT.search(name)
        if mixed and named.fullmatch(name) and not HARMLESS.fullmatch(value):
            yield file, line, {"name": name}


@check("H608", step=9, level="warning")
def password_in_code(project):
    """MAIL_PASSWORD = "…" and the framework's own first key."""
    named = re.compile(r"(?i).*(PASSWORD|PASSWD|API_?KEY|_TOKEN)$|SECRET_KEY$")
    for path, node in project.nodes(ast.Assign):
        name = name_of_target(node)
        owner = last_name(getattr(node.targets[0], "value", None)) or ""
        if re.search(r"(?i)error|label|message|help|text|title|hint", owner):
            continue  # what is said of it
        value = getattr(node.value, "value", None)
        if not isinstance(name, str) or not isinstance(value, str):
            continue
        first_key = value.startswith("django-insecure-")
        plain = HARMLESS.fullmatch(value) or re.fullmatch(PLAIN, value)
        real = not plain and name != "SECRET_KEY"
        # Behind the settings, for all of them: what the config var says no longer counts.
        key = name == "secret_key" or (owner, name) == ("config", "SECRET_KEY")
        replaced = key and below_deploy(project, path, node)
        cookies = replaced or name == "secret_key"
        cookies = cookies and is_set(project, path, node)
        if cookies or named.fullmatch(name) and (real or first_key):
            keys = [value for _, value in project.running.settings.get(name, ())]
            first = first_key and node.value in keys[-1:]
            # As deploy/ has set it from the config var before.
            level = "error" if first or cookies and replaced else "warning"
            yield path, node.lineno, {"name": name}, level


def below_deploy(project, path, node):
    """Tell whether an assignment follows deploy.init_app(app) in a function, and so replaces what that has set."""
    app = unparse(node.targets[0]).partition(".")[0]
    made = f"deploy.init_app({app},"
    for function in project.trees[path].body:
        steps = getattr(function, "body", ()) if hasattr(function, "args") else ()
        before = [unparse(step) for step in steps if step.lineno < node.lineno]
        if node in steps and any(text.startswith(made) for text in before):
            return True
    return False


def is_set(project, path, node):
    """Tell whether an assignment takes place whenever the app loads."""
    return (
        project.is_sure(path)
        and not path.startswith("deploy/")
        and id(node) not in inside_conditions(project)
    )
