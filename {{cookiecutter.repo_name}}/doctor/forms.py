"""Checks of forms and of what a view hands to its page: do the two fit (step 12)?"""

import ast
import posixpath
import re
from collections import defaultdict

from doctor import FACTS, check
from doctor.calls import code_of_their_own
from doctor.data import only_value
from doctor.files import line_at, once
from doctor.pages import is_on_start_page, parts_of, shown, start_pages, templates
from doctor.trees import first_value, last_name, strings, unparse, walk

PAGES = FACTS["pages"]
# Each part can be read in one way only, so that no text of a stranger takes long.
FORM = re.compile(
    r"(?is)<form\b((?:[^>{]|\{(?![{%])|\{\{(?:(?!\}\}).)*\}\}|\{%(?:(?!%\}).)*%\})*)>"
    r"(.*?)(?=</form>|<form\b|\Z)"
)
# Words in the address or the name of a view that programs of others call.
SENDERS = re.compile(r"(?i)web_?-?hook|\bipn\b|telegram|stripe|twilio|whatsapp")
CHOICE = re.compile(r"\b(if|or|and|default|is)\b")
# What sends a form in its own way.
SCRIPTED = re.compile(
    r"(?i)\bhx-|\bon\w+\s*=|@submit|x-on:|ng-submit|v-on:|data-\w*(remote|ajax)"
)
POSITIONAL = re.compile(
    r"""url_for\(\s*(['"])[\w.]+\1\s*,\s*(['"])[^'"]*\2"""
    r"""|url_for\(\s*['"]static['"]\s*,\s*(?!filename|\*\*)\w+\s*=\s*['"][^'"]*['"]\s*\)"""
)
RELATIVE = re.compile(r"""(?:href|src)\s*=\s*["'](?:\./)?(static/[^"'{}]+)["']""")
# What prints the token, or may: all fields at once, macros, other templates.
TOKEN = re.compile(
    r"csrf_token|hidden_tag|\{%-?\s*(include|import|from|for|call)|\{\{\s*\w*form\w*\s*[|}]|render_\w*|quick_form|wtf\."
)


@once
def views(project):
    """Return [(Module, function, [(address, methods)], owner)] of the views, those of one function together."""
    found = {}
    for module, function, route, owner in project.running.loading.views:
        words = {word.arg: word.value for word in route.keywords}
        methods = {"GET"}
        if route.func.attr in ("post", "put", "delete", "patch"):
            methods = {route.func.attr.upper()}
        elif "methods" in words:
            methods = set(re.findall(r"\w+", unparse(words["methods"]).upper()))
        address = address_of(project, module.path, route)
        rows = found.setdefault(id(function), (module, function, [], owner))[2]
        rows.append((address, methods))
    return list(found.values())


def address_of(project, path, route):
    """Return the address of a route, None where it is not known.

    What is computed may stand in a variable only: f"/posts/<int(max={MAX}):id>".
    """
    node = route.args[0] if route.args else None
    if isinstance(node, ast.Name):
        node = only_value(project, path, node.id)
    if isinstance(node, ast.JoinedStr):
        parts = [getattr(part, "value", "") for part in node.values]
        text = "".join(part if isinstance(part, str) else "…" for part in parts)
        return None if "…" in re.sub(r"<[^>]*>", "", text) else text
    text = getattr(node, "value", None)
    return text if isinstance(text, str) else None


def endpoint(function, owner):
    """Return the name of a view for url_for()."""
    first = first_value(owner.node) if owner.of == "flask.Blueprint" else None
    return f"{first}.{function.name}" if first else function.name


@once
def pages(project):
    """Return [(Module, function, addresses, owner, {template: text})] of views and what they render."""
    texts, found = list(templates(project)), []
    for module, function, addresses, owner in views(project):
        mine = {}
        for call in walk(function):
            name = first_value(call) if isinstance(call, ast.Call) else None
            if isinstance(name, str) and last_name(call.func) == "render_template":
                here = [(p, text) for p, text in texts if p.endswith(f"/{name}")]
                mine |= here if len(here) == 1 else []
        found.append((module, function, addresses, owner, mine))
    return found


def forms_of(text):
    """Yield (what stands in the tag <form …>, what stands inside) of a template."""
    for match in FORM.finditer(re.sub(r"(?s)<!--.*?-->", "", text)):
        yield match[1], match[2]


