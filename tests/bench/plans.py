"""`make bench-plans`: how long an operation takes that nobody asked for before: read, planned and compiled.

Python's own time is measured, in a process that has compiled other operations already; then whole first requests to a
server that has just been started. Hostile operations are those that took longest for their size when somebody searched.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

from crm.core import errors
from crm.core.identity import Role, Viewer
from crm.core.settings import Settings
from crm.db import migrations
from crm.graph.compile.documents import Document, aware_of_one_of
from crm.graph.compile.plan import Plan
from crm.graph.compile.selection import Collector
from crm.graph.compile.shape import SchemaShape
from crm.schema import schema
from tests.bench import measure, operations, rates
from tests.support.postgres import remove, throw_away_postgres
from tests.support.servers import Server

EXAMPLES = Path(__file__).parents[2] / "crm" / "web" / "graphiql" / "examples"
VIEWER = Viewer(UUID(int=7), Role.ADMIN)
SPOKEN = aware_of_one_of(schema._schema)  # noqa: SLF001  (as the engine does)
SHAPE = SchemaShape(SPOKEN)
LIMITS = Settings()
STARTS = 3
_SECOND = 1000


@dataclass(frozen=True)
class Case:
    """An operation and its variables."""

    query: str
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """How large the request is."""
        return len(self.query) + (len(json.dumps(self.variables)) if self.variables else 0)


@dataclass(frozen=True)
class Times:
    """Milliseconds of Python's time, or why the operation was refused."""

    read: float
    planned: float
    compiled: float
    characters: int = 0
    aside: bool = False
    refused: str = ""


