"""The guides of a baked project: every name in them exists, every local step works as it is written."""

import json
import re
import shlex
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

from lab import CONTEXT, EXAMPLES, LANGUAGES, ROOT, call

GUIDES = ("README.md", "DEPLOY.md", "MOVING-ON.md", "ELSEWHERE.md")

# The commands of Heroku's CLI that the guides use; all of them are in version 11.10 (seen with --help).
HEROKU = {
    *(
        "login",
        "create",
        "git:remote",
        "open",
        "config",
        "config:set",
        "logs",
        "run",
        "apps:info",
        "apps:destroy",
        "addons:create",
    ),
    *("labs:enable", "ps:scale", "ps:type", "pg:info", "pg:connection-pooling:attach", "pg:backups:capture"),
    *("pg:backups:download", "pg:psql"),
}
# Those of Dokku, in its documentation of August 2026.
DOKKU = {
    *("apps:create", "config:set", "domains:set-global", "letsencrypt:cron-job", "letsencrypt:enable"),
    *("letsencrypt:set", "logs", "plugin:install", "postgres:create", "postgres:export", "postgres:link"),
    "ssh-keys:add",
}
# Programs of a server; test_elsewhere.py types what is said of them.
ON_A_SERVER = {
    *("adduser", "apt", "bash", "cat", "certbot", "createdb", "createuser", "dropdb", "install", "journalctl", "ln"),
    *("ls", "nano", "nginx", "pg_restore", "psql", "ssh", "systemctl", "ufw", "wget"),
}
# Programs that a guide may name without their being part of the project.
PROGRAMS = {"cd", "copy", "cp", "git", "pip", "uv", "py"} | ON_A_SERVER
# What README.md has one write: the files of an app of one's own.
WRITTEN = {"templates/books.html", "test/test_books.py", 'op.execute("DROP TYPE color")', "downgrade()"}
# What MOVING-ON.md has one write, and calls by its name; test_moving_on.py follows it.
WRITTEN |= {"cache.py", "jobs.py", "test/test_jobs.py", "bot_api.py", "bot.py", "heroku"}
IN_MOVING_ON = {
    *("DATABASE_CONNECTION_POOL_URL", "flask-caching", "redis", "procrastinate", "from cache import cache"),
    *("@cache.memoize", "import jobs", "return app", "upgrade()", "flask worker", "wait=", "listen_notify=False,"),
    *("return {}", "web=0", "CERTIFICATE_VERIFY_FAILED"),
}
# What the recipes in the project's README make, and words of the web; test_recipes.py follows these.
IN_RECIPES = {
    "static/app.js",
    "static/",
    "content",
    "</head>",
    "<script>…</script>",
    "fetch()",
    'onclick="…"',
    'style="…"',
    "integrity",
    "frame-src",
    "img-src",
    "style-src",
    "templates/error.html",
    'abort(403, "…")',
    "Permissions-Policy",
    "words",
    "request_id",
    "data:",
    "crossorigin",
    "@csrf.exempt",
    "Accept: application/json",
}
# What ELSEWHERE.md has one write, and words of servers and platforms; test_elsewhere.py follows it.
IN_ELSEWHERE = {
    *("?sslmode=require", "PGSSLMODE", "BEHIND_NGINX", "could not change directory", "active (running)", "sudo"),
    *("-f", "-n 50", "502 Bad Gateway", "502", "DATE", "example.org", "amvera.yaml", "render.yaml", "ADDRESS", "-rw"),
    *("master", "default_db", "postgresql://USER:PASSWORD@HOST/NAME", "postgresql://USER:PASSWORD@HOST/default_db"),
    *("starter", "basic-256mb", "buildCommand", "PORT"),
}
# What the platforms, PostgreSQL and packages call things; nothing that a project could check.
TERMS = {
    *(
        "/",
        '"options"',
        "$PORT",
        "localhost",
        ".env",
        "PGSSLMODE=prefer",
        "code=H10",
        "code=H14",
        "request_id",
        "(none)",
        ".herokuapp.com",
        *("CONFLICT", "copy", "cp", "nothing to commit", "Author identity unknown", "without workflow scope"),
        *(
            "Missing required flag app",
            "--port 8000",
            "PRINTED",
            "python3-venv",
            "formation",
            "ssl_certificate",
            "ssl_certificate_key",
            "memory",
            ".flaskenv",
        ),
        *("<<<<<<<", "=======", ">>>>>>>"),
    ),
    *("us", "eu", "pg_dump"),
    *("essential-0", "essential", "standard", "hobby-dev", "eco", "basic", "heroku …", "main", "web", "release"),
    *("Procfile declares types -> release, web", "Verifying deploy... done.", "doctor --dyno", "postgres"),
    *(".venv", ".devcontainer/", "main.py:init_app()", "--dyno"),
}


# Who git's commits are by.
KNOWN = "[user]\n\tname = T\n\temail = t@example.com\n"


@pytest.fixture(params=[(language, example) for language in LANGUAGES for example in EXAMPLES], ids="-".join)
def project(baked, request):
    """A baked project, to be read only."""
    language, example = request.param
    return baked(language=language, example=example)


