"""What bench.py and choices.py measure with: requests, slow visitors, memory, time."""

import asyncio
import re
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from lab import call, raw

# Python code for a process that weighs itself, without what it would import for that.
USED = r"""
import json, re

def used():
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"\nPss:\s+(\d+)", file.read()).group(1)) / 1024
"""
ROUNDS = 5


def median(values):
    return statistics.median(values)


def seconds(function, *arguments):
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def interleaved(functions, rounds=ROUNDS):
    """Return {name: median seconds} of functions that are called in turn."""
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: median(values) for name, values in times.items()}


def get(port, path):
    """Return the status of an answer, None where nobody answers."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    try:
        return int(raw(port, request.encode(), timeout=30).split()[1])
    except (OSError, IndexError):
        return None


def read_csv(port):
    """Return (seconds to the first byte of the body, seconds to the last, lines)."""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /notes.csv HTTP/1.0\r\nHost: localhost\r\n\r\n")
        first, lines, head = None, 0, b""
        while data := connection.recv(1 << 20):
            if first is None:
                head += data
                if b"\r\n\r\n" not in head:
                    continue
                data = head.partition(b"\r\n\r\n")[2]
                if data:
                    first = time.perf_counter() - started
            lines += data.count(b"\n")
    return first, time.perf_counter() - started, lines


def wrk(port, path, seconds, connections):
    """Let wrk send requests from the second core; return what it says."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    text = call(*command, f"http://127.0.0.1:{port}{path}").stdout

    def number(pattern, default="0"):
        match = re.search(pattern, text)
        return match.group(1) if match else default

    def milliseconds(percentile):
        value, unit = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s|m)", text).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]

    socket_errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(number(r"Non-2xx or 3xx responses: (\d+)")) + sum(
        map(int, socket_errors.groups() if socket_errors else ())
    )
    return {
        "rate": float(number(r"Requests/sec:\s+([\d.]+)")),
        "requests": int(number(r"(\d+) requests in")),
        "p50": milliseconds(50),
        "p99": milliseconds(99),
        "failed": failed,
    }


@contextmanager
def slow_visitors(kind, count, port):
    """Have visitors with a bad line meanwhile."""
    process = subprocess.Popen([sys.executable, __file__, kind, str(count), str(port)])
    # Until all are there; a download is a quick one until the buffers on its way are full.
    time.sleep(5 if kind == "downloads" else 1.5)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def slow(kind, count, port):
    """Be many visitors with a bad line: that send a byte now and then, or read one."""

    heads = {
        "headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        "bodies": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 1000\r\n\r\n",
        "downloads": b"GET /notes.csv HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "idle": b"",
    }

    async def begin(address):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connection.bind((address, 0))
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=8192)
        writer.write(heads[kind])
        return reader, writer

    async def visitor(address):
        reader, writer = await begin(address)
        for _ in range(3 if kind == "downloads" else 0):
            if b" 503 " not in await reader.read(64):
                break
            # A process has places for 24; another one may have some left.
            writer.close()
            await asyncio.sleep(1)
            reader, writer = await begin(address)
        while True:
            if kind == "headers":
                writer.write(b"X-More: x\r\n")
            elif kind == "bodies":
                writer.write(b"a")
            elif kind == "downloads":
                await reader.read(1024)
            await asyncio.sleep(0.2)

    # Each comes from an address of their own, as the server takes few from one; all of 127.0.0.0/8 is this computer.
    await asyncio.gather(*(visitor(str(ip_address("127.0.0.2") + number)) for number in range(count)))


if __name__ == "__main__":
    asyncio.run(slow(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
