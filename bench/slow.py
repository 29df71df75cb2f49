"""What visitors with a bad line do to the others."""

from lab import memory
from tools import OWN, SERVERS, median, slow_visitors, wrk

SLOW = {
    ("headers", 64): "64 slow headers",
    ("bodies", 64): "64 slow bodies",
    ("downloads", 40): "40 slow downloads",
    ("idle", 200): "200 open connections",
}


def measure(bench):
    bench.fill(200_000)
    two = {"WEB_CONCURRENCY": "2"}
    calm = {}
    for (kind, count), title in SLOW.items():
        parts = []
        for name, command in SERVERS.items():
            with bench.server(command, **two if name == OWN else {}) as (port, pid):
                if name not in calm:
                    wrk(port, "/", seconds=1, connections=8)
                    calm[name] = median([wrk(port, "/", seconds=1, connections=8)["p99"] for _ in range(3)])
                results = []
                with slow_visitors(kind, count, port):
                    # Who answers nobody is not asked again.
                    while len(results) < 3 and (not results or results[-1]["requests"]):
                        results.append(wrk(port, "/", seconds=1, connections=8))
                    used = memory(pid)
            p99 = median([result["p99"] for result in results])
            lost = sum(result["failed"] for result in results)
            answered = sum(result["requests"] for result in results)
            bench.figures[f"slow_{kind}_{name}"] = {"p99": p99, "calm_p99": calm[name], "lost": lost, "memory": used}
            if name == OWN:
                met = p99 <= 3 * calm[name] and not lost and used <= 400
                parts.append(f"p99 {p99:.0f} ms ({p99 / calm[name]:.1f} ×), {lost} lost, {used:.0f} MB")
            elif answered:
                parts.append(f"{name} {p99 / calm[name]:.1f} ×, {lost} lost")
            else:
                parts.append(f"{name} answers nobody")
        bench.row(title, "; ".join(parts), "3 × calm, none lost, 400 MB", met)
