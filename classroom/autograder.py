"""What Classroom 50 runs for each submission: the doctor's JSON becomes result.json, a point for each step of the guide.

In the classroom50 repository this file lies in CLASSROOM/autograders/ASSIGNMENT/, beside the folder doctor/ of a freshly
baked project. It needs Python only. The doctor beside it looks at the submission; nothing of the submission runs.
"""

import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
STEPS = (1, 4, 6, 7, 9, 10, 12, 13)  # of the guide, those that the doctor has checks for
SECONDS = 30
# The submission is the working folder, and may have a doctor of its own. What it says of itself that it has installed,
# in an environment that was committed, is no evidence.
START = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
from doctor import installed
installed.ENVIRONMENTS = ()
runpy.run_module("doctor", None, "__main__", True)
"""


def ask_doctor(submission):
    """Return the doctor's report on a folder. Raises ValueError or subprocess.TimeoutExpired where it has none."""
    command = [sys.executable, "-I", "-S", "-c", START, HERE, "--root", submission, "--json"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode not in (0, 1):
        raise ValueError(done.stderr.decode("utf-8", "replace"))
    return json.loads(done.stdout)


def graded_steps(report):
    """Return a test for each step: passed without an error, silenced or not."""
    findings = [*report["findings"], *report["silenced"]]
    errors = [finding for finding in findings if finding["level"] == "error"]
    tests = []
    for step in STEPS:
        own = [f"{f['id']} {f['file']}: {f['title']}. {f['fix']}" for f in errors if f["step"] == step]
        score = 0 if own else 1
        tests.append({"test-name": f"Step {step} of DEPLOY.md", "passed": not own, "score": score, "max-score": 1})
        tests[-1]["output"] = "\n".join(own)
    return tests


def result(report, environ):
    """Return what Classroom 50 reads; environ: the variables of its runner."""
    tests = graded_steps(report)
    now = datetime.datetime.now(datetime.UTC)
    return {
        "schema": "classroom50/result/v1",
        "classroom": environ["CLASSROOM"],
        "assignment": environ["ASSIGNMENT"],
        "assignment_type": environ.get("ASSIGNMENT_TYPE") or "individual",
        "owner": environ.get("OWNER") or environ["USERNAME"],
        "submission": environ["SUBMISSION_TAG"],
        "commit": environ["COMMIT_URL"],
        "release": environ["RELEASE_URL"],
        "review": environ.get("REVIEW_URL") or environ["COMMIT_URL"],
        "datetime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "score": sum(test["score"] for test in tests),
        "max-score": sum(test["max-score"] for test in tests),
        "tests": tests,
    }


def main():
    """Write result.json into the working folder; return the exit status, which is 0 however the grading ends."""
    try:
        text = json.dumps(result(ask_doctor(Path.cwd()), os.environ), indent=2)
    except (ValueError, KeyError, OSError, subprocess.TimeoutExpired) as error:
        print(f"The doctor has no report: {error}", file=sys.stderr)
        return 1
    file = Path("result.json")
    # The submission may have a link or a folder of this name.
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)
    file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
