"""Unique indexes: writes that may have to wait for another transaction which writes the same values."""

import re
from collections.abc import Iterable
from functools import cache

from sqlalchemy import Table

from crm.core.model import Model


def may_wait(model: type[Model], names: Iterable[str], *, is_new: bool) -> bool:
    """Whether a change of these columns may wait for another transaction's; a new row only if it has all of a key."""
    for keys, deciding in _unique_indexes(model):  # mostly none, so a loop is faster than a generator
        if keys.issubset(names) if is_new else not deciding.isdisjoint(names):
            return True
    return False


@cache
def _unique_indexes(model: type[Model]) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """For each unique index: the columns of its key, and all columns that decide which rows are in it."""
    table = model.__table__
    assert isinstance(table, Table)
    indexes = []
    for index in table.indexes:
        if index.unique:
            keys = _columns_in(table, *index.expressions)
            indexes.append((keys, keys | _columns_in(table, index.dialect_options["postgresql"]["where"])))
    return tuple(indexes)


def _columns_in(table: Table, *expressions: object) -> frozenset[str]:
    words = {word for expression in expressions for word in re.findall(r"\w+", str(expression))}
    return frozenset(words.intersection(table.c.keys()))
