"""What the doctor takes, and the size of what is pushed."""

import json
import time

from lab import ROOT
from tools import ALONE, ROUNDS, median, seconds


def measure(bench):
    project = bench.project
    project.run("git", "checkout", "-q", "config.py")
    project.run("python", "-m", "doctor", **ALONE)
    static = median([seconds(lambda: project.run("python", "-m", "doctor", **ALONE)) for _ in range(ROUNDS)])
    bench.row("doctor, static", f"{static:.2f} s", "0.3 s", static <= 0.3)
    started = time.perf_counter()
    result = project.run("python", "-m", "doctor", "--dyno", "--json", check=False, timeout=900, **ALONE)
    bench.row("doctor --dyno, all of it", f"{time.perf_counter() - started:.0f} s")
    figures = bench.figures["dyno"] = json.loads(result.stdout)["dyno"]
    slug = figures["slug_mb"]
    bench.row("slug, packed, without Python", f"{slug:.1f} MB", "25 MB", slug <= 25)
    parts = figures["largest_parts_mb"]
    rest = figures["unpacked_mb"] - sum(parts.values())
    largest = ", ".join(f"{name} {size:.1f}" for name, size in parts.items())
    bench.row("slug, unpacked, by part", f"{figures['unpacked_mb']:.0f} MB: {largest}, all else {rest:.1f}")
    file = ROOT / ".cache" / "suite-seconds"
    if file.exists():
        minutes = float(file.read_text(encoding="utf-8")) / 60
        bench.row("the template's tests", f"{minutes:.1f} min", "15 min", minutes < 15)
