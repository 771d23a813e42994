"""Statements compiled at start-up, so that no request waits until the libraries' caches know the schema's types."""

from contextlib import suppress

from graphql import is_required_argument

from crm.core import errors
from crm.core.identity import PROGRAM
from crm.graph.compile.shape import FieldShape
from crm.graph.compile.statements import StatementsByShape
from crm.graph.run.engine import Engine, Request


def warm_up(engine: Engine) -> None:
    """Compile a read of each list at the root, with all columns of its records."""
    selections = (_selected(engine, field) for field in engine.shape.root("query").fields.values())
    text = " ".join(selection for selection in selections if selection is not None)
    with suppress(errors.CrmError):  # an operator may allow less than this
        for root in engine.roots(engine.operation(Request(f"{{ {text} }}")), {}):
            StatementsByShape([root], lambda compiler, root=root: compiler.roots([root])).step({}, PROGRAM)  # type: ignore[misc]


def _selected(engine: Engine, field: FieldShape) -> str | None:
    target = engine.shape.types.get(field.target or "")
    if (
        field.kind != "many"
        or target is None
        or any(is_required_argument(argument) for _, argument in field.arguments.values())
    ):
        return None
    columns = " ".join(child.name for child in target.fields.values() if child.kind == "column")
    return f"{field.name} {{ {columns or '__typename'} }}"
