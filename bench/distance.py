"""The start page with the database further away, as on a platform: 1 ms and 5 ms for a trip there and back."""

import json
from contextlib import ExitStack, closing

from choices import fixed_notes
from speed import peers
from tools import BEFORE, OWN, ROUNDS
from wire import Wire

MILLISECONDS = (1, 5)
# The median of a query that does nothing, on a connection that is there.
TRIP = """
import json, os, statistics, time, psycopg
times = []
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    for _ in range(200):
        started = time.perf_counter()
        connection.execute("SELECT 1").fetchone()
        times.append(time.perf_counter() - started)
print(json.dumps(statistics.median(times) * 1000))
"""


def measure(bench):
    bench.fill(1000)
    address = bench.site.postgres.address
    host, _, port = address.partition(":")
    without = bench.measure({OWN: {"project": bench.variant((fixed_notes,))}}, connections=1)[OWN]["p50"]
    before = bench.before
    peer = peers(bench)["peer on PostgreSQL, gunicorn"]
    for delay in MILLISECONDS:
        with ExitStack() as stack:
            wire = stack.enter_context(closing(Wire((host, int(port)), delay / 1000)))

            def there(environ, name, wire=wire):
                return {name: environ[name].replace(address, f"127.0.0.1:{wire.port}")}

            far = there(bench.project.environ, "DATABASE_URL")
            variants = {OWN: far}
            if before:
                variants[f"before ({BEFORE})"] = far | {"project": before, "command": before.commands()["web"]}
            variants["peer"] = peer | there(peer["project"].environ, "BLOG")
            for visitors in (1, 16):
                found = bench.measure(variants, connections=visitors, pinned=visitors == 1, rounds=ROUNDS)
                bench.figures[f"distance_{delay}_{visitors}"] = found
                shown = "; ".join(f"{name} p50 {f['p50']:.1f} ms, {f['rate']:.0f} req/s" for name, f in found.items())
                target, met = "", None
                if (delay, visitors) == (1, 1):
                    trip = json.loads(bench.project.python(TRIP, **far))
                    most = 1.3 * (trip + without)
                    shown += f"; one trip {trip:.1f} ms, the page without a database {without:.1f} ms"
                    target, met = f"1.3 × (trip + page) = {most:.1f} ms", found[OWN]["p50"] <= most
                title = f"database {delay} ms away, {visitors} visitor{'s' if visitors > 1 else ''}"
                bench.row(title, shown, target, met)
