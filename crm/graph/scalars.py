"""The scalars of the API."""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, NewType

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2199
_MAX_DIGITS: Final = 40

JSON = NewType("JSON", object)


def _parse_datetime(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        msg = "DateTime needs RFC 3339 with an offset, like 2026-01-31T09:30:00Z or 2026-01-31T10:30:00+01:00."
        raise GraphQLError(msg)
    text = re.sub(r"(\.\d{6})\d+", r"\1", value.upper())
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = f"DateTime {value!r} is not a real date."
        raise GraphQLError(msg) from error
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        msg = f"DateTime {value!r} is out of range: years {_FIRST_YEAR} to {_LAST_YEAR}."
        raise GraphQLError(msg)
    return moment


def _parse_decimal(value: object) -> Decimal:
    text = value if isinstance(value, str) else str(value) if type(value) in (int, float) else None
    if text is None or len(text) > _MAX_DIGITS:
        msg = 'Decimal needs a number as text, like "1250.00".'
        raise GraphQLError(msg)
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        msg = f'Decimal needs a number as text, like "1250.00", not {text!r}.'
        raise GraphQLError(msg) from error
    if not number.is_finite() or abs(number) >= Decimal(10) ** 12 or -int(number.as_tuple().exponent) > 2:  # noqa: PLR2004
        msg = f"Decimal {text!r} is out of range: at most 12 digits before the point and 2 after it."
        raise GraphQLError(msg)
    return number


CONFIG: Final = StrawberryConfig(
    auto_camel_case=True,
    scalar_map={
        datetime: strawberry.scalar(
            name="DateTime",
            description="A moment: RFC 3339 with an offset on the way in, UTC with microseconds on the way out.",
            specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
            serialize=lambda value: value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            parse_value=_parse_datetime,
        ),
        Decimal: strawberry.scalar(
            name="Decimal",
            description='An exact number, as text: "1250.00".',
            serialize=str,
            parse_value=_parse_decimal,
        ),
        JSON: strawberry.scalar(
            name="JSON",
            description="Any JSON value.",
            specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
            serialize=lambda value: value,
            parse_value=lambda value: value,
        ),
    },
)