def attribute(tag, name):
    """Return the value of an attribute, None where it is missing."""
    match = re.search(
        rf"(?is)\b{name}\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([\w/.#-]+))", tag
    )
    return (
        next((part for part in match.groups() if part is not None), "")
        if match
        else None
    )


def posts(tag):
    return (attribute(tag, "method") or "get").lower() == "post"


def plain(tag):
    """Tell whether a browser sends a form as its tag says."""
    return not SCRIPTED.search(tag) and "{%" not in tag


@once
def scripted(project):
    """Tell whether scripts may send forms, or change where they go."""
    code = [project.text(p) for p in project.contents if p.endswith(".js")]
    for _, text in templates(project):
        scripts = re.split(r"(?i)<script\b", text)[1:]
        code += [part.partition("</script>")[0] for part in scripts]
        code += re.findall(r"\bon\w+\s*=\s*[\"'][^\"']*", text)
    return any(
        re.search(
            r"preventDefault|\.submit\(|FormData|\.(method|action|enctype)\s*=|setAttribute|formaction",
            text,
        )
        for text in code
    )


def line_of(project, path, tag):
    return line_at(project.text(path), max(0, project.text(path).find(tag)))


@once
def sent(project):
    """Return [(path, tag, inside, views)] of the forms that are sent by POST, with the views that get them.

    views: (function, addresses) each, None where that is not known.
    """
    by_name, found = {}, []
    renderers = defaultdict(list)
    for _, function, addresses, owner, mine in pages(project):
        by_name[endpoint(function, owner)] = (function, addresses)
        for path in mine:
            renderers[path].append((function, addresses))
    for path, text in templates(project):
        for tag, inside in forms_of(text):
            if not posts(tag) or not plain(tag):
                continue
            action = attribute(tag, "action")
            link = re.fullmatch(
                r"""\{\{\s*url_for\(\s*['"]([\w.]+)['"].*\}\}""", action or ""
            )
            if link:
                view = by_name.get(link[1])
                found.append((path, tag, inside, [view] if view else None))
            elif action in (None, "", "#") and renderers[path]:
                found.append((path, tag, inside, renderers[path]))
            else:
                found.append((path, tag, inside, None))
    return found


@check("H131", step=12, level="warning")
def form_that_its_view_refuses(project):
    """<form method="post">, where the view takes GET only: 405."""
    if project.calls_any(*PAGES["routes_otherwise"]) or scripted(project):
        return
    taken = {
        (id(owner.node), address)
        for _, _, addresses, owner in views(project)
        for address, methods in addresses
        if "POST" in methods
    }
    owners = {id(function): owner for _, function, _, owner in views(project)}
    for path, tag, _, into in sent(project):
        takes = [
            (id(owners[id(function)].node), address) in taken or address is None
            for function, addresses in into or ()
            for address, _ in addresses
        ]
        if takes and not any(takes) and "formaction" not in tag:
            name = into[0][0].name
            yield path, line_of(project, path, tag), {"name": name}


@check("H132", step=12, level="warning")
def link_with_a_value_of_no_name(project):
    """url_for("static", "style.css"): all values but the first have names."""
    if not project.is_flask or any(
        getattr(node, "name", "") == "url_for" for node in project.definitions
    ):
        return
    for path, text in templates(project):
        for line, tag, rest, _ in parts_of(text):
            if POSITIONAL.search(rest):
                sure = not tag and any(
                    (p, at, other) == (path, line, rest)
                    for p, at, _, other in shown(project)
                )
                what = POSITIONAL.search(rest)[0].rstrip(")") + ")"
                yield path, line, {"what": what}, "error" if sure else "warning"
    for path, call in project.calls("url_for"):
        if len(call.args) > 1 and getattr(call.func, "id", "") == "url_for":
            sure = is_on_start_page(project, call)
            yield (
                path,
                call.lineno,
                {"what": unparse(call)},
                "error" if sure else "warning",
            )


@check("H133", step=12, level="warning")
def form_without_a_method(project):
    """A form whose view waits for POST: without method="post" a browser sends it as GET, and nothing happens."""
    if scripted(project):
        return
    for _, function, addresses, _, mine in pages(project):
        code = unparse(function)
        waits = any({"GET", "POST"} <= methods for _, methods in addresses)
        reads = re.search(r"validate_on_submit\(\)|request\.(form|files)\b", code)
        if not (waits and reads) or re.search(r"request\.(args|values)", code):
            continue
        for path, text in mine.items():
            # Those that lead to this page itself.
            found = [
                (tag, inside)
                for tag, inside in forms_of(text)
                if attribute(tag, "action") in (None, "", "#")
            ]
            if any(
                attribute(t, "method") is not None or not plain(t) for t, _ in found
            ):
                continue
            for tag, inside in found:
                field = re.search(
                    r"<(input|textarea|select)|\{\{\s*\w*form\w*\.", inside
                )
                button = re.search(r"(?i)<button|type=.submit|\.submit\b", inside)
                if field and button:
                    yield path, line_of(project, path, tag), {"name": function.name}


