"""The command: python -m doctor. Its exit status: 0 deploys, 1 would not, 2 could not check."""

import _thread
import argparse
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

try:
    from doctor import (  # noqa: F401
        CHECKS,
        app_json,
        baked,
        browser,
        calls,
        data,
        django_settings,
        exposed,
        forms,
        imports,
        layout,
        migrations,
        models,
        packages,
        pages,
        procfile,
        report,
        settings,
        silence,
        startup,
        visits,
        wiring,
    )
    from doctor.project import Project
    from doctor.report import printable, say
    from doctor.repository import CannotCheck
except SyntaxError as error:  # an update that stopped half-way
    sys.exit(f"{error.filename}:{error.lineno}: {error.msg}; git checkout -- doctor")

ROOT = Path(__file__).resolve().parent.parent
# A course project takes less than one, a large one ten on a slow computer.
DEADLINE = 30  # seconds
MAX_LOG = 50_000_000  # characters of a log
MAX_UNPUSHED = 1_000  # changed files; with more of them only the commit is looked at


def find(project, found=None):
    """Return what all checks have found. found: a list that has it from check to check."""
    found = [] if found is None else found
    for run in CHECKS.values():
        found += run(project)
    return found


def main(arguments=None):
    if sys.stdout is None:  # closed: the exit status tells all the same
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    # A console that cannot show a letter gets a stand-in for it, not a traceback.
    sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog="python -m doctor", description=say("about"))
    parser.add_argument(
        "what", nargs="*", metavar="H101 | explain LINE", help=say("help_what")
    )
    parser.add_argument("--dyno", action="store_true", help=say("help_dyno"))
    parser.add_argument("--silenced", action="store_true", help=say("help_silenced"))
    parser.add_argument("--json", action="store_true", help=say("help_json"))
    parser.add_argument("--root", type=Path, default=ROOT, help=say("help_root"))
    options = parser.parse_args(arguments)
    if options.what:
        return answer(options.what)
    so_far = []
    try:
        gc.disable()  # syntax trees are many small things, and all of them stay
        with deadline(DEADLINE):
            result = look(options.root, so_far)
        if options.dyno:
            add_dyno(result)
    except (CannotCheck, OSError, subprocess.SubprocessError) as error:
        certain = []
        for project, found in so_far if not options.json else ():
            certain += report.errors(silence.apart(found, project)[0])
        for finding in certain:
            print(*report.paragraph(finding, sys.stdout), "", sep="\n")
        print(cannot(error), file=sys.stderr)
        return 1 if certain else 2
    if options.json:
        print(report.as_json(result))
    else:
        if result.figures:
            from doctor import dyno

            print(dyno.text(result.figures), end="\n\n")
        print(report.text(result, sys.stdout, options.silenced))
    return 1 if report.errors(result.findings) or result.is_unfinished else 0


def look(root, so_far=None):
    """Return the Report of a folder. Raises CannotCheck.

    so_far: a list that gets (project, the list of what is found).
    """
    began = time.monotonic()
    project, found = Project(root), []
    if so_far is not None:
        so_far.append((project, found))
    findings, silenced = silence.apart(find(project, found), project)
    result = report.Report(project, findings, silenced)
    if time.monotonic() - began > DEADLINE / 3:
        project.unpushed = None  # there is no time for a second look
    if project.in_git and 0 < len(project.unpushed or ()) <= MAX_UNPUSHED:
        later = project.with_folder()
        after, _ = silence.apart(find(later), later)
        seen = [(f.id, f.file, f.details) for f in after]
        before = [(f.id, f.file, f.details) for f in findings]
        known = zip(findings, before, strict=True)
        result.mended = [finding for finding, key in known if key not in seen]
        new = zip(after, seen, strict=True)
        result.uncommitted = [finding for finding, key in new if key not in before]
    return result


def add_dyno(result):
    """Add what a build and a run of the project show."""
    run = on_a_dyno(result.project)
    result.figures, result.remarks = run.figures, run.remarks
    findings, silenced = silence.apart(run.findings, result.project)
    result.findings += findings
    result.silenced += silenced
    result.is_dyno = "web" in result.project.procfile and not run.lacks_database


@contextmanager
def deadline(seconds):
    """End the work in it by CannotCheck where it takes longer, whatever the reason."""
    late = threading.Event()

    def end():
        late.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if late.is_set():
            raise CannotCheck("too_long", seconds=seconds) from None
        raise
    finally:
        timer.cancel()


def cannot(error):
    """Return the sentence that says why nothing could be checked."""
    if isinstance(error, CannotCheck):
        error = say(error.reason, **error.details)
    return printable(say("cannot", reason=error))


def on_a_dyno(project):
    """Build and run the project; return the Dyno. Nothing is left behind."""

    def progress(sentence):
        print(sentence, file=sys.stderr, flush=True)

    def interrupt(*_):
        raise KeyboardInterrupt

    # Whatever ends this program, what it has started has to end with it.
    signal.signal(signal.SIGTERM, interrupt)
    if hasattr(signal, "SIGHUP"):  # its terminal was closed
        signal.signal(signal.SIGHUP, interrupt)
    from doctor import dyno  # here and below, what only some calls need

    with dyno.Dyno(project, progress) as run:
        run.run()
    return run


def answer(what):
    """Explain a check, a code of the platform or a log; return the exit status."""
    from doctor import explain

    if what[0] == "explain":
        answers = explain.log(" ".join(what[1:]) or given_log())
        text = answers or say("unknown_line")
    else:
        id = what[0].upper()
        answers = text = explain.check_words(id) or explain.log(id)
        text = text or say("unknown_id", id=what[0], ids=", ".join(explain.steps()))
    print(text, file=sys.stdout if answers else sys.stderr)
    return 0 if answers else 2


def given_log():
    """Return what standard input has, in whatever encoding; nothing where it is closed."""
    if sys.stdin is None:
        return ""
    sys.stdin.reconfigure(errors="replace")
    return sys.stdin.read(MAX_LOG)


def run():
    """Run main(); return its exit status. What fails in the doctor itself is a 2."""
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(say("interrupted"), file=sys.stderr)
        return 2
    except OSError as error:  # of the output alone: main() knows the others
        # Nothing may be written at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Of a reader that has seen enough, as `head` has, nothing need be said.
        if not isinstance(error, BrokenPipeError):
            print(cannot(error), file=sys.stderr)
        return 2
    except Exception:  # noqa: BLE001 - a mistake in the doctor, whatever it is
        traceback.print_exc(limit=-5)
        print(say("own_mistake"), file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(run())
