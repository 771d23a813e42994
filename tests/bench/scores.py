"""`make bench-scores`: recalculating 100,000 leads with 5 interactions each, and what readers and writers notice."""

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from crm.db import migrations
from tests.bench import measure, operations
from tests.support.postgres import remove, throw_away_postgres
from tests.support.servers import Server

console = Console()
RECALCULATE = "mutation Recalculate { recalculateAllScores { count failed changed durationMs } }"
LOG = "mutation Log($id: Int!) { logInteraction(input: {leadId: $id, type: CALL}) { id } }"
UPDATE = "mutation Update($id: Int!, $name: String!) { updateLead(id: $id, input: {company: $name}) { id } }"
_LEAST = 2
PAUSE = 0.01  # a client thinks between two requests: users do not send as fast as they can
FILL = (
    """
    INSERT INTO leads (first_name, last_name, email, phone, company, status, budget, currency)
    SELECT 'First' || i, 'Last' || (i * 7919 % 5000), 'lead' || i || '@example.com', '+46 70 ' || (1000000 + i),
      'Company ' || (i % 500), (ARRAY['new', 'contacted', 'qualified', 'proposal', 'won', 'lost'])[1 + i % 6],
      CASE WHEN i % 3 > 0 THEN i * 7919::bigint % 2000000 END, (ARRAY['SEK', 'EUR', NULL])[1 + i % 3]
    FROM generate_series(1, {leads}) AS i
    """,
    """
    INSERT INTO interactions (type, notes, occurred_at, lead_id)
    SELECT (ARRAY['call', 'email', 'meeting', 'message', 'note'])[1 + (i + j) % 5], 'What was said',
      now() - make_interval(days => (i * 31 + j * j * 7) % 200, hours => i % 24), i
    FROM generate_series(1, 5) AS j, generate_series(1, {leads}) AS i
    """,
    """
    INSERT INTO tasks (title, lead_id, completed, completed_at, due_date)
    SELECT 'Task ' || j, i, (i + j) % 2 = 0, CASE WHEN (i + j) % 2 = 0 THEN now() - make_interval(days => i % 60) END,
      now() + make_interval(days => i % 40 - 20)
    FROM generate_series(1, 2) AS j, generate_series(1, {leads}) AS i
    """,
    "VACUUM ANALYZE",
)
A_DAY_LATER = (
    "UPDATE interactions SET occurred_at = occurred_at - interval '1 day'",
    "UPDATE tasks SET due_date = due_date - interval '1 day', completed_at = completed_at - interval '1 day'",
    "VACUUM ANALYZE interactions, tasks, leads",
)


@dataclass
class Seen:
    """What the clients noticed: milliseconds by operation."""

    times: dict[str, list[float]] = field(default_factory=dict)

    def cell(self, name: str) -> str:
        times = sorted(self.times[name])
        cuts = statistics.quantiles(times, n=100, method="inclusive")
        return f"{cuts[49]:.1f} / {cuts[94]:.1f} / {times[-1]:.0f}"


class Clients:
    """Readers and writers, until told to stop."""

    def __init__(self, server: Server, leads: int) -> None:
        self._server = server
        self._leads = leads
        self._stopping = False

    async def during(self, work: Any) -> tuple[Any, Seen]:
        seen = Seen()
        self._stopping = False
        order = {"order": [{"field": "ID", "direction": "DESC"}]}
        clients = [
            *(self._send(seen, "one lead", operations.ONE, self._lead) for _ in range(3)),
            self._send(seen, "first page", operations.PAGE, lambda _: order),
            self._send(seen, "log interaction", LOG, self._lead),
            self._send(seen, "update lead", UPDATE, lambda n: {**self._lead(n), "name": f"Company {n}"}),
        ]
        running = asyncio.gather(*clients)
        result = await work()
        self._stopping = True
        await running
        return result, seen

    def _lead(self, number: int) -> dict[str, Any]:
        return {"id": number * 7919 % self._leads + 1}

    async def _send(self, seen: Seen, name: str, query: str, variables: measure.Variables) -> None:
        client = await measure.Client(self._server.port, self._server.token()).open()
        times = seen.times.setdefault(name, [])
        number = 0
        while number < _LEAST or not self._stopping:
            before = time.perf_counter()
            await client.send(query, variables(number))
            times.append((time.perf_counter() - before) * 1000)
            number += 1
            await asyncio.sleep(PAUSE)
        client.close()


async def recalculated(server: Server) -> dict[str, int]:
    client = await measure.Client(server.port, server.token()).open()
    answer = json.loads(await client.send(RECALCULATE, {}))
    client.close()
    return answer["data"]["recalculateAllScores"]


def run(url: str, server: Server, leads: int, *, seconds: float = 5) -> list[dict[str, int]]:
    """Recalculate again and again; what each run said."""
    results = []
    table = Table("", "seconds", "changed", "one lead", "first page", "log interaction", "update lead", "server MB")
    clients = Clients(server, leads)

    def row(name: str, work: Any) -> None:
        with console.status(name):
            found, seen = asyncio.run(clients.during(work))
        done = (f"{found['durationMs'] / 1000:.1f}", f"{found['changed']:,}") if found else ("", "")
        table.add_row(name, *done, *(seen.cell(one) for one in seen.times), str(memory(server.pid)))
        if found:
            results.append(found)

    async def alone() -> dict[str, int]:
        return await recalculated(server)

    row("nothing else", lambda: asyncio.sleep(seconds))
    row("all leads, never scored before", alone)
    row("again at once", alone)
    execute(url, A_DAY_LATER)
    row("a day later", alone)
    quiet = asyncio.run(alone())
    table.add_row("again, without the clients", f"{quiet['durationMs'] / 1000:.1f}", f"{quiet['changed']:,}")
    table.title = f"Recalculating {leads:,} leads; p50 / p95 / longest, in ms\n{measure.machine()}"
    console.print(table)
    return [*results, quiet]


def memory(pid: int) -> int:
    """Megabytes that a process has resident."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) // 1024


def execute(url: str, statements: tuple[str, ...], **values: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0")
        for statement in statements:
            connection.execute(statement.format(**values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=100_000)
    options = parser.parse_args()
    postgres, folder = throw_away_postgres(settings={})
    try:
        with console.status(f"Starting PostgreSQL, loading {options.leads:,} leads"):
            migrations.upgrade(postgres.start())
            execute(postgres.url, FILL, leads=options.leads)
        server = Server(postgres.url, Path(folder) / "log").start()
        run(postgres.url, server, options.leads)
        server.stop()
    finally:
        postgres.stop()
        remove(folder)


if __name__ == "__main__":
    main()
