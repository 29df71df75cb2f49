"""Who may come in: on every platform, on a laptop, and what a log gives away."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from lab import KEY, Postgres, bake_into, call, free_port, only_sentence, raw, start_server, stop_server, wait_until

pytestmark = pytest.mark.slow
# What each platform sets, and whom the app takes for the visitor of the forged request below.
PLATFORMS = {
    "Heroku": ({"DYNO": "web.1"}, "203.0.113.7"),
    "Dokku with CI in its settings": ({"DYNO": "web.1", "GIT_REV": "x", "CI": "true"}, "203.0.113.7"),
    "Heroku with CI in its settings": ({"DYNO": "web.1", "CI": "true"}, "203.0.113.7"),
    "Dokku": ({"DYNO": "web.1", "GIT_REV": "0a1b2c"}, "203.0.113.7"),
    "Railway": ({"RAILWAY_ENVIRONMENT": "production", "CI": "true"}, "198.51.100.1"),
    "Fly": ({"FLY_APP_NAME": "app"}, "198.51.100.2"),
    "Render": ({"RENDER": "true", "CI": "true"}, "127.0.0.1"),
    "Koyeb": ({"KOYEB_APP_NAME": "app"}, "127.0.0.1"),
    "Amvera": ({"AMVERA": "1"}, "127.0.0.1"),
    "nginx": ({"BEHIND_NGINX": "1"}, "198.51.100.1"),
    "a server of one's own": ({}, "127.0.0.1"),
}
# The first addresses are the visitor's invention; the last is what a router adds.
FORGED = {
    "X-Forwarded-For": "6.6.6.6, 203.0.113.7",
    "X-Real-IP": "6.6.6.6, 198.51.100.1",
    "Fly-Client-IP": "6.6.6.6, 198.51.100.2",
    "Forwarded": "for=6.6.6.6;proto=http",
    "CF-Connecting-IP": "6.6.6.6",
    "True-Client-IP": "6.6.6.6",
    "X-Client-IP": "6.6.6.6",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http, https",
}
SEEN = """

@bp.get("/seen")
def seen():
    return {"address": request.remote_addr, "url": request.url}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, environ):
    project = bake_into(tmp_path_factory.mktemp("guard"), environ, "guard")
    project.append("views.py", SEEN)
    yield project
    project.run("python", "-m", "deploy.postgres", "delete")


@pytest.fixture(scope="module")
def database(project):
    server = Postgres(project)
    project.run("flask", "db", "upgrade", DATABASE_URL=server.admin_url)
    return f"{server.admin_url}?sslmode=disable"


@pytest.fixture
def bare(project, database):
    """The environment of a computer on the internet that says nothing of itself; .env stays at home."""
    env_file = project.path / ".env"
    at_home = env_file.with_name(".env.at-home")
    env_file.rename(at_home)
    yield {"PATH": project.environ["PATH"], "SECRET_KEY": KEY, "DATABASE_URL": database}
    at_home.rename(env_file)


