"""The command: python -m classroom bake ROSTER.csv OUT, python -m classroom check OUT. Its exit status: 0, or 2 with
the reason on standard error."""

import argparse
import signal
import sys
from pathlib import Path

from classroom import WORDS, Refused


def main(arguments=None):
    """Run one command; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A console that cannot show a letter gets a stand-in for it, not a traceback.
        stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog="python -m classroom", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    bake = commands.add_parser("bake", help="bake a project for every line of a roster")
    bake.add_argument("roster", type=Path, metavar="ROSTER.csv")
    bake.add_argument("out", type=Path, metavar="OUT", help="the folder that the projects go into")
    bake.add_argument(
        "answers", nargs="*", metavar="key=value", help="answers for all whose line has none in a column of that name"
    )
    check = commands.add_parser("check", help="tell which of the fetched repositories would deploy")
    check.add_argument("out", type=Path, metavar="OUT", help="the folder that the repositories lie in")
    check.add_argument("--csv", dest="table", type=Path, metavar="FILE", help="write the table for a spreadsheet")
    check.add_argument("--html", dest="page", type=Path, metavar="FILE", help="write the table as a web page")
    for command in (bake, check):
        command.add_argument("--language", choices=list(WORDS), default="en", help="of what is said (default: en)")
    options = vars(parser.parse_args(arguments))
    words = WORDS[options.pop("language")]
    try:
        if options.pop("command") == "bake":
            from classroom import bake as command
        else:
            from classroom import check as command
        command.run(words, **options)
    except Refused as error:
        print(*error.lines, sep="\n", file=sys.stderr)
        return 2
    except ImportError as error:
        print(words["no_module"].format(name=error.name), file=sys.stderr)
        return 2
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error
        print(words["system"].format(reason=reason), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(words["interrupted"], file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is half done is taken away
    sys.exit(main())
