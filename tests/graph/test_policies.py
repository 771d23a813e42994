"""Every operation's SQL, read: wherever a model with a policy stands in a FROM, its predicate stands with it."""

import json
import re
from pathlib import Path

import pytest
from graphql import OperationDefinitionNode, OperationType, parse, print_ast
from sqlalchemy import exists, select

from crm import models
from crm.core.api_json import sql_text
from crm.db.visibility import compiled, with_deleted
from crm.graph.live.event_projection import EventProjection, FirstRow
from crm.graph.run.engine import Request
from crm.graph.run.projection import MutationProjection
from crm.sales.leads.model import Lead
from crm.sales.tasks.model import Task
from tests.graph.generate import Generator, Pools
from tests.graph.scopes import BELONGS, DELETED_AT, FOR_ADMINS, OWNED, unguarded
from tests.graph.test_statements import ROOTS
from tests.graph.test_visibility import QUERIES
from tests.support import sdl
from tests.support.examples import examples

OPERATIONS = examples(30)
CURSOR = "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10.1.1"
POOLS = Pools(
    ["a", "b%"],
    ["2026-01-01T00:00:00Z"],
    ["1.00"],
    ["0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"],
    ["a@b.example"],
    [CURSOR],
    20,
)
WEB = Path(__file__).parents[2] / "crm" / "web"
FILES = [one for folder in ("graphiql/examples", "console", "rest") for one in sorted((WEB / folder).glob("*.graphql"))]
VALUES = {
    "Int!": 1,
    "ID!": "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10",
    "[ID!]!": ["0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"],
    "DateTime!": "2026-01-01T00:00:00Z",
    "CreateAiTaskInput!": {"taskType": "echo"},
    "[CreateAiTaskInput!]!": [{"taskType": "echo"}],
}
SHOWN = [one for name in models.__all__ if name != "Model" and (one := getattr(models, name)).policy.public]
SCOPED = [one for one in SHOWN if one.policy.within_scope(one.__table__.c) is not None]
GUARDED = [one for one in SHOWN if one.policy.exists or one.policy.belongs_to or one in SCOPED]
# The queue is one queue, whosever the tasks are that wait in it: their number and their places are everybody's.
QUEUE = re.compile(
    r"ai_tasks AS ai_tasks: SELECT (.* AS number|.* AS waiting|.* AS oldest_waiting_ms|.*last_hour) FROM"
)
# What a write returns is shown even if it has just been deleted: these rows, and no others.
WRITTEN = re.compile(r"(\w+) AS \1: .* WHERE \1\.id = any@\d+@ ORDER BY")


def statements(engine, text: str, name: str | None, variables, viewer) -> list[str]:
    """What the operation may say to PostgreSQL."""
    operation = engine.operation(Request(text, name))
    coerced = operation.coerce(variables)
    plan = engine.plan(operation, coerced, viewer)
    if operation.kind is OperationType.QUERY:
        return [plan.shaped.step(coerced, viewer)[0].text.decode()] if plan.shaped else []
    if operation.kind is OperationType.MUTATION:
        shaped = [one for root in plan.roots for one in MutationProjection(root)._shaped]  # noqa: SLF001
        return [one.step(coerced, viewer, [[1]])[0].text.decode() for one in shaped]
    [root] = plan.roots
    if root.shape.kind == "pulse":
        return []  # as a query of the same
    kinds = [EventProjection, *([FirstRow] if root.shape.declaration.first else [])]
    shaped = [_shaped_of(kind(root, engine.side, engine.budget)) for kind in kinds]
    return [one.step(coerced, viewer, [0, 0][: len(one._extra)])[0].text.decode() for one in shaped]  # noqa: SLF001


