"""What libraries learn of a schema's types by the first statements over them; at start-up, so that no request waits."""

from contextlib import suppress

from graphql import is_required_argument

from crm.core import errors
from crm.core.identity import PROGRAM
from crm.graph.compile.shape import FieldShape
from crm.graph.compile.statements import StatementsByShape
from crm.graph.run.engine import Engine, Request


def warm_up(engine: Engine) -> None:
    """Compile a read of each list at the root, with all columns of its records."""
    selected = (_selected(engine, one) for one in engine.shape.root("query").fields.values())
    text = " ".join(one for one in selected if one is not None)
    with suppress(errors.CrmError):  # an operator may allow less than this
        for root in engine.roots(engine.operation(Request(f"{{ {text} }}")), {}):
            StatementsByShape([root], lambda compiler, root=root: compiler.roots([root])).step({}, PROGRAM)  # type: ignore[misc]


def _selected(engine: Engine, one: FieldShape) -> str | None:
    kind = engine.shape.types.get(one.target or "")
    if one.kind != "many" or kind is None or any(is_required_argument(given) for _, given in one.arguments.values()):
        return None
    columns = " ".join(child.name for child in kind.fields.values() if child.kind == "column")
    return f"{one.name} {{ {columns or '__typename'} }}"
