"""How PostgreSQL runs our statements: what EXPLAIN says, and how many pages a statement touches."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import psycopg

from crm.core.identity import Role, Viewer
from crm.core.settings import Settings
from crm.db.database import Database
from crm.graph.run.engine import Engine, Request
from crm.schema import schema

Params = Sequence[bytes | None]


async def statement(url: str, query: str, variables: dict[str, Any]) -> tuple[str, Params]:
    """An operation's one statement, with its parameters."""
    database = Database(url)
    engine = Engine(schema, database, Settings())
    viewer = Viewer(uuid4(), Role.ADMIN)
    operation = engine.operation(Request(query))
    coerced = operation.coerce(variables)
    planned = engine.plan(operation, coerced, viewer)
    assert planned.shaped is not None
    found, params = planned.shaped.step(coerced, viewer)
    database.close()
    return found.text.decode(), params


def plan(connection: psycopg.Connection[Any], text: str, params: Params) -> str:
    """What EXPLAIN ANALYZE says."""
    rows = _explained(connection, "ANALYZE, BUFFERS, COSTS OFF, TIMING OFF", text, params)
    return "\n".join(row[0] for row in rows)


def pages(connection: psycopg.Connection[Any], text: str, params: Params, *, generic: bool) -> int:
    """How many pages a statement touches, by a plan for these parameters or for any. What it changes is undone."""
    mode = "force_generic_plan" if generic else "force_custom_plan"
    with connection.transaction(force_rollback=True):
        connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        ((found,),) = _explained(connection, "ANALYZE, BUFFERS, FORMAT JSON, TIMING OFF", text, params)
    return found[0]["Plan"]["Shared Hit Blocks"] + found[0]["Plan"]["Shared Read Blocks"]


def _explained(connection: psycopg.Connection[Any], options: str, text: str, params: Params) -> list[tuple[Any, ...]]:
    values = ["NULL" if param is None else "'" + param.decode().replace("'", "''") + "'" for param in params]
    cursor = psycopg.RawCursor(connection)
    cursor.execute(f"PREPARE explained AS {text}".encode())
    try:
        called = f"explained({', '.join(values)})" if values else "explained"
        return cursor.execute(f"EXPLAIN ({options}) EXECUTE {called}".encode()).fetchall()
    finally:
        cursor.execute(b"DEALLOCATE explained")