class _Watched:
    """Runs nothing aside, and says whether it was asked to."""

    def __init__(self) -> None:
        self.asked = False

    async def run(self, _viewer: object, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run the work here."""
        self.asked = True
        return work(*arguments)

    async def run_short(self, _viewer: object, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run what may stay on the event loop."""
        return work(*arguments)


def usual() -> dict[str, Case]:
    """What frontends ask for; the widest of GraphiQL's examples."""
    return {
        "one": Case(operations.ONE, {"id": 1}),
        "list50": Case(operations.LIST50, {"n": 50}),
        "demo: leads": Case((EXAMPLES / "1-leads.graphql").read_text(encoding="utf-8")),
    }


def hostile() -> dict[str, Case]:
    """What takes long for its size."""
    deep = "{title:{contains:a}}"
    for _ in range(2):
        deep = f"{{lead:{{tasks:{{some:{deep}}}}}}}"
    deep = f"leads(filter:{{tasks:{{some:{deep}}}}}){{id}}".replace("contains:a", 'contains:"a"')
    some = ",".join(["{tasks:{some:{}}}"] * 9)
    texts = [{"company": {"contains": "a"}, "tasks": {"some": {"title": {"eq": "b"}}}}] * 90
    few = [{"company": {"eq": "a"}, "tasks": {"some": {"title": {"eq": "b"}}}}] * 2
    record = "owner{id} openTaskCount timeline(limit:1){actor{id}}"
    edges = f"{record} tasks(limit:1){{id}} interactions(limit:1){{id}}"
    nested = [edges]
    for _ in range(4):
        edges = f"{record} tasks(limit:1){{lead{{{edges}}}}} interactions(limit:1){{lead{{{edges}}}}}"
        nested.append(edges)
    page = "totalCount pageInfo{endCursor hasNextPage} edges{cursor node{id}} nodes{id fullName openTaskCount}"
    uses = "".join(f"a{number}:leads(filter:$w,limit:1){{id}}" for number in range(30))
    within = ",".join(["$w"] * 400)
    orders = ",".join(["{field:COMPANY}"] * 400)
    return {
        "conditions across edges, deep": Case("{" + "".join(f"a{n}:{deep}" for n in range(8)) + "}"),
        "conditions across edges, many": Case(
            "{" + "".join(f"a{number}:leads(filter:{{or:[{some}]}}){{id}}" for number in range(16)) + "}"
        ),
        "a large filter, used 31 times": Case(
            f"query($w:LeadFilter){{{uses}leads(filter:$w){{id}}}}", {"w": {"or": texts}}
        ),
        "a small filter, used 30 times": Case(f"query($w:LeadFilter){{{uses}}}", {"w": {"or": few}}),
        "a filter, used 400 times in another": Case(
            f"query($w:LeadFilter!){{leads(filter:{{or:[{within}]}}){{id}}}}", {"w": {"and": [{}] * 400}}
        ),
        "lists within lists, few": Case(f"{{leads(limit:1){{{nested[2]}}}}}"),
        "lists within lists": Case(f"{{leads(limit:1){{{nested[4]}}}}}"),
        "30 pages": Case("{" + "".join(f"a{number}:leadsConnection(first:1){{{page}}}" for number in range(30)) + "}"),
        "9 pages with totals": Case(
            "{" + "".join(f"a{number}:leadsConnection(first:1){{{page}}}" for number in range(9)) + "}"
        ),
        "30 searches": Case(
            "{" + "".join(f'a{n}:search(text:"ab",limit:1){{score lead{{id}}}}' for n in range(30)) + "}"
        ),
        "an order of 400 keys": Case(f"{{leadsConnection(first:1,orderBy:[{orders}]){{nodes{{id}}}}}}"),
        "480 plain fields": Case(
            "{" + "".join(f"a{n}:leads(limit:1){{{' '.join(SHAPE_FIELDS)}}}" for n in range(24)) + "}"
        ),
    }


SHAPE_FIELDS = [name for name, one in SHAPE.types["Lead"].fields.items() if one.kind == "column"][:19]


def said(error: errors.CrmError) -> str:
    """Why something was refused."""
    return f"refused: {error.details.get('what', error.code)}"


def priced(plan: Plan, variables: Mapping[str, Any]) -> str:
    """Whether the operation's price refuses it; it is compiled all the same, to see what that would take."""
    try:
        return "refused: cost" if plan.cost(variables) > LIMITS.max_cost else ""
    except errors.CrmError as error:
        return said(error)


def cold(case: Case) -> Times:
    """Everything that a new operation takes before PostgreSQL hears of it."""
    marks = [time.thread_time()]
    watched: Any = _Watched()
    refused = ""
    try:
        document = Document.read(case.query, SPOKEN, LIMITS, introspection=True)
        operation = document.operation(None)
        marks.append(time.thread_time())
        variables = operation.coerce(case.variables)
        collector = Collector(SHAPE, operation.document.fragments, operation.flags(variables))
        roots = collector.collect([operation.node.selection_set], SHAPE.root(operation.kind.value))
        plan = Plan.of(roots, VIEWER.role)
        refused = priced(plan, variables)
        marks.append(time.thread_time())
        assert plan.shaped is not None
        statement, _ = plan.shaped.step(variables, VIEWER)
        marks.append(time.thread_time())
    except errors.CrmError as error:
        marks.append(time.thread_time())
        spent = [*(1000 * (after - before) for before, after in itertools.pairwise(marks)), 0.0, 0.0]
        return Times(spent[0], spent[1], spent[2], refused=refused or said(error))
    read, planned, made = (1000 * (after - before) for before, after in itertools.pairwise(marks))
    if hasattr(plan.shaped, "bound"):
        asyncio.run(Plan.of(roots, VIEWER.role).shaped.bound(variables, VIEWER, watched))
    return Times(read, planned, made, len(statement.text), watched.asked, refused)


def best(case: Case, rounds: int) -> Times:
    """The quickest of some rounds: what else the machine does only ever adds."""
    first = cold(case)
    found = [first, *(cold(case) for _ in range(rounds if first.compiled < _SECOND else 1))]
    return min(found, key=lambda one: one.read + one.planned + one.compiled)


async def first_requests(server: Server, token: str, case: Case) -> list[float]:
    """Milliseconds of the first three times that a server is asked the same."""
    client = await measure.Client(server.port, token).open()
    times = []
    for _ in range(3):
        before = time.perf_counter()
        await client.send(case.query, dict(case.variables))
        times.append(1000 * (time.perf_counter() - before))
    client.close()
    return times


def over_http() -> Table:
    """The first requests to servers that have just been started."""
    table = Table(title=f"First requests to a new server, ms (median of {STARTS} servers)")
    for heading in ("operation", "1st", "2nd", "3rd"):
        table.add_column(heading, justify="left" if heading == "operation" else "right")
    postgres, folder = throw_away_postgres(settings={})
    try:
        migrations.upgrade(postgres.start())
        rates.fill(postgres.url)
        for name, case in usual().items():
            rounds = []
            for _ in range(STARTS):
                server = Server(postgres.url, folder / "log").start()
                rounds.append(asyncio.run(first_requests(server, server.token(), case)))
                server.stop()
            table.add_row(name, *(f"{statistics.median(column):.1f}" for column in zip(*rounds, strict=True)))
    finally:
        postgres.stop()
        remove(folder)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--no-server", action="store_true", help="leave the first requests out")
    options = parser.parse_args()
    console = Console(width=120)
    console.print(measure.machine())
    for title, cases in (("Usual operations", usual()), ("Hostile operations", hostile())):
        table = Table(title=f"{title}, cold, ms of Python's time")
        for heading in ("operation", "bytes", "read", "plan", "statement", "characters", "where"):
            table.add_column(heading, justify="left" if heading in ("operation", "where") else "right")
        for name, case in cases.items():
            found = best(case, options.rounds)
            where = found.refused or ("side thread" if found.aside else "event loop")
            times = (f"{ms:.1f}" for ms in (found.read, found.planned, found.compiled))
            table.add_row(name, f"{case.bytes:,}", *times, f"{found.characters:,}", where)
        console.print(table)
    if not options.no_server:
        console.print(over_http())


if __name__ == "__main__":
    main()