@check("H134", step=12, level="warning")
def file_that_is_not_sent(project):
    """A form with a file, without enctype="multipart/form-data": a browser sends the file's name only."""
    files = {
        node.targets[0].id
        for _, node in project.nodes(ast.Assign)
        if isinstance(node.targets[0], ast.Name)
        and last_name(getattr(node.value, "func", None))
        in ("FileField", "MultipleFileField")
    }
    if scripted(project):
        return
    for path, text in templates(project):
        for tag, inside in forms_of(text):
            fields = set(re.findall(r"\{\{\s*\w*form\w*\.(\w+)\s*\(", inside))
            fields |= set(re.findall(r"\{\{\s*\w*form\w*\.(\w+)\s*\}\}", inside))
            file = re.search(r"(?i)<input\b[^>]*\btype\s*=\s*.?file\b", inside)
            if (
                (file or fields & files)
                and posts(tag)
                and plain(tag)
                and "enctype" not in tag
            ):
                yield path, line_of(project, path, tag), {}


@check("H135", step=12, level="warning")
def field_that_no_page_sends(project):
    """request.form["email"], where the form calls it mail: 400."""
    whole = all(into is not None for *_, into in sent(project))
    if scripted(project) or not whole:
        return
    for module, function, _, _, _ in pages(project):
        mine = [
            (p, inside)
            for p, _, inside, into in sent(project)
            if any(f is function for f, _ in into)
        ]
        dynamic = any(
            re.search(
                r"\{%-?\s*(include|import|from|for|call)|name\s*=\s*[\"']?\{|\{\{\s*\w*form",
                i,
            )
            for _, i in mine
        )
        if not mine or dynamic:
            continue
        names = {
            name
            for _, inside in mine
            for name in re.findall(r"\bname\s*=\s*[\"']?([\w.-]+)", inside)
        }
        for node in walk(function):
            if (
                isinstance(node, ast.Subscript)
                and unparse(node.value) == "request.form"
            ):
                name = getattr(node.slice, "value", None)
                if isinstance(name, str) and name not in names:
                    yield module.path, node.lineno, {"name": name, "file": mine[0][0]}
                    break


@check("H136", step=12, level="warning")
def form_without_its_token(project):
    """CSRFProtect refuses a form without csrf_token; a FlaskForm is never valid without it.

    deploy/ asks for it where a browser keeps to itself which site a form is from.
    """
    code = code_of_their_own(project)
    off = re.search(r"WTF_CSRF_ENABLED|\bcsrf = False|\bexempt\b", code)
    if off or scripted(project):
        return
    guarded = project.calls_any("CSRFProtect") or "deploy/security.py" in project
    for path, tag, inside, into in sent(project):
        asked = any("validate_on_submit" in unparse(f) for f, _ in into or ())
        own_fields = asked and re.search(r"\{\{\s*\w*form\w*\.\w+", inside)
        elsewhere = re.match(r"(https?:)?//", attribute(tag, "action") or "")
        if (guarded or own_fields) and not (elsewhere or TOKEN.search(inside)):
            yield path, line_of(project, path, tag), {}


@check("H157", step=12, level="warning")
def program_without_a_token(project):
    """CSRFProtect refuses what Telegram, Stripe and the like send: their programs have no token of a form."""
    code = code_of_their_own(project)
    off = re.search(r"WTF_CSRF_(ENABLED|CHECK_DEFAULT)|\bexempt\b", code)
    guarded = project.calls_any("CSRFProtect") or "deploy/security.py" in project
    for module, function, addresses, _ in views(project) if guarded and not off else ():
        called = [function.name, *(address or "" for address, _ in addresses)]
        posts = any("POST" in methods for _, methods in addresses)
        if posts and SENDERS.search(" ".join(called)):
            yield module.path, function.lineno, {"name": function.name}


