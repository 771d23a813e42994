"""The rows of a statement's result as Python values."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from psycopg.adapt import Transformer

from crm.core.choice import EnumText
from crm.core.model import Model
from crm.core.pacing import Pace
from crm.db.connection import PostgresConnection

if TYPE_CHECKING:
    from psycopg import pq

# So many rows are made at once: texts of 60 KB in each take a millisecond.
_AT_ONCE: Final = 20


def rows_of(result: "pq.abc.PGresult", connection: PostgresConnection | None) -> list[dict[str, Any]]:
    """All rows of a result that has few."""
    return [row for rows in _pieces(result, connection) for row in rows]


async def paced_rows_of(result: "pq.abc.PGresult", connection: PostgresConnection | None) -> list[dict[str, Any]]:
    """All rows of a result that may have many; others run in between."""
    pace, found = Pace(), []
    for rows in _pieces(result, connection):
        found += rows
        await pace.keep()
    return found


def _pieces(result: "pq.abc.PGresult", connection: PostgresConnection | None) -> Iterator[list[dict[str, Any]]]:
    assert connection is not None
    names = [(result.fname(index) or b"").decode() for index in range(result.nfields)]
    transformer = Transformer(connection.connection)
    transformer.set_pgresult(result)
    for start in range(0, result.ntuples, _AT_ONCE):
        rows = transformer.load_rows(start, min(start + _AT_ONCE, result.ntuples), tuple)
        yield [dict(zip(names, row, strict=True)) for row in rows]


def with_enums(model: type[Model], row: dict[str, Any]) -> dict[str, Any]:
    """A row with the texts of enum columns as enums, so that services can compare with `is`."""
    column_types = ((name, model.__table__.c[name].type) for name in row)
    return row | {
        name: column_type.enum(row[name])
        for name, column_type in column_types
        if isinstance(column_type, EnumText) and row[name]
    }


def cell_of(result: "pq.abc.PGresult") -> bytes | None:
    """The first value of the first row, as PostgreSQL wrote it."""
    return result.get_value(0, 0) if result.ntuples else None
