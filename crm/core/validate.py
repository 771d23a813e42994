"""Checks of values that people type in, before the database gets them; every error names its field."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from crm.core import errors
from crm.core.api_json import camel
from crm.core.language import Phrase
from crm.core.problems import FieldProblem, Problem

Rule = Callable[[str, Any], Any]

_UUID_LENGTH: Final = 36
_WHOLE: Final = re.compile(r"[0-9]{1,10}")
_GREATEST_ID: Final = 2**31 - 1
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
_CLOCK_SKEW: Final = timedelta(minutes=5)
_PLAN: Final = Phrase(
    "{label} must not be in the future; plan with a task instead.",
    "{label} får inte ligga i framtiden; planera med en uppgift i stället.",
)
_NOT_NEGATIVE: Final = Phrase("{label} must not be negative.", "{label} får inte vara under 0.")
_LONG_TAG: Final = Phrase("{label}: one has more than {limit} characters.", "{label}: en har fler än {limit} tecken.")
_RANGE: Final = Phrase(
    "{label} must be {least} to {most}{unit}, not {given}.", "{label} ska vara {least} till {most}{unit}, inte {given}."
)
_NOT_A_UUID: Final = Phrase(
    "{label}: {given} is not an id; ids of this kind look like 0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10.",
    "{label}: {given} är inget id; sådana ser ut som 0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10.",
)
_NUL: Final = Phrase("a NUL character (U+0000)", "ett NUL-tecken (U+0000)")
_CONTROL: Final = Phrase("a control character (U+{code})", "ett styrtecken (U+{code})")
_HALF: Final = Phrase("half of a surrogate pair (U+{code})", "ett halvt surrogatpar (U+{code})")
_HIDDEN: Final = Phrase("an invisible character (U+{code})", "ett osynligt tecken (U+{code})")
_TURNING: Final = Phrase(
    "a character that changes the direction of writing (U+{code})", "ett tecken som ändrar skrivriktningen (U+{code})"
)


def clean(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The values, each cleaned by its rule; or one error for all that break theirs."""
    cleaned, problems = checked(values, rules)
    if problems:
        raise errors.BadUserInput.of(problems)
    return cleaned