@check("H137", step=12, level="warning")
def static_file_beside_the_page(project):
    """href="static/style.css": right on the start page, another address on /posts/new."""
    deep = {}
    for _, function, addresses, owner, mine in pages(project):
        given = next(
            (w.value for w in owner.node.keywords if w.arg == "url_prefix"), None
        )
        prefix = getattr(given, "value", "") or ""
        for address, methods in addresses:
            whole = f"{prefix}{address or ''}"
            if (
                "GET" in methods
                and whole.strip("/").count("/")
                + whole.endswith("/") * bool(whole.strip("/"))
                > 0
            ):
                for path, text in mine.items():
                    deep[path] = whole
                    for name in re.findall(
                        r"""\{%-?\s*extends\s+["']([^"']+)["']""", text
                    ):
                        for other, _ in templates(project):
                            if other.endswith(f"/{name}"):
                                deep[other] = whole
    for path, text in templates(project):
        match = RELATIVE.search(text)
        if match and path in deep and "<base" not in text:
            details = {"name": match[1], "address": deep[path]}
            yield path, line_at(text, match.start()), details


@check("H138", step=12, level="warning")
def name_that_the_view_does_not_give(project):
    """{{ form.title.label }} in a page whose view hands over no form: 'form' is undefined."""
    everywhere = given_everywhere(project)
    if everywhere is None or not project.is_flask:
        return
    packages = {module for module in project.imported if module.startswith("flask_")}
    # Beside packages that may give names of their own only those that views hand over.
    own = {w.arg for _, c in project.calls("render_template") for w in c.keywords}
    own = own if packages - {*PAGES["no_filters"]} else None
    texts, told = dict(templates(project)), set()
    for path, function in functions(project):
        for template, given in handed_over(function, texts):
            known = everywhere | given
            for line, tag, rest, blocks in parts_of(texts[template]):
                if tag or blocks is None or CHOICE.search(rest):
                    continue
                for name in set(asked_of(rest)) - known - told:
                    if any(name.lower() in package for package in packages):
                        continue  # flask_pagedown has it from there
                    if own is not None and name not in own:
                        continue
                    told.add(name)
                    seen = any(
                        (p, r) == (template, rest) for p, _, _, r in shown(project)
                    )
                    details = {"name": name, "view": function.name}
                    yield template, line, details, "error" if seen else "warning"


@check("H145", step=12)
def name_that_nobody_gives(project):
    """{{ now.year }} in what all pages share: the start page fails, where nothing hands it over."""
    everywhere = given_everywhere(project)
    packages = {module for module in project.imported if module.startswith("flask_")}
    unknown = packages - {*PAGES["no_filters"]}
    if everywhere is None or not project.is_flask or unknown:
        return
    texts = dict(templates(project))
    for module, function in start_pages(project):
        handed = dict(handed_over(function, texts))
        given = set().union(*handed.values()) if handed else given_by_all(project)
        for path, line, tag, rest in shown(project) if given is not None else ():
            if tag or path in handed or CHOICE.search(rest):
                continue
            for name in sorted({*asked_of(rest)} - everywhere - given)[:1]:
                yield path, line, {"name": name}
                return


def given_by_all(project):
    """Return the names that some page or other gets, None where some are computed."""
    calls = [call for _, call in project.calls("render_template")]
    words = {word.arg for call in calls for word in call.keywords}
    return None if None in words or any(len(c.args) > 1 for c in calls) else words


def functions(project):
    """Yield (path, function) of the app's own functions."""
    for path, node in project.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        if not path.startswith("deploy/"):
            yield path, node


def handed_over(function, texts):
    """Yield (template, the names that it gets) of what a function renders; not where some are computed."""
    found = {}
    for call in walk(function):
        name = first_value(call) if isinstance(call, ast.Call) else None
        if isinstance(name, str) and last_name(call.func) == "render_template":
            here = [path for path in texts if path.endswith(f"/{name}")]
            words = {word.arg for word in call.keywords}
            whole = None not in words and len(call.args) == 1 and len(here) == 1
            for path in here:
                found.setdefault(path, []).append(words if whole else None)
    for path, words in found.items():
        if None not in words:
            yield path, set().union(*words)


def given_everywhere(project):
    """Return the names that all templates have, None where some are computed."""
    found = {*PAGES["given"]} | bound_in_templates(project)
    hooks, seen = {"context_processor", "app_context_processor"}, 0
    for _, function in functions(project):
        decorators = {last_name(getattr(n, "func", n)) for n in function.decorator_list}
        if decorators & {"template_global", "app_template_global"}:
            found |= {function.name}
        if decorators & hooks:
            seen += 1
            words = [w for n in walk(function) for w in getattr(n, "keywords", ())]
            found |= {*strings(function), *(word.arg for word in words)}
    used = [
        n.attr for p, n in project.nodes(ast.Attribute) if not p.startswith("deploy/")
    ]
    by_hand = len([name for name in used if name in hooks]) > seen
    computed = {"globals", "add_template_global", "template_context_processors"} & {
        *used
    }
    return None if None in found or by_hand or computed else found