def web(project):
    """The Procfile's own line."""
    return ["sh", "-c", f"exec {project.commands()['web']}"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_on_every_platform_the_guard_is_up(project, bare, serve, platform):
    marks, visitor = PLATFORMS[platform]
    server = serve(project, *web(project), environ=bare | marks)
    answer = server.get("/seen", headers=FORGED)
    assert f'"address":"{visitor}"' in answer.text, answer.text
    assert f'"url":"https://127.0.0.1:{server.port}/seen"' in answer.text
    page = server.get("/", headers=FORGED)
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(page.headers["Set-Cookie"].split("; "))
    assert page.headers["Strict-Transport-Security"]
    assert "6.6.6.6" not in server.log()


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("missing", ["SECRET_KEY", "DATABASE_URL"])
def test_on_every_platform_what_is_missing_is_said_in_one_sentence(project, bare, platform, missing):
    marks, _ = PLATFORMS[platform]
    del bare[missing]
    sentence = only_sentence(call(*web(project), cwd=project.path, env=bare | marks, check=False))
    assert missing in sentence
    own = {
        "Heroku": "Heroku" if missing == "DATABASE_URL" else "Config Vars",
        "Fly": "fly secrets",
        "a server of one's own": "SERVE_TO=laptop",
    }
    assert own.get(platform, "") in sentence


@pytest.mark.parametrize("platform", [name for name, (marks, _) in PLATFORMS.items() if marks])
def test_a_platform_s_mark_is_enough_for_flask_run(project, bare, platform):
    marks, _ = PLATFORMS[platform]
    del bare["SECRET_KEY"]
    result = call("flask", "run", "--port", str(free_port()), cwd=project.path, env=bare | marks, check=False)
    assert result.returncode == 1
    assert "SECRET_KEY" in result.stderr
    debug = call("flask", "run", "--debug", cwd=project.path, env=bare | marks | {"SECRET_KEY": KEY}, check=False)
    assert debug.returncode == 1
    assert "FLASK_DEBUG" in debug.stderr


def test_http_leads_to_https_only_where_the_router_says_what_came(project, bare, serve):
    for marks, status in (({"DYNO": "web.1"}, 308), ({"RENDER": "true"}, 200)):
        server = serve(project, *web(project), environ=bare | marks)
        plain = b"GET /seen HTTP/1.0\r\nHost: app.example\r\nX-Forwarded-Proto: http\r\n\r\n"
        assert raw(server.port, plain).split()[1] == b"%d" % status
        assert b"app.example" in raw(server.port, plain)


@pytest.mark.parametrize("command", [["honcho", "start", "-p", "{port}", "web"], ["python", "-m", "deploy.server"]])
def test_on_a_laptop_the_procfile_serves_a_laptop(project, serve, command):
    """As `heroku local` does it: the project's own .env says that this computer is one."""
    honcho = str(Path(sys.executable).with_name("honcho"))
    command = [honcho if word == "honcho" else word for word in command]
    server = serve(project, *command, environ=project.environ | {"PYTHONUNBUFFERED": "1"})
    page = server.get("/")
    assert page.status == 200
    assert "Secure" not in page.headers["Set-Cookie"]
    assert "Strict-Transport-Security" not in page.headers


def test_a_laptop_is_called_by_itself_only(project, serve):
    """Others reach it once names are listed for them."""
    laptop = project.environ | {"SERVE_TO": "laptop"}
    for listed, status in (("", None), ("127.0.0.2", 200)):
        server = serve(project, *web(project), environ=laptop | {"LAPTOP_HOSTS": listed})
        request = b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.2:%d\r\n\r\n" % server.port
        if status:
            assert raw(server.port, request, "127.0.0.2").split()[1] == b"%d" % status
        else:
            with pytest.raises(ConnectionRefusedError):
                raw(server.port, request, "127.0.0.2")
        server.stop()


def test_whom_it_serves_has_two_answers(project, bare):
    result = call(*web(project), cwd=project.path, env=bare | {"SERVE_TO": "everybody"}, check=False)
    assert "laptop or internet" in only_sentence(result)


# --- a shared computer ---


def debugger_pin(project, port):
    """Start the development server in debug mode; return the number that opens its console."""
    log = project.path.parent / f"debug-{port}.log"
    server = start_server(project, ["flask", "run", "--debug", "--port", "{port}"], log, port=port)
    try:
        wait_until(lambda: "Debugger PIN" in server.log(), seconds=20)
        return re.search(r"Debugger PIN: ([\d-]+)", server.log())[1]
    finally:
        stop_server(server)


def test_the_debugger_s_number_is_a_random_one_for_each_start(project):
    first, second = (debugger_pin(project, free_port()) for _ in range(2))
    assert re.fullmatch(r"\d{3}-\d{3}-\d{3}", first)
    assert first != second


def test_a_laptop_answers_to_its_own_names_and_to_those_listed(project, serve):
    server = serve(project, "python", "main.py")
    for name in ("localhost", f"127.0.0.1:{server.port}", "app.localhost"):
        assert server.get("/seen", headers={"Host": name}).status == 200, name
    refused = server.get("/seen", headers={"Host": "evil.example"})
    assert refused.status == 400
    assert "LAPTOP_HOSTS" in refused.text
    server.stop()
    listed = project.environ | {"LAPTOP_HOSTS": "192.168.1.5, *.ngrok.app"}
    server = serve(project, "python", "main.py", environ=listed)
    for name in ("192.168.1.5:5000", "mine.ngrok.app", "localhost"):
        assert server.get("/seen", headers={"Host": name}).status == 200, name
    assert server.get("/seen", headers={"Host": "evil.example"}).status == 400


# --- secrets ---


@pytest.mark.parametrize("password", ["pa@ss", "pa/ss@x", "pa?ss", "p@ss:w/rd", "#pass@1"])
@pytest.mark.parametrize("command", [["flask", "db", "upgrade"], ["python", "-m", "deploy.server"], ["flask", "run"]])
def test_no_part_of_a_password_reaches_a_log(project, bare, command, password):
    bare["DATABASE_URL"] = f"postgres://student:{password}@127.0.0.1:1/data"
    result = call(*command, cwd=project.path, env=bare | {"DYNO": "web.1", "PORT": str(free_port())}, check=False)
    assert result.returncode == 1
    said = result.stdout + result.stderr
    assert "%40" in said
    for part in re.split(r"[@/?:#]", password):
        assert not part or not re.search(rf"\b{part}\b", said), said


def test_a_wrong_password_is_not_in_the_log(project, bare):
    url = bare["DATABASE_URL"]
    wrong = re.sub(r":[^:@]+@", ":wrong-secret-word@", url)
    result = call("flask", "db", "upgrade", cwd=project.path, env=bare | {"DATABASE_URL": wrong}, check=False)
    assert result.returncode == 1
    assert "does not answer" in result.stderr
    assert "wrong-secret-word" not in result.stdout + result.stderr


def test_sigterm_and_ctrl_c_end_a_laptop_s_server(project, serve):
    for how in (signal.SIGTERM, signal.SIGINT):
        server = serve(project, *web(project))
        os.killpg(server.process.pid, how)
        server.process.wait(timeout=30)
