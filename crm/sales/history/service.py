"""Changes of records, read from the event stream."""

import re
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal_column,
    not_,
    or_,
    select,
    type_coerce,
)

from crm.core import errors
from crm.core.api_json import camel
from crm.core.identity import Via
from crm.db.events import Event, StreamEpoch, StreamFork, Xid8
from crm.db.query import Operand
from crm.db.stream_position import END, between
from crm.sales.leads.model import Lead

_ONE: Final[Any] = literal_column("1")
_DERIVED: Final[Any] = literal_column(f"ARRAY[{', '.join(sorted(repr(camel(name)) for name in Lead.derived))}]")
# Columns that the API does not show; events written by earlier versions hold them.
_INTERNAL: Final[Any] = literal_column(f"ARRAY[{', '.join(sorted(repr(camel(name)) for name in Lead.internal))}]")
# Changes of these kinds of records are shown to every user; those of AI tasks only to their owners, elsewhere.
SHOWN: Final = ("lead", "task", "interaction", "user")
TYPES: Final = (
    *(f"{entity}.{verb}" for entity in ("lead", "task") for verb in ("created", "updated", "deleted", "restored")),
    *(f"interaction.{verb}" for verb in ("created", "updated", "deleted")),
    *(f"user.{verb}" for verb in ("created", "updated")),
    "lead.scored",
)
_SHOWN: Final = Event.entity.in_([literal_column(f"'{entity}'") for entity in SHOWN])
# Demo data did not happen when it was loaded.
_LIVE: Final = Event.via.is_distinct_from(literal_column(f"'{Via.DEMO}'"))
# Behind each event of its transaction: as many digits as a cursor may have.
_LAST: Final[ColumnElement[str]] = literal_column(f"'{10**18 - 1}'")
_CURSOR: Final = re.compile(r"[0-9a-f-]{36}\.[0-9]{1,20}\.[0-9]{1,18}")


def check_cursor(cursor: str, label: str) -> None:
    """Refuse a text that cannot be a change's cursor."""
    if not _CURSOR.fullmatch(cursor):
        message = "This is not a cursor; take `cursor` of a change."
        raise errors.BadUserInput(message, field=label)


def check_types(types: list[str], label: str) -> None:
    """Refuse a type that no change has: the subscription would stay silent."""
    unknown = [type_ for type_ in types if type_ not in TYPES]
    if unknown:
        message = f"No change is of type `{unknown[0][:50]}`. There are: {', '.join(TYPES)}."
        raise errors.BadUserInput(message, field=label)


class ChangeService:
    """Reads of events; the unit of work writes them."""

    @staticmethod
    def of_lead(lead_id: Operand, before: Any = None, types: Any = None) -> Select[Any]:
        """Changes of a lead, its tasks and its interactions; newest first."""
        statement = select(Event).where(Event.lead_id == lead_id, _SHOWN).order_by(Event.id.desc())
        if before is not None:
            statement = statement.where(Event.id < _event_of(before))
        if types is not None:
            statement = statement.where(Event.type == func.any(types))
        return statement

    @staticmethod
    def happened_since(lead_id: Operand, moment: Operand) -> ColumnElement[bool]:
        """Whether a lead changed after a moment, not counting derived columns (score, summary) and suggestions."""
        change = _field("change")
        of_derived = Event.type.in_([_text("lead.updated"), _text("lead.scored")])
        counts = or_(
            and_(not_(of_derived), not_(_is_suggestion())),
            and_(
                of_derived,
                select(_ONE)
                .select_from(change)
                .where(change.c["name"] != func.all(_DERIVED))
                .correlate(Event)
                .exists(),
            ),
        )
        newer = select(_ONE).where(Event.lead_id == lead_id, Event.occurred_at > moment, _SHOWN, counts)
        return newer.correlate_except(Event).exists()

    @staticmethod
    def is_public(name: ColumnElement[str]) -> ColumnElement[bool]:
        """Whether the API shows a change's field."""
        return name != func.all(_INTERNAL)

    @staticmethod
    def cursor(event: Any) -> ColumnElement[str]:
        """An event's position in the stream: the stream's epoch, the transaction, the event."""
        return _cursor(cast(event.xid, Text), cast(event.id, Text))

    @staticmethod
    def end() -> Select[Any]:
        """Where the stream ends for whoever reads at this moment: what the same statement does not show comes later."""
        return select(_cursor(literal_column(END), _LAST).label("cursor"))

    @staticmethod
    def between(after_xid: Any, after_id: Any, until_xid: Any, lead_id: Any = None, types: Any = None) -> Select[Any]:
        """The events after a position, of transactions below a watermark; in the stream's order."""
        after = between(after_xid, after_id, until_xid)
        statement = select(Event).where(after, _SHOWN, _LIVE).order_by(Event.xid, Event.id)
        if lead_id is not None:
            statement = statement.where(Event.lead_id == lead_id)
        if types is not None:
            statement = statement.where(Event.type == func.any(types))
        return statement


def _cursor(xid: ColumnElement[str], event: ColumnElement[str]) -> ColumnElement[str]:
    epoch = select(cast(StreamEpoch.epoch, Text)).scalar_subquery()
    dot: ColumnElement[str] = literal_column("'.'")
    return func.concat(epoch, dot, xid, dot, event)


def _is_suggestion() -> ColumnElement[bool]:
    """Whether an event is the creation of a suggested task."""
    change = _field("made")
    suggested = and_(change.c["name"] == _text("source"), change.c["after"] == _text("AI_SUGGESTED"))
    exists = select(_ONE).select_from(change).where(suggested).correlate(Event).exists()
    return and_(Event.type == _text("task.created"), exists)


def _field(name: str) -> Any:
    """An event's fields as rows."""
    columns = (column("name", Text), column("after", Text))
    return func.jsonb_to_recordset(Event.fields).table_valued(*columns, name=name).render_derived(with_types=True)


def _text(value: str) -> ColumnElement[str]:
    return literal_column(f"'{value}'")


def _event_of(cursor: Any) -> ColumnElement[int]:
    """The id of the event that a cursor points at; an error if the cursor is of another epoch of the stream.

    As a subquery it is evaluated once, before the rows, and its error does not keep an index from being used.
    """
    stream = _part(cursor, 1, Text())
    kept = select(_ONE).where(
        cast(StreamFork.epoch, Text) == stream,
        StreamFork.successor == StreamEpoch.epoch,
        StreamFork.kept_xid >= _part(cursor, 2, Xid8()),
    )
    same = or_(cast(StreamEpoch.epoch, Text) == stream, kept.correlate(StreamEpoch).exists())
    expired: ColumnElement[int] = func.crm_cursor_expired(literal_column("'before'"))
    return select(case((same, _part(cursor, 3, BigInteger())), else_=expired)).scalar_subquery()


def _part(cursor: Any, number: int, kind: Any) -> ColumnElement[Any]:
    return cast(func.split_part(type_coerce(cursor, Text), literal_column("'.'"), literal_column(str(number))), kind)
