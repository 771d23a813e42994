"""What the API should answer, the slow and obvious way: object by object, over rows held in memory.

Nothing here knows the engine. graphql-core executes the operation against the schema's text, and a resolver of a few
lines a field looks through lists of rows.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache, cmp_to_key
from typing import Any
from uuid import UUID

import psycopg
from graphql import GraphQLEnumType, GraphQLResolveInfo, GraphQLSchema, build_schema, execute_sync, parse
from psycopg.rows import dict_row

from tests.support import sdl

Row = dict[str, Any]
DECLARED = {
    "status": ["new", "contacted", "qualified", "proposal", "won", "lost"],
    "priority": ["low", "normal", "high", "urgent"],
}
TASK_STATUSES = ["open", "done", "suggested", "dismissed"]
ENUMS = {"status", "priority", "source", "generated_by", "type", "role", "entity", "summary_source", "signal", "via"}

DERIVED = {
    *("summary", "summaryGeneratedAt", "summarySource", "summaryModel", "summaryPromptVersion", "summaryHash"),
    *("summaryFactsAt", "activityScore", "scoreCalculatedAt", "scoreFactors"),
}


@dataclass(frozen=True)
class Record:
    """A row, and of which GraphQL type it is."""

    kind: str
    row: Row


@dataclass(frozen=True)
class Page:
    """A page of a connection."""

    rows: list[Row]
    total: int
    ahead: bool
    behind: bool
    kind: str


@dataclass(kw_only=True)
class World:
    """Everything in the database."""

    leads: list[Row] = field(default_factory=list)
    tasks: list[Row] = field(default_factory=list)
    interactions: list[Row] = field(default_factory=list)
    users: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    epoch: str = ""
    url: str = ""
    keys: dict[tuple[str, str], bytes] = field(default_factory=dict)

    @classmethod
    def load(cls, url: str) -> "World":
        with psycopg.connect(url, row_factory=dict_row) as connection:
            connection.execute("SET TIME ZONE 'UTC'")

            def rows(table: str) -> list[Row]:
                return connection.execute(f"SELECT * FROM {table}").fetchall()

            epoch = str(rows("event_epoch")[0]["epoch"])
            events = connection.execute("SELECT *, xid::text AS transaction FROM events").fetchall()
            tables: dict[str, Any] = {name: rows(name) for name in ("leads", "tasks", "interactions", "users")}
            full_name = "first_name_key || ' ' || last_name_key AS full_name_key"
            tables["leads"] = connection.execute(f"SELECT *, {full_name} FROM leads").fetchall()
            for task in tables["tasks"]:
                task["status"] = task_status(task)
            world = cls(**tables, events=events, epoch=epoch, url=url)
        for lead in world.leads:
            lead.update(world.rollup(lead))
        return world

    def rollup(self, lead: Row) -> Row:
        """What a lead is filtered and ordered by that is no column of its own."""
        tasks = [one for one in self.of_lead("Task", lead) if one["status"] == "open"]
        owners = [one["name_key"] for one in self.users if one["id"] == lead["owner_id"]]
        return {
            "full_name": f"{lead['first_name']} {lead['last_name']}",
            "open_task_count": len(tasks),
            "next_due_at": min((one["due_date"] for one in tasks if one["due_date"] is not None), default=None),
            "last_interaction_at": max((one["occurred_at"] for one in self.of_lead("Interaction", lead)), default=None),
            "owner_name": owners[0].encode() if owners else None,
        }

    def sort_key(self, column: str, name: str) -> bytes:
        """By what a name sorts: PostgreSQL makes it, of operands as of rows."""
        function = "crm_last_name_key" if column == "last_name" else "crm_sort_key"
        if (function, name) not in self.keys:
            with psycopg.connect(self.url) as connection:
                [(key,)] = connection.execute(f"SELECT {function}(%s)", [name]).fetchall()
            self.keys[function, name] = key.encode()
        return self.keys[function, name]

    # Which rows there are

    def living_lead(self, key: Any) -> Row | None:
        return next((one for one in self.leads if one["id"] == key and one["deleted_at"] is None), None)

    def shown(self, kind: str, *, deleted: bool = False) -> list[Row]:
        """The rows of a noun that a viewer sees when coming from nowhere."""
        if kind == "Lead":
            return [one for one in self.leads if deleted or one["deleted_at"] is None]
        if kind == "Task":
            return [
                one
                for one in self.tasks
                if deleted or (one["deleted_at"] is None and self.living_lead(one["lead_id"]) is not None)
            ]
        if kind == "Interaction":
            return [one for one in self.interactions if self.living_lead(one["lead_id"]) is not None]
        return list(self.users)

    def of_lead(self, kind: str, lead: Row) -> list[Row]:
        """The tasks or interactions of a lead that is shown."""
        rows = self.tasks if kind == "Task" else self.interactions
        return [one for one in rows if one["lead_id"] == lead["id"] and one.get("deleted_at") is None]

    def one(self, kind: str, key: Any, *, deleted: bool = False) -> Row | None:
        return next((one for one in self.shown(kind, deleted=deleted) if one["id"] == key), None)


def task_status(task: Row) -> str:
    if task["source"] == "dismissed":
        return "dismissed"
    if task["completed"]:
        return "done"
    return "open" if task["source"] == "manual" else "suggested"


# Filters


def folded(text: str) -> str:
    """Lower case, letter by letter."""
    return "".join(one.lower() if len(one.lower()) == 1 else one for one in text)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def typed(value: Any, like: Any, name: str) -> Any:  # noqa: PLR0911  (one for each kind of value)
    """An operand as the kind of value that the column holds."""
    if isinstance(value, list):
        return [typed(one, like, name) for one in value]
    if name in ENUMS and isinstance(like, str) and isinstance(value, EnumName):
        return value.lower()
    if isinstance(like, datetime):
        return moment(value)
    if isinstance(like, date):
        return date.fromisoformat(value)
    if isinstance(like, Decimal):
        return Decimal(str(value))
    if isinstance(like, UUID):
        return UUID(value)
    return int(value) if isinstance(like, int) and isinstance(value, str) else value


class EnumName(str):
    """An enum's value, as the schema's text has it: just its name."""

    __slots__ = ()


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, operand: value == operand,
    "neq": lambda value, operand: value != operand,
    "in": lambda value, operand: value in operand,
    "notIn": lambda value, operand: value not in operand,
    "gt": lambda value, operand: value > operand,
    "gte": lambda value, operand: value >= operand,
    "lt": lambda value, operand: value < operand,
    "lte": lambda value, operand: value <= operand,
    "contains": lambda value, operand: folded(operand) in folded(value),
    "startsWith": lambda value, operand: folded(value).startswith(folded(operand)),
    "endsWith": lambda value, operand: folded(value).endswith(folded(operand)),
    "has": lambda value, operand: operand in value,
    "hasAny": lambda value, operand: any(one in value for one in operand),
    "hasAll": lambda value, operand: all(one in value for one in operand),
}


def compares(value: Any, condition: dict[str, Any], name: str) -> bool:
    for operator, operand in condition.items():
        if operator == "isNull":
            if (value is None) is not operand:
                return False
        elif value is None:
            if operator not in ("neq", "notIn"):
                return False
        elif not OPERATORS[operator](value, typed(operand, value, name)):
            return False
    return True


def matches(world: World, kind: str, row: Row, where: dict[str, Any] | None) -> bool:
    """Whether a filter holds for a row."""
    for label, value in (where or {}).items():
        if value is None:
            continue
        if label == "and":
            holds = all(matches(world, kind, row, one) for one in value)
        elif label == "or":
            holds = any(matches(world, kind, row, one) for one in value)
        elif label == "not":
            holds = not matches(world, kind, row, value)
        elif label in ("tasks", "interactions"):
            target = {"tasks": "Task", "interactions": "Interaction"}[label]
            holds = among(world, target, world.of_lead(target, row), value)
        elif label in ("owner", "assignee"):
            users = [one for one in world.users if one["id"] == row[f"{label}_id"]]
            holds = any(matches(world, "User", one, value) for one in users)
        elif label == "lead":
            lead = world.living_lead(row["lead_id"])
            holds = lead is not None and matches(world, "Lead", lead, value)
        else:
            name = snake(label)
            is_name = f"{name}_key" in row
            holds = compares_name(world, row, name, value) if is_name else compares(row[name], value, name)
        if not holds:
            return False
    return True


RANGES = ("gt", "gte", "lt", "lte")


def compares_name(world: World, row: Row, name: str, condition: dict[str, Any]) -> bool:
    """The same for a name: ranges are those of the order."""
    key = row[f"{name}_key"]
    bounds = {operator: operand for operator, operand in condition.items() if operator in RANGES}
    others = {operator: operand for operator, operand in condition.items() if operator not in RANGES}
    within = (
        key is not None and OPERATORS[operator](key.encode(), world.sort_key(name, operand))
        for operator, operand in bounds.items()
    )
    return all(within) and compares(row[name], others, name)


def among(world: World, kind: str, rows: list[Row], where: dict[str, Any]) -> bool:
    some, none, every, count = where.get("some"), where.get("none"), where.get("every"), where.get("count")
    if count is not None:
        number = sum(matches(world, kind, one, count.get("where")) for one in rows)
        if not compares(number, {name: operand for name, operand in count.items() if name != "where"}, "count"):
            return False
    if some is not None and not any(matches(world, kind, one, some) for one in rows):
        return False
    if none is not None and any(matches(world, kind, one, none) for one in rows):
        return False
    return every is None or all(matches(world, kind, one, every) for one in rows)


def snake(label: str) -> str:
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in label)


# Order and pages


def in_order(kind: str, rows: list[Row], order_by: list[dict[str, Any]] | None) -> list[Row]:
    """The rows by these keys; ties by id, in the direction of the last key."""
    keys = [
        (snake(one["field"].lower()), one.get("direction", "ASC") == "DESC", one.get("nulls") == "FIRST")
        for one in order_by or []
    ]
    keys.append(("id", keys[-1][1] if keys else True, False))

    def compare(left: Row, right: Row) -> int:
        for name, descending, nulls_first in keys:
            one, other = sort_value(kind, name, left), sort_value(kind, name, right)
            if one == other:
                continue
            if one is None or other is None:
                return -1 if (one is None) == nulls_first else 1
            return -1 if (one < other) != descending else 1
        return 0

    return sorted(rows, key=cmp_to_key(compare))


def sort_value(kind: str, name: str, row: Row) -> Any:
    value = row[name]
    if (kind, name) == ("Task", "status"):
        return TASK_STATUSES.index(value)
    if (key := row.get(f"{name}_key", value)) is not value:  # of a name: PostgreSQL made it
        return None if key is None else key.encode()
    if value is not None and name in DECLARED and kind in ("Lead", "Task"):
        return DECLARED[name].index(value)
    return value


def window(rows: list[Row], limit: int | None = None, offset: int | None = None) -> list[Row]:
    rows = rows[offset or 0 :]
    return rows if limit is None else rows[:limit]


def page(kind: str, rows: list[Row], given: dict[str, Any]) -> Page:
    places = {str(one["id"]): index for index, one in enumerate(rows)}
    start, end = 0, len(rows)
    if given.get("after") is not None:
        start = places[cursor_id(given["after"])] + 1
    if given.get("before") is not None:
        end = places[cursor_id(given["before"])]
    between = rows[start:end] if start < end else []
    if given.get("last") is not None:
        shown = between[max(0, len(between) - given["last"]) :]
        behind = given.get("after") is not None or len(between) > given["last"]
        return Page(shown, len(rows), given.get("before") is not None, behind, kind)
    size = 50 if given.get("first") is None else given["first"]
    more = given.get("before") is not None or len(between) > size
    return Page(between[:size], len(rows), more, given.get("after") is not None, kind)


def cursor_parts(text: str) -> list[Any] | None:
    """What is in a cursor, if this text is one."""
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return None
    return found if isinstance(found, list) and len(found) > 2 and found[0] == 2 else None


def cursor_id(text: str) -> str:
    found = cursor_parts(text)
    assert found is not None
    return found[-1]


# Fields


def column(source: Record, name: str) -> Any:
    value = source.row[name]
    is_text = name not in ENUMS or (source.kind, name) == ("Lead", "source")
    return shown(value) if is_text or value is None else value.upper()


def shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value) if isinstance(value, (Decimal, UUID, date)) else value


@cache
def _schema() -> GraphQLSchema:
    """The API's schema, whose enums' values are their names."""
    schema = build_schema(sdl.text())
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLEnumType) and not kind.name.startswith("__"):
            for name, value in kind.values.items():
                value.value = EnumName(name)
            kind.__dict__.pop("_value_lookup", None)
    return schema


class Reference:
    """Answers operations over a world, for a viewer."""

    def __init__(self, world: World, viewer: UUID) -> None:
        self.schema = _schema()
        self.world = world
        self.viewer = viewer

    def answer(self, query: str, variables: dict[str, Any]) -> Any:
        result = execute_sync(
            self.schema,
            parse(query),
            field_resolver=self._resolve,
            type_resolver=lambda value, *_: value.kind,
            variable_values=variables,
        )
        assert not result.errors, result.errors
        return result.data

    def _resolve(self, source: Any, info: GraphQLResolveInfo, **given: Any) -> Any:
        name = info.field_name
        if source is None:
            return self._root(name, given)
        if isinstance(source, Page):
            return self._page(source, name)
        if isinstance(source, dict):
            return source[name]
        if name == "nodeId":
            return global_id(source.kind, source.row["id"])
        special = getattr(self, f"_{source.kind.lower()}", None)
        found = special(source.row, name, given) if special else NotImplemented
        return column(source, snake(name)) if found is NotImplemented else found

    def _root(self, name: str, given: dict[str, Any]) -> Any:  # noqa: PLR0911  (one for each kind of field)
        world, deleted = self.world, given.get("includeDeleted", False)
        single = {"lead": "Lead", "task": "Task", "interaction": "Interaction"}
        lists = {"leads": "Lead", "tasks": "Task", "interactions": "Interaction", "tasksByLeadId": "Task"}
        if name in single:
            return record(single[name], world.one(single[name], int(given["id"]), deleted=deleted))
        if name in ("node", "nodes"):
            return self._node(given["nodeId"]) if name == "node" else list(map(self._node, given["nodeIds"]))
        if name == "me":
            return record("User", world.one("User", self.viewer))
        if name == "leadBy":
            return record("Lead", self._lead_by(given["input"]))
        if name == "users":
            users = sorted(world.users, key=lambda one: (one["name_key"].encode(), one["id"]))
            found = [one for one in users if matches(world, "User", one, given.get("filter"))]
            return records("User", window(found, given.get("limit"), given.get("offset")))
        kind = lists[name.removesuffix("Connection")]
        rows = world.shown(kind, deleted=deleted)
        if name == "tasksByLeadId":
            rows = [one for one in rows if one["lead_id"] == given["leadId"]]
        found = in_order(
            kind, [one for one in rows if matches(world, kind, one, given.get("filter"))], given.get("orderBy")
        )
        if name.endswith("Connection"):
            return page(kind, found, given)
        return records(kind, window(found, given.get("limit"), given.get("offset")))

    def _node(self, node_id: str) -> Record | None:
        kind, key = base64.b64decode(node_id).decode().split(":")
        if kind not in ("Lead", "Task", "Interaction", "User"):
            return None
        return record(kind, self.world.one(kind, UUID(key) if kind == "User" else int(key)))

    def _lead_by(self, key: dict[str, Any]) -> Row | None:
        if "id" in key:
            return self.world.one("Lead", int(key["id"]))
        found = (one for one in self.world.shown("Lead") if one["email"] is not None)
        return next((one for one in found if folded(one["email"]) == folded(key["email"])), None)

    def _page(self, source: Page, name: str) -> Any:
        if name == "totalCount":
            return source.total
        if name == "nodes":
            return records(source.kind, source.rows)
        if name == "edges":
            return [{"cursor": f"cursor:{one['id']}", "node": Record(source.kind, one)} for one in source.rows]
        ends: list[str | None] = [f"cursor:{one['id']}" for one in source.rows] or [None]
        return {
            "hasNextPage": source.ahead,
            "hasPreviousPage": source.behind,
            "startCursor": ends[0],
            "endCursor": ends[-1],
        }

    def _lead(self, row: Row, name: str, given: dict[str, Any]) -> Any:  # noqa: PLR0911  (one for each field)
        world = self.world
        tasks = [one for one in world.of_lead("Task", row) if not one["completed"]]
        if name == "suggestedTaskCount":
            return sum(one["source"] == "ai_suggested" for one in tasks)
        if name == "summaryIsStale":
            moments = [one["occurred_at"] for one in world.events if one["lead_id"] == row["id"] and really(one)]
            written = row["summary_facts_at"] or row["summary_generated_at"]
            return bool(moments) and written is not None and max(moments) > written
        if name in ("scoreFactors", "scoreVersion"):
            found = (row["score_factors"] or {}).get(name.removeprefix("score").lower())
            return records("ScoreFactor", found) if isinstance(found, list) else found
        if name == "owner":
            return record("User", world.one("User", row["owner_id"]))
        if name.removesuffix("Connection") in ("tasks", "interactions"):
            kind = {"tasks": "Task", "interactions": "Interaction"}[name.removesuffix("Connection")]
            found = [one for one in world.of_lead(kind, row) if matches(world, kind, one, given.get("filter"))]
            found = in_order(kind, found, given.get("orderBy"))
            if name.endswith("Connection"):
                return page(kind, found, given)
            return records(kind, window(found, given.get("limit"), given.get("offset")))
        if name == "timeline":
            found = in_order("Change", [one for one in world.events if one["lead_id"] == row["id"]], None)
            if given.get("before") is not None:
                found = [one for one in found if one["id"] < int(given["before"].split(".")[-1])]
            if given.get("types") is not None:
                found = [one for one in found if one["type"] in given["types"]]
            return records("Change", window(found, given.get("limit"), given.get("offset")))
        return NotImplemented

    def _task(self, row: Row, name: str, _: dict[str, Any]) -> Any:
        if name == "lead":
            return record("Lead", self.world.living_lead(row["lead_id"]))
        people = {"assignee": "assignee_id", "decidedBy": "decided_by_id", "creator": "created_by"}
        if name in people:
            return record("User", self.world.one("User", row[people[name]]))
        return NotImplemented

    def _user(self, row: Row, name: str, given: dict[str, Any]) -> Any:
        tasks = [one for one in self.world.shown("Task") if one["assignee_id"] == row["id"]]
        if name == "isService":
            return row["email"].startswith("service-") and row["email"].endswith("@crm.invalid")
        if name == "openTaskCount":
            return sum(one["status"] == "open" for one in tasks)
        if name in ("tasks", "leads"):
            kind = {"tasks": "Task", "leads": "Lead"}[name]
            rows = (
                tasks if name == "tasks" else [one for one in self.world.shown("Lead") if one["owner_id"] == row["id"]]
            )
            found = [one for one in rows if matches(self.world, kind, one, given.get("filter"))]
            found = in_order(kind, found, given.get("orderBy"))
            return records(kind, window(found, given.get("limit"), given.get("offset")))
        return NotImplemented

    def _interaction(self, row: Row, name: str, _: dict[str, Any]) -> Any:
        if name == "lead":
            return record("Lead", self.world.living_lead(row["lead_id"]))
        return record("User", self.world.one("User", row["created_by"])) if name == "creator" else NotImplemented

    def _change(self, row: Row, name: str, given: dict[str, Any]) -> Any:  # noqa: PLR0911  (one for each field)
        if name == "cursor":
            return f"{self.world.epoch}.{row['transaction']}.{row['id']}"
        if name == "type":
            return row["type"]
        if name == "entityNodeId":
            kinds = ("lead", "task", "interaction", "user")
            return global_id(row["entity"].title(), row["entity_id"]) if row["entity"] in kinds else None
        if name == "actor":
            return record("User", self.world.one("User", row["actor_id"]))
        if name == "fields":
            shows = self.world.one("User", self.viewer)["role"] == "admin" or self._record_shows(row)
            return window(row["fields"] if shows else [], given.get("limit"), given.get("offset"))
        if name == "lead":
            return record("Lead", self.world.living_lead(row["lead_id"]))
        if name in ("task", "interaction"):
            key = int(row["entity_id"]) if row["entity"] == name else None
            return record(name.title(), self.world.one(name.title(), key))
        return NotImplemented

    def _record_shows(self, event: Row) -> bool:
        if event["entity"] == "user":
            return self.world.one("User", UUID(event["entity_id"])) is not None
        return self.world.one(event["entity"].title(), int(event["entity_id"])) is not None


def global_id(kind: str, key: Any) -> str:
    """The `nodeId` of a record."""
    return base64.b64encode(f"{kind}:{key}".encode()).decode()


def really(event: Row) -> bool:
    """Whether an event is about more than what follows from other facts, and no mere suggestion."""
    if event["type"] == "task.created":
        return not any(one["name"] == "source" and one["after"] == "AI_SUGGESTED" for one in event["fields"])
    return event["type"] not in ("lead.updated", "lead.scored") or any(
        one["name"] not in DERIVED for one in event["fields"]
    )


def record(kind: str, row: Row | None) -> Record | None:
    return None if row is None else Record(kind, row)


def records(kind: str, rows: list[Row]) -> list[Record]:
    return [Record(kind, one) for one in rows]


def comparable(value: Any) -> Any:
    """An answer with each cursor as the reference writes it: by the record it points at."""
    if isinstance(value, dict):
        return {key: comparable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, str) and len(value) > 20 and cursor_parts(value) is not None:
        return f"cursor:{cursor_id(value)}"
    return value
