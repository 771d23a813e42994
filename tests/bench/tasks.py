"""`make bench-tasks`: what docs/ai-tasks-performance.md says about the AI task engine, measured anew.

A throw-away PostgreSQL, `crm serve` and `crm worker` as processes, HTTP and WebSocket over real sockets.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from crm.db import migrations
from tests.bench import bare, charts, crew, measure
from tests.support.postgres import remove, throw_away_postgres
from tests.support.servers import Server
from tests.support.websockets import signed_in

console = Console()
PRIORITIES = ("LOW", "NORMAL", "HIGH", "URGENT")
QUEUED = 1000
FINISHED = 200_000
# Milliseconds at the 95th percentile: the product page's.
GOALS = {"create": 200, "get": 50, "list": 100, "queue status": 50}
LATENCY_GOAL = 100
SHARE_GOAL = 0.5
CREATE = "mutation Create($input: CreateAiTaskInput!) { createAiTask(input: $input) { id status priority createdAt } }"
GET = """query Get($id: ID!) { aiTask(id: $id) {
  id taskType status priority input result error attempt progress costUsd tokens model createdAt startedAt finishedAt
  isFinal canRetry canCancel waitMs runMs positionInQueue attempts { number outcome error costUsd }
} }"""
LIST = """query List { aiTasks(limit: 50, filter: {status: {eq: QUEUED}}) {
  id taskType status priority progress costUsd createdAt waitMs isFinal canRetry canCancel attempts { number outcome }
} }"""
STATUS = """query Status { aiTaskQueueStatus {
  queued running retrying scheduled oldestWaitingMs completedLastHour failedLastHour costTodayUsd
  byPriority { priority waiting }
} }"""
QUEUE_ORDER = "array_position(ARRAY['urgent', 'high', 'normal', 'low'], priority), job_id"
FOLLOW = "subscription { aiTaskUpdated { id status version updatedAt } }"
NOTHING = {"taskType": "echo"}
_HISTORY = """
INSERT INTO ai_tasks (id, task_type, status, cost_usd, tokens, attempt, created_by, created_at, due_at, started_at,
  stopped_at, finished_at)
SELECT gen_random_uuid(), 'echo', 'completed', 0.001, 100, 1, owner.id, began, began, began, began, began
FROM generate_series(1, %s) AS number, (SELECT id FROM users LIMIT 1) AS owner,
  LATERAL (SELECT now() - number * interval '3 seconds' AS began) AS times"""


class Bench:
    """A database, a server, and what was measured with them."""

    def __init__(self, url: str, server: Server, folder: Path) -> None:
        self.url, self.server = url, server
        self.token = server.token()
        self.log = folder / "worker.log"

    def sql(self, text: str, *params: Any) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(text, params)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        self.sql("TRUNCATE ai_tasks, ai_task_attempts, ai_task_days, procrastinate_jobs, events CASCADE")
        self.sql("VACUUM ANALYZE")

    async def fill(self, tasks: list[dict[str, Any]], clients: int = 8) -> None:
        """Create these tasks, in this order as far as one client goes."""
        left = iter(tasks)

        async def one(client: measure.Client) -> None:
            for task in left:
                await client.send(CREATE, {"input": task})

        await self._with_clients(one, clients)

    async def times(self, query: str, variables: measure.Variables, count: int) -> list[float]:
        """What so many calls took, one after another, in milliseconds; the first ones do not count."""
        found = []

        async def one(client: measure.Client) -> None:
            for number in range(count + 50):
                before = time.perf_counter()
                await client.send(query, variables(number))
                found.append((time.perf_counter() - before) * 1000)

        await self._with_clients(one, 1)
        return found[50:]

    async def _with_clients(self, work: Any, count: int) -> None:
        clients = [await measure.Client(self.server.port, self.token).open() for _ in range(count)]
        await measure.one_each(work, clients)
        for client in clients:
            client.close()


def order(bench: Bench, concurrency: int) -> dict[str, Any]:
    """Do 1,000 tasks of mixed priorities start in the queue's order? By how many places are they off at most?"""
    bench.empty()
    tasks = [{**NOTHING, "priority": PRIORITIES[number % 4]} for number in range(QUEUED)]
    random.Random(concurrency).shuffle(tasks)
    asyncio.run(bench.fill(tasks, clients=1))
    wanted = [row[0] for row in bench.sql("SELECT id FROM ai_tasks ORDER BY " + QUEUE_ORDER)]
    with crew.workers(bench.url, bench.log, concurrency=concurrency):
        crew.drained(bench.url, "ai", QUEUED)
    rows = bench.sql("SELECT id, status FROM ai_tasks ORDER BY started_at")
    assert {row[1] for row in rows} == {"completed"}, rows
    place = {key: number for number, key in enumerate(wanted)}
    off = [abs(place[row[0]] - number) for number, row in enumerate(rows)]
    return {"concurrency": concurrency, "tasks": len(rows), "off_at_most": max(off)}