def tokens(markdown):
    """Yield all tokens of a Markdown text, also those inside of paragraphs and tables."""
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        yield token
        yield from token.children or ()


def commands(markdown):
    """Return the lines of the code blocks that are meant for a terminal."""
    blocks = [token.content for token in tokens(markdown) if token.type == "fence" and not token.info]
    return [line for block in blocks for line in block.splitlines()]


def check_command(line, project):
    """Fail if a command names something that does not exist."""
    words = shlex.split(re.sub(r"^sudo (-u \S+ )?(\w+=\S+ )?", "", line), posix=False)
    program = words[0].replace("\\", "/").rpartition("/")[2]
    if program in ("python", "python3", "py") and len(words) == 1:
        return
    if program == "source":
        assert words[1:] == [".venv/bin/activate"], line
    elif program == "Activate.ps1":
        assert words == [r".venv\Scripts\Activate.ps1"], line
    elif program == "heroku":
        assert words[1] in HEROKU, line
    elif program == "dokku":
        assert words[1] in DOKKU, line
    elif program == "cruft":
        assert words[1] in ("create", "link", "update"), line
    elif program == "make":
        targets = re.findall(r"^(\w+):", project.read("Makefile"), re.MULTILINE)
        assert words[1] in targets, line
    elif program == "Set-ExecutionPolicy":
        assert words[1:] == ["-Scope", "Process", "RemoteSigned"], line
    elif program in ("python", "python3", "py"):
        target = words[2] if words[1] == "-m" else words[1]
        module = project.path / f"{target.replace('.', '/')}.py"
        known = {"-c", "venv", "pytest", "deploy"} | WRITTEN
        exists = (project.path / target).exists() or module.exists() or target in known
        assert exists, line
    elif program == "flask":
        databases = {"upgrade", "migrate", "revision", "downgrade", "merge", "current"}
        assert words[1] in ("run", "worker", "status") or (words[1] == "db" and words[2] in databases), line
    else:
        assert program in PROGRAMS, line


@pytest.mark.parametrize("guide", GUIDES)
def test_every_name_in_a_guide_exists(project, doctor, guide):
    code = "".join(project.read(name) for name in project.names() if name.endswith(".py"))
    settings = "".join(project.read(name) for name in ("config.py", "deploy/environment.py", ".env.example"))
    known = TERMS | WRITTEN | IN_ELSEWHERE | IN_MOVING_ON | set(re.findall(r"\b[A-Z][A-Z_]+\b", settings))
    known |= IN_RECIPES | {"FLASK_APP", "DATABASE_URL", project.path.name, f"{project.path.name}-"}
    known |= {f"{name}()" for name in re.findall(r"(?m)^def (\w+)", code)} | set(re.findall(r"(?m)^(\w+) = ", code))
    known |= set(re.findall(r'"(/\w+)"', code))  # addresses
    known |= {name.rpartition("/")[2] for name in project.names() if name.startswith("deploy/templates/")}
    known |= set(re.findall(r"{% block (\w+)", project.read("templates/base.html"))) | {"reason"}
    known |= {line.removeprefix("/") for line in project.read(".gitignore").splitlines()}
    known |= {f"[{table}]" for table in re.findall(r"(?m)^\[([\w.]+)\]", project.read("pyproject.toml"))} | {".rej"}
    text = project.read(guide)
    for line in commands(text):
        if not line.startswith(("$", "worker:", "release:")):  # PowerShell's variables; lines of a Procfile
            check_command(line, project)
    for token in tokens(text):
        if token.type != "code_inline" or token.content in known:
            continue
        word = token.content
        if guide == "ELSEWHERE.md" and re.fullmatch(r"/etc/\S+|(https://)?\S+\.example\.org", word):
            continue
        if re.fullmatch(r"[HR]\d+|[a-z].* [a-z]\w+ could be .*|No default language .*|too many .*|server .*", word):
            assert doctor.main([word] if re.fullmatch(r"H\d{3}", word) else ["explain", word]) == 0, word
        elif re.fullmatch(r"[\w.-]+(/[\w.-]*)*", word) and not re.search(r"(^|/)(python3?|py)$", word):
            assert (project.path / word).exists(), word
        else:
            check_command(word.split(" && ")[0], project)


@pytest.mark.parametrize("guide", GUIDES)
def test_links_are_well_formed(project, guide):
    links = [token.attrs["href"] for token in tokens(project.read(guide)) if token.type == "link_open"]
    for link in links:
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme in ("http", "https"), link
            assert "." in parts.hostname, link
            assert not re.search(r"[\s<>{}]", link), link
        elif parts.fragment:
            assert f"\n## {unquote(parts.fragment).replace('-', ' ')}" in project.read(guide).lower(), link
        else:
            assert (project.path / link).exists(), link
    if guide == "DEPLOY.md":
        assert any("deploy?template=https://github.com/" in link for link in links)


