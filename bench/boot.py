"""What a start takes, from the command to the first page, and which imports it consists of."""

import os
import signal
import subprocess
import time

from lab import SERVER, free_port
from tools import OWN, ROUNDS, get, median

# A process that imports something, then answers once.
FLOOR = """
import socket, {module}
server = socket.create_server(("127.0.0.1", {port}))
connection, _ = server.accept()
connection.recv(1000)
connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
"""


def start(project, command):
    """Start a command; return the seconds until it has answered."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        [word.replace("{port}", str(port)) for word in command],
        cwd=project.path,
        env=project.environ | {"PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while get(port, "/") is None:
        assert process.poll() is None, command
        time.sleep(0.005)
    spent = time.perf_counter() - began
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return spent


def measure(bench):
    commands = {
        "Flask and SQLAlchemy": ["python", "-c", FLOOR.replace("{module}", "flask, sqlalchemy.orm")],
        "import main": ["python", "-c", FLOOR.replace("{module}", "main")],
        OWN: SERVER,
        "flask run": ["flask", "run", "-p", "{port}"],
    }
    rounds = [{name: start(bench.project, command) for name, command in commands.items()} for _ in range(ROUNDS)]
    times = bench.figures["boot"] = {name: median([times[name] for times in rounds]) for name in commands}
    ratio = times[OWN] / times["import main"]
    bench.row(
        "boot to the first page",
        f"{times[OWN]:.2f} s; flask run {times['flask run']:.2f}; imports and a port: main {times['import main']:.2f}"
        f" ({ratio:.2f} ×), Flask and SQLAlchemy alone {times['Flask and SQLAlchemy']:.2f}",
        "1.3 × its imports",
        ratio <= 1.3,
    )
    lines = bench.project.run("python", "-X", "importtime", "-c", "import main").stderr.splitlines()
    costs = {}
    for line in lines[1:]:
        own, _, name = line.removeprefix("import time:").split("|")
        package = name.strip().partition(".")[0]
        costs[package] = costs.get(package, 0) + int(own) / 1000
    top = sorted(costs.items(), key=lambda item: -item[1])[:6]
    bench.row("the slowest imports", ", ".join(f"{name} {cost:.0f} ms" for name, cost in top))