@once
def bound_in_templates(project):
    """Return the names that templates bind themselves."""
    found, binds = set(), {"for", "set", "with", "macro", "call", "import", "from"}
    for _, text in templates(project):
        for _, tag, rest, _ in parts_of(text):
            if tag in binds:
                found |= set(re.findall(r"\w+", rest.partition(" in ")[0][:500]))
    return found


def asked_of(rest):
    """Yield the names of which a tag asks more than Jinja gives for what is not there."""
    text = re.sub(r"\"[^\"]*\"|'[^']*'", "''", rest)
    for match in re.finditer(r"(?<![\w.|])\b([a-zA-Z_]\w*)(?:\.\w+|(?=\())", text):
        before = text[: match.start()].rstrip()
        if not before.endswith("|"):
            yield match[1]


@check("H139", step=12, level="warning")
def rows_that_are_not_kept(project):
    """db.session.add(…) in a view without a commit: the row is gone with the request."""
    ends = defaultdict(list)  # session.commit(), commit=True, session.begin()
    for path, node in project.nodes(ast.Attribute, ast.Name, ast.keyword):
        if getattr(node, "arg", last_name(node)) in ("commit", "begin"):
            ends[path].append(node.lineno)
    keeps = {
        function.name: function
        for path, function in functions(project)
        if any(function.lineno <= n <= function.end_lineno for n in ends[path])
    }
    hooks = [
        last_name(getattr(n, "func", n))
        for f in keeps.values()
        for n in f.decorator_list
    ]
    after = any(re.search("after|teardown", hook) for hook in hooks)
    if after or project.has_text("SQLALCHEMY_COMMIT_ON_TEARDOWN"):
        return
    for module, function, _, _ in views(project):
        calls = [node for node in walk(function) if isinstance(node, ast.Call)]
        if not {last_name(call.func) for call in calls} & {"add", "add_all", "delete"}:
            continue
        of_session = [c for c in calls if re.search(r"\bsession\b", unparse(c.func))]
        adds = [
            c for c in of_session if last_name(c.func) in ("add", "add_all", "delete")
        ]
        if not adds or function in keeps.values():
            continue
        others = {last_name(c.func) for c in calls if c not in of_session}
        others |= {last_name(getattr(n, "func", n)) for n in function.decorator_list}
        ended = re.search(r"\bcommit\b|\bwith .{0,200}\bsession\b", unparse(function))
        if not ended and not others & keeps.keys():
            yield module.path, adds[0].lineno, {"what": unparse(adds[0])[:60]}


@check("H140", step=12, level="warning")
def picture_among_the_templates(project):
    """A picture or a style sheet in templates/: nobody serves it from there."""
    texts = dict(templates(project))
    for path in sorted(project.sizes):
        inside = re.search(r"(^|/)templates/(.+\.(png|jpe?g|gif|webp|ico|css))$", path)
        if not inside or "admin" in path:
            continue
        name = posixpath.basename(path)
        for template, text in texts.items():
            match = re.search(
                rf"""(src|href)\s*=\s*["'][^"'{{}}]*{re.escape(name)}["']""", text
            )
            if match:
                yield template, line_at(text, match.start()), {"name": path}
                return


@check("H141", step=12, level="warning")
def json_without_its_type(project):
    """fetch(…, {body: JSON.stringify(…)}) without Content-Type: request.get_json() answers 415."""
    read = [
        (path, call)
        for path, call in project.calls("get_json")
        if not call.args and not {w.arg for w in call.keywords} & {"force", "silent"}
    ]
    attributes = [
        node
        for _, node in project.nodes(ast.Attribute)
        if node.attr == "json" and last_name(node.value) == "request"
    ]
    if not (read or attributes):
        return
    scripts = [
        (p, project.text(p)) for p in sorted(project.contents) if p.endswith(".js")
    ]
    for path, text in [*scripts, *templates(project)]:
        sends = re.search(r"body:\s*JSON\.stringify", text)
        if (
            sends
            and "fetch(" in text
            and not re.search(r"(?i)content-type|axios", text)
        ):
            yield path, line_at(text, sends.start()), {}
            return