def test_all_thirteen_steps_say_what_to_see_and_what_if_not(project):
    see, instead = {"en": ("**You should see", "**If"), "ru": ("**Вы должны увидеть", "**Если")}[
        "ru" if "Репозиторий" in project.read("DEPLOY.md") else "en"
    ]
    sections = re.split(r"^## ", project.read("DEPLOY.md"), flags=re.MULTILINE)
    steps = {int(match[1]): section for section in sections if (match := re.match(r"(\d+)\. ", section))}
    assert list(steps) == list(range(1, 14))
    for number, section in steps.items():
        if number not in (3, 5, 13):  # nothing can go wrong at a button, and 13 is a table of limits
            assert see in section, number
            assert instead in section, number


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_local_steps_work_as_written(bake, language, tmp_path):
    """All that DEPLOY.md has you type, in its order; GitHub is a repository beside the project."""
    project = bake(language=language)
    github = tmp_path / "github"
    repository = re.search(r"https://github.com/(\S+)\.git", project.read("DEPLOY.md")).group(1)
    call("git", "init", "--quiet", "--bare", github / f"{repository}.git")
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[url "{github.as_posix()}/"]\n\tinsteadOf = https://github.com/\n{KNOWN}', encoding="utf-8")
    ran = []
    for line in commands(project.read("DEPLOY.md")):
        if line.startswith("heroku ") or line == "git push heroku main":
            # What the shell hands over to the CLI, which itself would need an account.
            words = project.run("sh", "-c", f"printf '%s\\n' {line}").stdout.splitlines()
            assert words[0] in ("heroku", "git")
            continue
        # The first commit holds all, so there is nothing to commit; later something has changed.
        if line.startswith("git add") and ran[-1][0] != "python -m doctor":
            project.append("README.md", "\nMine.\n")
        result = project.run("sh", "-c", line, check=False, GIT_CONFIG_GLOBAL=str(settings))
        assert result.returncode == 0 or "nothing to commit" in result.stdout, line
        ran.append((line, result.stdout))
    pushed = call("git", "ls-tree", "--name-only", "main", cwd=github / f"{repository}.git")
    assert {"main.py", "Procfile", "requirements.txt"} <= set(pushed.stdout.splitlines())
    assert [" ".join(line.split()[:3]) for line, _ in ran] == [
        "python -m doctor",
        *("git add --all", "git commit -m", "git remote add", "git push -u"),
        'python -c "import',
        "python -m doctor",
        *("python -m pytest", "python -m doctor", "git add --all", "git commit -m", "git push"),
    ]
    assert re.fullmatch(r"[0-9a-f]{64}\n", ran[5][1])
    assert len(ran[6][1].splitlines()) >= 2  # H10 is explained


def test_the_guide_names_the_limits_that_hold(project):
    guide = project.read("DEPLOY.md")
    connections = re.search(r"^MAX_CONNECTIONS = (\d+)", project.read("config.py"), re.MULTILINE).group(1)
    assert re.search(rf"\| 20 \| [^|]*\b{connections}\b", guide)
    plan = json.loads(project.read("app.json"))["addons"][0]["plan"]
    assert f"heroku addons:create {plan} --wait" in guide
    assert "--region eu" in guide


def test_both_readmes_of_the_template_stay_in_step():
    """The same headings and commands, the same questions, the same rows: what is only for its makers is in English."""
    outlines = []
    for name in ("README.md", "README.ru.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        text = re.sub(r"<!-- (\w+): written by .*?<!-- end of \1 -->", "", text, flags=re.DOTALL)  # once for both
        found = {"headings": [], "rows": 0, "commands": [], "questions": []}
        for token in tokens(text):
            found["headings"] += [token.tag] if token.type == "heading_open" else []
            found["rows"] += token.type == "tr_open"
            found["commands"] += [token.content] if token.type == "fence" and "uv pip" not in token.content else []
        found["questions"] = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
        outlines.append(found)
    assert outlines[0] == outlines[1]
    assert set(CONTEXT) >= set(outlines[0]["questions"])


# What a shell gives a meaning to; PowerShell also gives one to brackets, and in "…" to $ and `.
OUTSIDE_QUOTES, INSIDE_QUOTES = re.compile(r"[$`'(){};&|<>@#]"), re.compile(r"[$`]")


@pytest.mark.parametrize("guide", ["README.md", "DEPLOY.md"])
def test_every_command_means_the_same_in_every_shell(project, guide):
    """sh, zsh, PowerShell and cmd: a sign with a meaning of its own stands in double quotes, or not at all."""
    text = project.read(guide)
    spans = [t.content for t in tokens(text) if t.type == "code_inline" and " " in t.content]
    programs = ("python", "py ", "heroku", "git", "flask", "make", "pip", "uv", "cruft")
    lines = commands(text) + [span for span in spans if span.startswith(programs)]
    assert len(lines) > 10
    for line in lines:
        parts = line.split('"')
        assert len(parts) % 2 == 1, line
        assert not any(OUTSIDE_QUOTES.search(part) for part in parts[::2]), line
        assert not any(INSIDE_QUOTES.search(part) for part in parts[1::2]), line
