"""The scalars of the API."""

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, NewType, TypeVar

import strawberry
from graphql import FloatValueNode, GraphQLError, IntValueNode, Node, StringValueNode
from strawberry.schema.config import StrawberryConfig

from crm.core.language import Phrase
from crm.core.problems import FieldProblem, Problem

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ISO_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2199
_DECIMAL: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
_MAX_DIGITS: Final = 40
_TOO_MUCH: Final = Decimal(10) ** 12
_PLACES: Final = 2

_MOST_SHOWN: Final = 50
_NO_REAL_DATE: Final = Phrase("{label}: {given} is not a real date.", "{label}: {given} är inget riktigt datum.")
_NO_DAY: Final = Phrase(
    "{label} must be a day, like 2026-01-31, not {given}.", "{label} ska vara en dag, som 2026-01-31, inte {given}."
)
_OTHER_CENTURIES: Final = Phrase(
    f"{{label}} must be in the years {_FIRST_YEAR} to {_LAST_YEAR}.",
    f"{{label}} ska vara i åren {_FIRST_YEAR} till {_LAST_YEAR}.",
)
_TOO_MANY_DIGITS: Final = Phrase(
    f"{{label}} may have 12 digits before the point and {_PLACES} after it.",
    f"{{label}} får ha 12 siffror före decimaltecknet och {_PLACES} efter.",
)

T = TypeVar("T")

JSON = NewType("JSON", object)
Representation = NewType("Representation", object)  # of a record, as gateways of a federation make them


class Unfit(GraphQLError):
    """A value that is not one of its scalar's; the message is that of a literal in a document."""

    def __init__(
        self, message: str, reason: FieldProblem, phrase: Phrase | None = None, limit: int | None = None
    ) -> None:
        super().__init__(message)
        self._reason, self._phrase, self._limit = reason, phrase, limit

    def problem(self, field: str, value: object) -> Problem:
        """The mistake in a field with this value."""
        return Problem.of(field, self._reason, self._phrase, limit=self._limit, given=quoted(value))


def quoted(value: Any) -> str:
    """A value as messages repeat it: text in quotes, anything else as JSON; its first characters."""
    if isinstance(value, str):
        return repr(value[:_MOST_SHOWN])
    if isinstance(value, float) and not math.isfinite(value):
        return "a number too large to be read"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))[:_MOST_SHOWN]


def _parse_datetime(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        msg = "DateTime needs RFC 3339 with an offset, like 2026-01-31T09:30:00Z or 2026-01-31T10:30:00+01:00."
        raise Unfit(msg, FieldProblem.NOT_A_DATE)
    text = re.sub(r"(\.\d{6})\d+", r"\1", value.upper())
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = f"DateTime {value!r} is not a real date."
        raise Unfit(msg, FieldProblem.NOT_A_DATE, _NO_REAL_DATE) from error
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        msg = f"DateTime {value!r} is out of range: years {_FIRST_YEAR} to {_LAST_YEAR}."
        limit = _FIRST_YEAR if moment.year < _FIRST_YEAR else _LAST_YEAR
        raise Unfit(msg, FieldProblem.OUT_OF_RANGE, _OTHER_CENTURIES, limit)
    return moment


def _parse_date(value: object) -> date:
    if not isinstance(value, str) or not _ISO_DAY.fullmatch(value):
        msg = "Date needs a day like 2026-01-31, without a time."
        raise Unfit(msg, FieldProblem.NOT_A_DATE, _NO_DAY)
    try:
        day = date.fromisoformat(value)
    except ValueError as error:
        msg = f"Date {value!r} is not a real date."
        raise Unfit(msg, FieldProblem.NOT_A_DATE, _NO_REAL_DATE) from error
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        msg = f"Date {value!r} is out of range: years {_FIRST_YEAR} to {_LAST_YEAR}."
        limit = _FIRST_YEAR if day.year < _FIRST_YEAR else _LAST_YEAR
        raise Unfit(msg, FieldProblem.OUT_OF_RANGE, _OTHER_CENTURIES, limit)
    return day


def _parse_decimal(value: object) -> Decimal:
    text = value if isinstance(value, str) else str(value) if type(value) in (int, float) else ""
    if len(text) > _MAX_DIGITS or not _DECIMAL.fullmatch(text):
        msg = f'Decimal needs a number as text, like "1250.00", not {text[:_MAX_DIGITS]!r}.'
        raise Unfit(msg, FieldProblem.NOT_A_NUMBER)
    number = Decimal(text)
    if abs(number) >= _TOO_MUCH or -int(number.as_tuple().exponent) > _PLACES:
        msg = f"Decimal {text!r} is out of range: at most 12 digits before the point and {_PLACES} after it."
        raise Unfit(msg, FieldProblem.OUT_OF_RANGE, _TOO_MANY_DIGITS)
    return number


def _literal(parse: Callable[[object], T], *kinds: type[Node]) -> Callable[..., T]:
    """The same parser for a literal in the document: it gets the literal's text, and its errors carry the location."""

    def parse_literal(node: Node, _: object = None) -> T:
        try:
            return parse(getattr(node, "value", None) if isinstance(node, kinds) else None)
        except GraphQLError as error:
            raise GraphQLError(error.message, node) from None

    return parse_literal


CONFIG: Final = StrawberryConfig(
    auto_camel_case=True,
    scalar_map={
        datetime: strawberry.scalar(
            name="DateTime",
            description="A moment: RFC 3339 with an offset on the way in, UTC with microseconds on the way out.",
            specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
            serialize=lambda value: value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            parse_value=_parse_datetime,
            parse_literal=_literal(_parse_datetime, StringValueNode),
        ),
        date: strawberry.scalar(
            name="Date",
            description="A day of the calendar, without a time: 2026-01-31.",
            specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
            serialize=date.isoformat,
            parse_value=_parse_date,
            parse_literal=_literal(_parse_date, StringValueNode),
        ),
        Decimal: strawberry.scalar(
            name="Decimal",
            description='An exact number, as text: "1250.00".',
            serialize=str,
            parse_value=_parse_decimal,
            parse_literal=_literal(_parse_decimal, StringValueNode, IntValueNode, FloatValueNode),
        ),
        JSON: strawberry.scalar(
            name="JSON",
            description="Any JSON value.",
            specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
            serialize=lambda value: value,
            parse_value=lambda value: value,
        ),
        Representation: strawberry.scalar(
            name="_Any",
            description="A record's type and key, as a gateway sends them.",
            serialize=lambda value: value,
            parse_value=lambda value: value,
        ),
    },
)
