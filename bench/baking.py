"""What a bake takes: the template's own part, and git's; and the project's own tests, which a person runs next."""

import shutil

from lab import Project
from tools import ALONE, interleaved, seconds


def measure(bench):
    empty = Project(bench.work / "empty", bench.environ)
    empty.write("cookiecutter.json", '{"repo_name": "empty"}')
    empty.write("{{cookiecutter.repo_name}}/README.md", "empty\n")
    project = bench.bake()
    shutil.rmtree(project.path / ".git")
    known = ("-c", "user.name=a", "-c", "user.email=a@example.com")

    def git():
        project.run("git", "init", "--quiet")
        project.run("git", "add", "--all")
        project.run("git", *known, "commit", "--quiet", "--message", "x")
        shutil.rmtree(project.path / ".git")

    times = bench.figures["bake"] = interleaved(
        {
            "empty": lambda: bench.bake(template=empty.path),
            "hooks": bench.bake,
            "no hooks": lambda: bench.bake(options=["--accept-hooks=no"]),
            "git": git,
        },
    )
    most = times["empty"] * 1.3 + times["git"]
    bench.row(
        "bake, hooks on",
        f"{times['hooks']:.2f} s; hooks off {times['no hooks']:.2f}, an empty template {times['empty']:.2f},"
        f" git alone {times['git']:.2f}",
        f"1.3 × an empty template + git = {most:.2f} s",
        times["hooks"] <= most,
    )
    # In a folder of its own: in the common one pytest takes away first what other runs have left.
    own = {"PYTEST_DEBUG_TEMPROOT": str(bench.folder())}
    tests = seconds(lambda: bench.project.run("python", "-m", "pytest", "-q", **ALONE, **own))
    bench.row("the project's own tests", f"{tests:.1f} s")