def calls(bench: Bench, count: int, finished: int = 0) -> dict[str, dict[str, float]]:
    """What the API takes with 1,000 tasks queued, and so many that ended within the last week."""
    bench.empty()
    bench.sql(_HISTORY, finished)
    bench.sql("VACUUM ANALYZE ai_tasks")
    asyncio.run(bench.fill([{**NOTHING, "priority": PRIORITIES[number % 4]} for number in range(QUEUED)]))
    keys = [str(row[0]) for row in bench.sql("SELECT id FROM ai_tasks WHERE status = 'queued'")]
    later = {**NOTHING, "scheduledFor": "2027-06-01T00:00:00Z"}  # so that the queue does not grow meanwhile
    loads: dict[str, tuple[str, measure.Variables]] = {
        "create": (CREATE, lambda _: {"input": later}),
        "get": (GET, lambda number: {"id": keys[number % len(keys)]}),
        "list": (LIST, lambda _: {}),
        "queue status": (STATUS, lambda _: {}),
    }
    found = {}
    for name, (query, variables) in loads.items():
        with console.status(f"Measuring {name} with {QUEUED:,} queued and {finished:,} finished"):
            found[name] = spread(asyncio.run(bench.times(query, variables, count)))
    return found


def latency(bench: Bench, count: int, *, busy: bool) -> dict[str, float]:
    """From a change to its arrival at a subscriber's socket; `busy`: while a worker empties a long queue."""
    bench.empty()
    if busy:
        asyncio.run(bench.fill([NOTHING] * count))
        with crew.workers(bench.url, bench.log):
            return spread(asyncio.run(_arrivals(bench, 0, count)))
    with crew.workers(bench.url, bench.log):
        return spread(asyncio.run(_arrivals(bench, count, count)))


async def _arrivals(bench: Bench, create: int, complete: int) -> list[float]:
    """Follow until so many tasks are done. A change's moment is when it was written, on the same clock."""
    waits, done = [], 0
    async with await signed_in(bench.server.url, bench.token) as socket:
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": FOLLOW}}))
        await asyncio.sleep(1)
        creating = asyncio.create_task(_one_by_one(bench, create))
        while done < complete:
            task = json.loads(await asyncio.wait_for(socket.recv(), 30))["payload"]["data"]["aiTaskUpdated"]
            waits.append((time.time() - datetime.fromisoformat(task["updatedAt"]).timestamp()) * 1000)
            done += task["status"] == "COMPLETED"
        await creating
    return waits


async def _one_by_one(bench: Bench, count: int) -> None:
    client = await measure.Client(bench.server.port, bench.token).open()
    for _ in range(count):
        await client.send(CREATE, {"input": {**NOTHING, "input": {"seconds": 0.15}}})
        await asyncio.sleep(0.1)
    client.close()


def drain(bench: Bench, count: int, rounds: int) -> dict[str, list[float]]:
    """Tasks a second that do nothing, beside procrastinate's bare rate; with one worker and with two, in turn."""
    found: dict[str, list[float]] = {name: [] for name in ("procrastinate alone", "this project")}
    found |= {f"{name}, two workers": [] for name in found}
    for number in range(rounds):
        for name, rates in found.items():
            with console.status(f"Draining {count:,}: {name}, round {number + 1} of {rounds}"):
                rates.append(_drained(bench, count, ours=name.startswith("this"), workers=2 if "two" in name else 1))
    return found


def _drained(bench: Bench, count: int, *, ours: bool, workers: int) -> float:
    bench.empty()
    if ours:
        asyncio.run(bench.fill([NOTHING] * count))
        with crew.workers(bench.url, bench.log, count=workers):
            return crew.drained(bench.url, "ai", count)
    bare.fill(bench.url, count)
    with crew.bare_workers(bench.url, bench.log, count=workers):
        return crew.drained(bench.url, bare.QUEUE, count)


def waiting(bench: Bench, seconds: float) -> dict[str, dict[str, float]]:
    """Tasks a second that wait for somebody else, as those that ask a model do; with one worker and with two."""
    found = {}
    for workers in (1, 2):
        count = int(workers * 10 / seconds * 10)
        with console.status(f"Tasks that wait {seconds} s, {workers} workers"):
            bench.empty()
            asyncio.run(bench.fill([{**NOTHING, "input": {"seconds": seconds}}] * count))
            with crew.workers(bench.url, bench.log, count=workers):
                found[str(workers)] = {"rate": crew.drained(bench.url, "ai", count), "most": workers * 10 / seconds}
    return found


