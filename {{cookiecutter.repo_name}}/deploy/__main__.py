"""python -m deploy install | run | test | stop: what `make` does, on every system. Needs only Python."""

import sys

if __name__ == "__main__":
    # Or a file of the project's own, as random.py, would be run in place of Python's.
    sys.path[:] = [x for x in sys.path if x != __file__[: -len("/deploy/__main__.py")]]

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if sys.version_info < (3, 11):  # noqa: UP036
    with open(str(ROOT / "deploy" / "words.toml"), encoding="utf-8") as file:
        sys.exit(next(x for x in file if x.startswith("old_python")).split('"')[1])

import argparse
import os
import socket
import subprocess

from deploy.packages import PYTHON, SAY, WORDS, ran, set_up, tell


def main(arguments=None):
    parser = argparse.ArgumentParser("python -m deploy", description=SAY["about"])
    parser.add_argument("what", choices=["install", "run", "test", "stop"])
    parser.add_argument("--port", default=os.environ.get("PORT", "5000"))
    options, rest = parser.parse_known_args(arguments)
    if rest and options.what != "test":
        parser.error(" ".join(rest))
    os.chdir(ROOT)
    if options.what == "run":
        refuse_port(options.port)
    set_up()
    if options.what == "run":
        tell("starting", port=options.port)
        os.environ["PORT"] = options.port  # a codespace has a name for each port
        become("-m", "flask", "run", "--debug", "--port", options.port)
    if options.what == "test":
        tell("testing")
        become("-m", "pytest", *rest)
    if options.what == "stop" and ran([PYTHON, "-m", "deploy.postgres", "stop"]):
        tell("stopped")


def refuse_port(port):
    if not (port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
        sys.exit(WORDS["port_no_number"].format(value=port))
    with socket.socket() as taken:
        if os.name == "posix":  # as servers do; on Windows two could have one port then
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", int(port)))
        except OSError:
            sys.exit(SAY["taken"].format(port=port))


def become(*arguments):
    """End as the .venv's Python does with these arguments."""
    if os.name == "posix":
        os.execv(PYTHON, [str(PYTHON), *arguments])
    with subprocess.Popen([PYTHON, *arguments]) as process:
        while True:
            try:
                sys.exit(process.wait())
            except KeyboardInterrupt:
                pass  # it was for both; the program is on its way to end


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)  # the next run goes on from there
    except OSError as error:
        sys.exit(SAY["refused"].format(error=error))
