"""Positions in the event stream: the order of its events, and how far it is safe to read.

A position is the transaction and the event that were read last. Reads stop at a watermark, the oldest transaction still
open: events that are committed later come after it.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, ColumnElement, Text, and_, literal_column, tuple_, type_coerce

from crm.core.api_json import sql_text
from crm.db.events import Event, Xid8
from crm.db.stream_epoch import EPOCH

if TYPE_CHECKING:
    from psycopg import pq

LAST_ID: Final = 2**63 - 1
WATERMARK: Final = "pg_snapshot_xmin(pg_current_snapshot())"
# The columns of a `StreamMark`, in its order.
_MARK: Final = {
    "epoch": EPOCH,
    "safe": f"{WATERMARK}::text",
    "next": "pg_snapshot_xmax(pg_current_snapshot())::text",
    "newest": "(SELECT xid FROM events ORDER BY xid DESC, id DESC LIMIT 1)::text",
}
# The transaction of `StreamMark.end`, as text.
END: Final = f"coalesce(least({WATERMARK}::text::bigint - 1, {_MARK['newest']}::bigint), 0)::text"
MARK: Final = ", ".join(f"{text} AS {name}" for name, text in _MARK.items())


class StreamForked(Exception):
    """The stream has another epoch than the position: see `EventFeed.carried`."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A position in the stream: all events up to and including this one have been read."""

    xid: int
    id: int
    # A position is valid only in its epoch, and compared only with others of the same epoch.
    epoch: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class StreamMark:
    """The state of the stream at a read."""

    epoch: str
    safe: int  # the oldest transaction still open
    next: int  # the first transaction that has not begun
    newest: int  # the transaction of the newest event

    @classmethod
    def of(cls, result: "pq.abc.PGresult", column: int) -> "StreamMark":
        """The mark in a result's columns of `MARK`, from `column` on."""
        epoch, *numbers = (result.get_value(0, column + number) for number in range(len(_MARK)))
        return cls((epoch or b"").decode(), *(int(number or b"0") for number in numbers))

    @property
    def end(self) -> Position:
        """The end of what is safe to read: before the oldest open transaction, and not beyond the newest event.

        Beyond it there may be ids of transactions that wrote nothing, which PostgreSQL assigns again after a crash: for
        a process that survived the crash, events of those transactions would lie in the past.
        """
        return Position(min(self.safe - 1, self.newest), LAST_ID, self.epoch)

    @property
    def stalled(self) -> bool:
        """Whether more waits behind an open transaction."""
        return self.newest >= self.safe

    def check_goes_on(self, position: Position) -> None:
        """Raise StreamForked if the stream does not continue from the position."""
        if self.epoch != position.epoch or position.xid >= self.next:
            raise StreamForked

    def place(self, result: "pq.abc.PGresult", row: int) -> Position:
        """The position of a row whose first columns are a transaction and an event."""
        return Position(int(result.get_value(row, 0) or b"0"), int(result.get_value(row, 1) or b"0"), self.epoch)


def mark_columns() -> list[ColumnElement[Any]]:
    """The columns of `MARK` for a statement of SQLAlchemy."""
    return [literal_column(text, Text).label(name) for name, text in _MARK.items()]


def between(after_xid: Any, after_id: Any, until_xid: Any) -> ColumnElement[bool]:
    """The condition on events after a position, of transactions before a watermark."""
    after = tuple_(type_coerce(after_xid, Xid8), type_coerce(after_id, BigInteger))
    return and_(tuple_(Event.xid, Event.id) > after, Event.xid < type_coerce(until_xid, Xid8))


def between_text(until_xid: str) -> str:
    """The condition of `between` as text, for a statement whose first two parameters are the position."""
    after: tuple[ColumnElement[Any], ColumnElement[Any]] = (literal_column("$1::xid8"), literal_column("$2::bigint"))
    return sql_text(between(*after, literal_column(until_xid)))