def spread(values: list[float]) -> dict[str, float]:
    """The usual percentiles."""
    cuts = statistics.quantiles(values, n=100)
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(values), "count": len(values)}


def report(found: dict[str, Any]) -> None:
    """Print it all."""
    table = Table("with 1,000 queued", "p50 ms", "p95 ms", "max ms", "goal p95", title=found["machine"])
    for history, these in found.get("calls", {}).items():
        for name, one in these.items():
            cells = (f"{one[key]:.2f}" for key in ("p50", "p95", "max"))
            table.add_row(f"{name}, {history}", *cells, str(GOALS[name]))
    for name, one in found.get("latency", {}).items():
        cells = (f"{one[key]:.1f}" for key in ("p50", "p95", "max"))
        table.add_row(f"event to subscriber, {name}", *cells, str(LATENCY_GOAL))
    console.print(table)
    for one in found.get("order", []):
        console.print(
            f"{one['tasks']:,} tasks, {one['concurrency']} at once: off the queue's order by at most "
            f"{one['off_at_most']} places"
        )
    rates = found.get("rates", {})
    for name, rate in rates.items():
        each = ", ".join(f"{value:,.0f}" for value in found["drain"][name])
        console.print(f"{name}: {rate:,.0f} tasks a second ({each})")
    if rates:
        pairs = zip(found["drain"]["this project"], found["drain"]["procrastinate alone"], strict=True)
        shares = [ours / alone for ours, alone in pairs]
        each = ", ".join(f"{share:.0%}" for share in shares)
        console.print(
            f"this project against procrastinate alone, in the same round: {statistics.median(shares):.0%} ({each}; "
            f"goal {SHARE_GOAL:.0%})"
        )
    for workers, one in found.get("waiting", {}).items():
        console.print(f"tasks that wait 0.2 s, {workers} workers: {one['rate']:.0f} a second of {one['most']:.0f}")


def missed(found: dict[str, Any]) -> list[str]:
    """The goals that were not reached."""
    too_slow = [
        f"{name}, {history}: p95 {one['p95']:.0f} ms of {GOALS[name]}"
        for history, these in found.get("calls", {}).items()
        for name, one in these.items()
        if one["p95"] > GOALS[name]
    ]
    late = [
        f"events, {name}: p95 {one['p95']:.0f} ms of {LATENCY_GOAL}"
        for name, one in found.get("latency", {}).items()
        if one["p95"] > LATENCY_GOAL
    ]
    ordered = [one for one in found.get("order", []) if one["concurrency"] == 1 and one["off_at_most"]]
    rates = found.get("rates")
    share = rates["this project"] / rates["procrastinate alone"] if rates else 1
    return [
        *too_slow,
        *late,
        *(f"order: off by {one['off_at_most']}" for one in ordered),
        *([f"{share:.0%} of procrastinate's rate of {SHARE_GOAL:.0%}"] if share < SHARE_GOAL else []),
    ]


def run(options: argparse.Namespace, folder: Path, url: str) -> dict[str, Any]:
    """Measure what was asked for."""
    server = Server(url, folder / "log").start()
    bench = Bench(url, server, folder)
    found: dict[str, Any] = {"machine": measure.machine()}
    try:
        if "order" in options.parts:
            found["order"] = [order(bench, concurrency) for concurrency in (1, 10)]
        if "calls" in options.parts:
            found["calls"] = {
                "nothing finished": calls(bench, options.count),
                f"{FINISHED:,} finished": calls(bench, options.count, FINISHED),
            }
        if "latency" in options.parts:
            found["latency"] = {
                "one at a time": latency(bench, options.count, busy=False),
                "a worker at full speed": latency(bench, 2 * options.count, busy=True),
            }
        if "drain" in options.parts:
            found["drain"] = drain(bench, options.tasks, options.rounds)
            found["rates"] = {name: statistics.median(rates) for name, rates in found["drain"].items()}
        if "waiting" in options.parts:
            found["waiting"] = waiting(bench, 0.2)
    finally:
        server.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ["order", "calls", "latency", "drain", "waiting"]
    parser.add_argument("--parts", nargs="*", default=parts, choices=parts)
    parser.add_argument("--count", type=int, default=300, help="calls, and tasks that are followed")
    parser.add_argument("--tasks", type=int, default=3000, help="tasks to drain")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--svg", type=Path, help="draw the charts into this file")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    postgres, folder = throw_away_postgres(settings={})
    try:
        postgres.start()
        migrations.upgrade(postgres.url)
        found = run(options, folder, postgres.url)
    finally:
        postgres.stop()
        remove(folder)
    report(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    if options.svg:
        options.svg.write_text(charts.of_tasks(found, GOALS, LATENCY_GOAL, SHARE_GOAL))
    for goal in missed(found):
        console.print(f"[bold red]Missed:[/bold red] {goal}")
    if missed(found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