def checked(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> tuple[dict[str, Any], list[Problem]]:
    """The values that keep their rules, cleaned; and the mistakes in the others."""
    cleaned: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in values.items():
        try:
            cleaned[name] = rules[name](camel(name), value) if name in rules else value
        except errors.BadUserInput as error:
            problems += error.mistakes
    return cleaned, problems


def require(values: Mapping[str, Any], *names: str) -> None:
    """Refuse when any of these is missing."""
    missing = [Problem.of(camel(name), FieldProblem.REQUIRED) for name in names if values.get(name) is None]
    if missing:
        raise errors.BadUserInput.of(missing)


def text(most: int, *, required: bool = False, lines: bool = False) -> Rule:
    """Text without blanks around it, on one line or several. Text without a visible character counts as blank."""

    def rule(field: str, value: str | None) -> str | None:
        stripped = value.strip() if value is not None else ""
        if len(stripped) > most:  # first, since the next checks look at each character
            raise _wrong(field, FieldProblem.TOO_LONG, limit=most, length=len(stripped))
        _check_characters(field, stripped, lines=lines)
        if not _is_visible(stripped):
            if required:
                raise _wrong(field, FieldProblem.REQUIRED if value is None else FieldProblem.BLANK)
            return None
        return stripped

    return rule


def key(most: int) -> Rule:
    """A key, or none. A blank one is refused: whoever sends it expects it to count."""
    as_text = text(most)

    def rule(field: str, value: str | None) -> str | None:
        stripped: str | None = as_text(field, value)
        if stripped is None and value is not None:
            raise _wrong(field, FieldProblem.BLANK)
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
                raise _wrong(field, FieldProblem.NOT_AN_EMAIL)
        return stripped

    return rule


def phone(most: int) -> Rule:
    """A phone number as people type it: with a digit in it."""
    as_text = text(most)

    def rule(field: str, value: str | None) -> str | None:
        stripped: str | None = as_text(field, value)
        if stripped is not None and not any(map(str.isdigit, stripped)):
            raise _wrong(field, FieldProblem.NOT_A_PHONE)
        return stripped

    return rule


def amount(field: str, value: Decimal | None) -> Decimal | None:
    """Money, not negative."""
    if value is not None and value < 0:
        raise _wrong(field, FieldProblem.OUT_OF_RANGE, _NOT_NEGATIVE, limit=0)
    return value


def currency(field: str, value: str | None) -> str | None:
    """Three letters, as ISO 4217 has them."""
    if value is None or not value.strip():
        return None
    code = value.strip().upper()
    if not _CURRENCY.fullmatch(code):
        raise _wrong(field, FieldProblem.NOT_A_CURRENCY)
    return code


def tags(field: str, value: list[str] | None) -> list[str]:
    """Short labels; each once."""
    stripped = [tag.strip() for tag in value or []]
    for index, tag in enumerate(stripped):
        _check_characters(f"{field}.{index}", tag, lines=False)
    distinct = list(dict.fromkeys(filter(_is_visible, stripped)))
    if len(distinct) > _MAX_TAGS:
        raise _wrong(field, FieldProblem.TOO_MANY, limit=_MAX_TAGS, length=len(distinct))
    longest = max(map(len, distinct), default=0)
    if longest > _MAX_TAG:
        raise _wrong(field, FieldProblem.TOO_LONG, _LONG_TAG, limit=_MAX_TAG)
    return distinct


def between(least: int, most: int, unit: tuple[str, str] = ("", "")) -> Rule:
    """A whole number in a range; `unit` follows it in messages, in English and Swedish."""

    def rule(field: str, value: int | None) -> int | None:
        if value is not None and not least <= value <= most:
            raise out_of_range(field, value, least, most, unit)
        return value

    return rule


def out_of_range(
    field: str, value: float, least: int, most: int, unit: tuple[str, str] = ("", "")
) -> errors.BadUserInput:
    """The error for a number outside of its range; its limit is the bound that was crossed."""
    limit = least if value < least else most
    shown = value if isinstance(value, int) else repr(value)
    return _wrong(
        field, FieldProblem.OUT_OF_RANGE, _RANGE, limit=limit, least=least, most=most, unit=Phrase(*unit), given=shown
    )


def given(field: str, value: Any) -> Any:
    """Anything, but not null."""
    if value is None:
        raise _wrong(field, FieldProblem.REQUIRED)
    return value


def happened(field: str, value: datetime | None) -> datetime:
    """A moment that is past, but for clocks that differ a little."""
    moment: datetime = given(field, value)
    if moment > datetime.now(UTC) + _CLOCK_SKEW:
        raise _wrong(field, FieldProblem.IN_THE_FUTURE, _PLAN)
    return moment


def not_beyond(days: int) -> Rule:
    """A moment at most so many days ahead."""
    longest = timedelta(days=days)

    def rule(field: str, value: datetime | None) -> datetime | None:
        if value is not None and value > datetime.now(UTC) + longest:
            raise _wrong(field, FieldProblem.TOO_FAR_AHEAD, limit=days)
        return value

    return rule


def anything(_field: str, value: Any) -> Any:
    """Any value of the field's type, null included."""
    return value


def user_id(field: str, value: object) -> UUID | None:
    """The id of a user."""
    return None if value is None else parse_uuid(str(value), field)


def reference(field: str, value: object) -> int | None:
    """The id of a lead, a task or an interaction, or none."""
    return None if value is None else record_id(field, value)


def record_id(field: str, value: object) -> int:
    """The id of a lead, a task or an interaction: a whole number, or its text."""
    text = str(value).strip()
    if not _WHOLE.fullmatch(text) or int(text) > _GREATEST_ID:
        raise _wrong(field, FieldProblem.NOT_AN_ID, given=repr(text[:50]))
    return int(text)


def parse_uuid(text: str, field: str) -> UUID:
    """An id that is a UUID, or an error that names the field."""
    try:
        # One spelling only: UUID() also takes others (no dashes, braces, urn:), different texts for the same id.
        if len(text) != _UUID_LENGTH:
            raise ValueError  # noqa: TRY301
        return UUID(text)
    except ValueError:
        raise _wrong(field, FieldProblem.NOT_AN_ID, _NOT_A_UUID, given=repr(text[:50])) from None


def unfit_character(text: str) -> Phrase | None:
    """The description of a character in a text that no text may hold: a control character, half of a pair."""
    unfit = _UNFIT.search(text)
    if not unfit:
        return None
    if unfit[0] == "\x00":
        return _NUL
    return (_HALF if unfit[0] >= "\ud800" else _CONTROL).of(code=f"{ord(unfit[0]):04X}")


def _check_characters(field: str, value: str, *, lines: bool) -> None:
    if value.isprintable():
        return
    unfit = unfit_character(value)
    if unfit:
        raise _wrong(field, FieldProblem.BAD_CHARACTER, described=unfit)
    if lines:
        return
    if _LINE_BREAK.search(value):
        raise _wrong(field, FieldProblem.NOT_ONE_LINE)
    override = _OVERRIDE.search(value)
    if override:
        raise _wrong(field, FieldProblem.BAD_CHARACTER, described=_TURNING.of(code=f"{ord(override[0]):04X}"))


def _check_nothing_hidden(field: str, value: str) -> None:
    if value.isprintable():
        return
    hidden = next((character for character in value if unicodedata.category(character) == "Cf"), None)
    if hidden is not None:
        raise _wrong(field, FieldProblem.BAD_CHARACTER, described=_HIDDEN.of(code=f"{ord(hidden):04X}"))


def _is_visible(value: str) -> bool:
    """Whether a text has a visible character."""
    if value.isascii() and value.isprintable():
        return bool(value.strip())
    return any(unicodedata.category(character) not in _INVISIBLE for character in value)


def _wrong(
    field: str, reason: FieldProblem, phrase: Phrase | None = None, *, limit: int | None = None, **values: Any
) -> errors.BadUserInput:
    return errors.BadUserInput.of([Problem.of(field, reason, phrase, limit=limit, **values)])