def variables_of(node: OperationDefinitionNode, file: Path) -> dict[str, object]:
    """Values for the variables that need one."""
    beside = file.with_suffix(".json")
    known = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    needed = {one.variable.name.value: print_ast(one.type) for one in node.variable_definitions or ()}
    return {
        name: known.get(name, VALUES.get(kind)) for name, kind in needed.items() if name in known or kind.endswith("!")
    }


class TestEveryFrom:
    @pytest.mark.parametrize("role", ["admin", "member", "viewer"])
    def test_of_each_root(self, engine, viewers, role):
        hidden = dict.fromkeys(("living", "deleted", "task", "orphan", "interaction"), 1)
        for root in [*ROOTS, *(query.format(**hidden) for query in QUERIES)]:
            for sql in statements(engine, f"{{ {root} }}", None, {}, viewers[role]):
                assert [one for one in unguarded(sql) if not QUEUE.match(one)] == [], root

    @pytest.mark.parametrize("role", ["admin", "viewer"])
    def test_of_generated_operations(self, engine, viewers, role):
        spoken = sdl.schema()
        found = 0
        for number in range(OPERATIONS):
            operation = Generator(spoken, POOLS, f"{role} {number}", deleted=False).operation()
            variables = {**operation.variables, **{cursor.variable: None for cursor in operation.cursors}}
            for sql in statements(engine, operation.text, None, variables, viewers[role]):
                found += 1
                assert unguarded(sql) == [], operation
        assert found > OPERATIONS * 0.8

    @pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
    def test_of_the_operations_in_this_repository(self, engine, viewers, file):
        text = file.read_text(encoding="utf-8")
        for node in parse(text).definitions:
            if not isinstance(node, OperationDefinitionNode):
                continue
            name = node.name.value if node.name else None
            variables = variables_of(node, file)
            for sql in statements(engine, text, name, variables, viewers["admin"]):
                bare = [one for one in unguarded(sql) if not QUEUE.match(one) and not WRITTEN.match(one)]
                assert bare == [], name
                assert sum(bool(WRITTEN.match(one)) for one in unguarded(sql)) <= 1


class TestTheReader:
    """What reads the SQL above finds what is missing."""

    def test_knows_every_policy(self):
        parents = {one.__tablename__: (one.policy.by, one.policy.belongs_to) for one in SHOWN if one.policy.belongs_to}
        assert {table: (by, parent.__tablename__) for table, (by, parent) in parents.items()} == BELONGS
        assert {one.__tablename__ for one in SHOWN if one.policy.exists} == DELETED_AT
        assert {one.__tablename__: one.policy.owner for one in SCOPED if one.policy.owner} == OWNED
        assert {one.__tablename__ for one in SCOPED if not one.policy.owner} == FOR_ADMINS

    @pytest.mark.parametrize("model", GUARDED)
    def test_finds_a_table_without_its_policy(self, model):
        statement = select(model).limit(1)
        assert len(unguarded(sql_text(statement))) == 1
        assert unguarded(str(compiled(statement))) == []

    @pytest.mark.parametrize("model", GUARDED)
    def test_finds_it_at_any_depth(self, model):
        inner = exists(select(model.__table__.alias())).select()
        for statement in (select(inner.subquery().c[0]), select(Lead.id).where(inner.exists()), inner.union_all(inner)):
            assert any(f"{model.__tablename__} AS " in one for one in unguarded(sql_text(statement)))
            assert unguarded(str(compiled(statement))) == []

    def test_finds_a_predicate_that_does_not_always_hold(self):
        statement = select(Lead).where((Lead.deleted_at.is_(None)) | (Lead.id == Lead.version))
        assert len(unguarded(sql_text(statement))) == 1
        assert len(unguarded(sql_text(select(Task).where(Task.deleted_at.is_(None))))) == 1

    def test_finds_what_is_exempt(self):
        assert len(unguarded(str(compiled(with_deleted(select(Lead)))))) == 1


def _shaped_of(stream):
    return stream._of(1) if hasattr(stream, "_of") else stream._statements  # noqa: SLF001
