"""Checks of what people type in, before it reaches the database; every complaint names its field."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from crm.core import errors
from crm.core.json import camel

Rule = Callable[[str, Any], Any]

_EMAIL: Final = re.compile(r"[^\s@<>\"(),:;\[\]\\]{1,64}@[^\s@.<>\"(),:;\[\]\\]+(\.[^\s@.<>\"(),:;\[\]\\]+)+")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_MAX_EMAIL: Final = 254
_MAX_TAGS: Final = 50
_MAX_TAG: Final = 100


def clean(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The values that were given, each cleaned by its rule."""
    return {name: rules[name](camel(name), value) if name in rules else value for name, value in values.items()}


def require(values: Mapping[str, Any], *names: str) -> None:
    """Refuse when one of these is missing."""
    for name in names:
        if values.get(name) is None:
            raise _wrong(camel(name), "is required")


def text(most: int, *, required: bool = False) -> Rule:
    """Text without blanks around it. Blank text is no text."""

    def rule(field: str, value: str | None) -> str | None:
        stripped = value.strip() if value is not None else ""
        if not stripped:
            if required:
                raise _wrong(field, "must not be blank")
            return None
        if len(stripped) > most:
            raise _wrong(field, f"has {len(stripped):,} characters; at most {most:,} are allowed", limit=most)
        return stripped

    return rule


def email(*, required: bool = False) -> Rule:
    """An e-mail address."""
    as_text = text(_MAX_EMAIL, required=required)

    def rule(field: str, value: str | None) -> str | None:
        stripped: str | None = as_text(field, value)
        if stripped is not None and not _EMAIL.fullmatch(stripped):
            raise _wrong(field, "is not an e-mail address")
        return stripped

    return rule


def amount(field: str, value: Decimal | None) -> Decimal | None:
    """Money, not negative."""
    if value is not None and value < 0:
        raise _wrong(field, "must not be negative")
    return value


def currency(field: str, value: str | None) -> str | None:
    """Three letters, as ISO 4217 has them."""
    if value is None or not value.strip():
        return None
    code = value.strip().upper()
    if not _CURRENCY.fullmatch(code):
        raise _wrong(field, "must be three letters, like SEK or EUR")
    return code


def tags(field: str, value: list[str] | None) -> list[str]:
    """Short labels; each once."""
    found = list(dict.fromkeys(tag.strip() for tag in value or [] if tag.strip()))
    if len(found) > _MAX_TAGS:
        raise _wrong(field, f"has {len(found)} tags; at most {_MAX_TAGS} are allowed", limit=_MAX_TAGS)
    if any(len(tag) > _MAX_TAG for tag in found):
        raise _wrong(field, f"has a tag of more than {_MAX_TAG} characters", limit=_MAX_TAG)
    return found


def between(least: int, most: int, unit: str = "") -> Rule:
    """A whole number in a range."""

    def rule(field: str, value: int | None) -> int | None:
        if value is not None and not least <= value <= most:
            raise _wrong(field, f"must be {least:,} to {most:,}{unit}")
        return value

    return rule


def given(field: str, value: Any) -> Any:
    """Anything, but not null."""
    if value is None:
        raise _wrong(field, "must not be null")
    return value


def check_version(record: Any, expected: int | None) -> None:
    """Refuse to overwrite a change that the caller has not seen."""
    if expected is not None and record.version != expected:
        message = f"The record is at version {record.version}, not {expected}: somebody changed it. Read it again."
        raise errors.Conflict(message, field="expectedVersion", currentVersion=record.version)


def _wrong(field: str, what: str, **details: object) -> errors.BadUserInput:
    return errors.BadUserInput(f"`{field}` {what}.", field=field, **details)
