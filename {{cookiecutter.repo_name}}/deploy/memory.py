"""How much of the dyno's memory the web processes use: a line of the log now and then."""

import os
import threading
import time
from pathlib import Path

from deploy.environment import WORDS

QUOTA = 512  # MB: eco and basic, https://devcenter.heroku.com/articles/dyno-sizes
# Where the platform says how much this dyno has, if it does (cgroup 2, then 1).
QUOTA_FILES = ("memory.max", "memory/memory.limit_in_bytes")
LOOK = 30  # seconds between two looks
GROWTH = 20  # MB more than the last line said are worth another line


def watch():
    """Write the memory in use into the log, soon after the start and when it has grown."""
    if in_use() is not None:
        threading.Thread(target=look, daemon=True).start()


def look():
    said, seconds = -GROWTH, 5  # after them the processes have started
    while True:
        time.sleep(seconds)
        if (used := in_use()) >= said + GROWTH:
            over = used > quota()
            words = WORDS["status"]["memory_over" if over else "memory"]
            line = words.format(used=used, quota=quota())
            print("WARNING" if over else "INFO", f"[-] memory: {line}", flush=True)
            said = used
        seconds = LOOK


def in_use():
    """Return the MB of all processes of this app, shared memory counted once (PSS)."""
    if not Path("/proc/self/smaps_rollup").exists():
        return None  # not Linux
    kilobytes = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == os.getpgrp():
                lines = (process / "smaps_rollup").read_text(encoding="ascii")
                kilobytes += int(lines.partition("\nPss:")[2].split()[0])
        except (OSError, IndexError):
            continue  # it has just ended
    return kilobytes // 1024


def quota():
    """Return the MB that the dyno may use."""
    for file in map(Path("/sys/fs/cgroup").joinpath, QUOTA_FILES):
        if file.exists():
            limit = file.read_text(encoding="ascii").strip()
            # "max" and numbers beyond any machine mean that there is no limit.
            if limit.isdecimal() and int(limit) < 2**40:
                return int(limit) // 2**20
    return QUOTA
