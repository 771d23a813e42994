"""Checks of values that people type in, before the database gets them; every error names its field."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from crm.core import errors
from crm.core.api_json import camel

Rule = Callable[[str, Any], Any]

_UUID_LENGTH: Final = 36
_EMAIL: Final = re.compile(r"[^\s@<>\"(),:;\[\]\\]{1,64}@[^\s@.<>\"(),:;\[\]\\]+(\.[^\s@.<>\"(),:;\[\]\\]+)+")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
# Characters that no text may hold: control characters (but tabs and line breaks), and halves of surrogate pairs.
_UNFIT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_BREAK: Final = re.compile(r"[\n\r\u2028\u2029]")
# Overrides and isolates of the direction of writing make the text after them look like something else.
_OVERRIDE: Final = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_MAX_EMAIL: Final = 254
_MAX_TAGS: Final = 50
_MAX_TAG: Final = 100


def clean(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The values, each cleaned by its rule."""
    return {name: rules[name](camel(name), value) if name in rules else value for name, value in values.items()}


def require(values: Mapping[str, Any], *names: str) -> None:
    """Refuse when one of these is missing."""
    for name in names:
        if values.get(name) is None:
            raise _wrong(camel(name), "is required")


def text(most: int, *, required: bool = False, lines: bool = False) -> Rule:
    """Text without blanks around it, on one line or several. Text without a visible character counts as blank."""

    def rule(field: str, value: str | None) -> str | None:
        stripped = value.strip() if value is not None else ""
        if len(stripped) > most:  # first, since the next checks look at each character
            raise _wrong(field, f"has {len(stripped):,} characters; at most {most:,} are allowed", limit=most)
        _check_characters(field, stripped, lines=lines)
        if not _is_visible(stripped):
            if required:
                raise _wrong(field, "must not be blank")
            return None
        return stripped

    return rule


def key(most: int) -> Rule:
    """A key, or none. A blank one is refused: whoever sends it expects it to count."""
    as_text = text(most)

    def rule(field: str, value: str | None) -> str | None:
        stripped: str | None = as_text(field, value)
        if stripped is None and value is not None:
            raise _wrong(field, "must not be blank")
        return stripped

    return rule


def email(*, required: bool = False) -> Rule:
    """An e-mail address, without invisible characters: two that look the same would be two people."""
    as_text = text(_MAX_EMAIL, required=required)

    def rule(field: str, value: str | None) -> str | None:
        stripped: str | None = as_text(field, value)
        if stripped is not None:
            _check_nothing_hidden(field, stripped)
            if not _EMAIL.fullmatch(stripped):
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
    stripped = [tag.strip() for tag in value or []]
    for index, tag in enumerate(stripped):
        _check_characters(f"{field}.{index}", tag, lines=False)
    distinct = list(dict.fromkeys(filter(_is_visible, stripped)))
    if len(distinct) > _MAX_TAGS:
        raise _wrong(field, f"has {len(distinct)} tags; at most {_MAX_TAGS} are allowed", limit=_MAX_TAGS)
    if any(len(tag) > _MAX_TAG for tag in distinct):
        raise _wrong(field, f"has a tag of more than {_MAX_TAG} characters", limit=_MAX_TAG)
    return distinct


def between(least: int, most: int, unit_text: str = "") -> Rule:
    """A whole number in a range."""

    def rule(field: str, value: int | None) -> int | None:
        if value is not None and not least <= value <= most:
            raise _wrong(field, f"must be {least:,} to {most:,}{unit_text}")
        return value

    return rule


def given(field: str, value: Any) -> Any:
    """Anything, but not null."""
    if value is None:
        raise _wrong(field, "must not be null")
    return value


def anything(_field: str, value: Any) -> Any:
    """Any value of the field's type, null included."""
    return value


def user_id(field: str, value: object) -> UUID | None:
    """The id of a user."""
    return None if value is None else parse_uuid(str(value), field)


def parse_uuid(text: str, field: str) -> UUID:
    """An id that is a UUID, or an error that names the field."""
    try:
        # One spelling only: UUID() also takes others (no dashes, braces, urn:), different texts for the same id.
        if len(text) != _UUID_LENGTH:
            raise ValueError  # noqa: TRY301
        return UUID(text)
    except ValueError:
        message = f"{text[:50]!r} is not an id; ids of this kind look like 0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10."
        raise errors.BadUserInput(message, field=field) from None


def check_version(record: Any, expected: int | None) -> None:
    """Refuse to overwrite a change that the caller has not seen."""
    if expected is not None and record.version != expected:
        message = f"The record is at version {record.version}, not {expected}: somebody changed it. Read it again."
        raise errors.Conflict(message, field="expectedVersion", currentVersion=record.version)


def _check_characters(field: str, value: str, *, lines: bool) -> None:
    if value.isprintable():
        return
    unfit = _UNFIT.search(value)
    if unfit:
        description = "half of a surrogate pair" if unfit[0] >= "\ud800" else "a control character"
        raise _wrong(field, f"holds {description} (U+{ord(unfit[0]):04X})")
    if lines:
        return
    if _LINE_BREAK.search(value):
        raise _wrong(field, "must be on one line")
    override = _OVERRIDE.search(value)
    if override:
        raise _wrong(field, f"holds a character that changes the direction of writing (U+{ord(override[0]):04X})")


def _check_nothing_hidden(field: str, value: str) -> None:
    if value.isprintable():
        return
    hidden = next((character for character in value if unicodedata.category(character) == "Cf"), None)
    if hidden is not None:
        raise _wrong(field, f"holds an invisible character (U+{ord(hidden):04X})")


def _is_visible(value: str) -> bool:
    """Whether a text has a visible character."""
    if value.isascii() and value.isprintable():
        return bool(value.strip())
    return any(unicodedata.category(character) not in _INVISIBLE for character in value)


def _wrong(field: str, complaint: str, **details: object) -> errors.BadUserInput:
    return errors.BadUserInput(f"`{field}` {complaint}.", field=field, **details)
