"""The mistakes in an input, one for each field: `extensions.problems`, for forms that show them beside their fields."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from crm.core.choice import Choice
from crm.core.labels import label_of
from crm.core.language import Phrase

MAX_PROBLEMS: Final = 100
_WRAPPER: Final = "input."
_MAX_FIELD: Final = 200
_MAX_MESSAGE: Final = 600


class FieldProblem(Choice):
    """What is wrong with a field of an input. Values may be added: treat those you do not know as MALFORMED."""

    REQUIRED = "required", "It is missing, or null."
    BLANK = "blank", "It has no visible character."
    TOO_LONG = "too_long", "It has more than `limit` characters or bytes."
    TOO_SHORT = "too_short", "It has fewer than `limit` characters."
    TOO_MANY = "too_many", "It has more than `limit` values."
    OUT_OF_RANGE = "out_of_range", "It is below or above the `limit` that is nearer to it."
    NOT_AN_EMAIL = "not_an_email", "It is not an e-mail address."
    NOT_A_PHONE = "not_a_phone", "It is not a phone number: it has no digit."
    NOT_A_CURRENCY = "not_a_currency", "It is not a currency's three letters."
    NOT_A_NUMBER = "not_a_number", "It is not a number, or not a whole one where one is needed."
    NOT_A_DATE = "not_a_date", "It is not a moment with an offset, as RFC 3339 has it."
    NOT_AN_ID = "not_an_id", "It does not look like an id of this kind."
    NOT_A_CHOICE = "not_a_choice", "It is none of the values that there are."
    UNKNOWN_FIELD = "unknown_field", "There is no such field."
    UNKNOWN_REFERENCE = "unknown_reference", "The record that it names does not exist, or not any more."
    TAKEN = "taken", "Another record has it already."
    BAD_CHARACTER = "bad_character", "It holds a character that is not allowed: a control character, say."
    NOT_ONE_LINE = "not_one_line", "It has a line break where one line is needed."
    IN_THE_FUTURE = "in_the_future", "It has not happened yet."
    TOO_FAR_AHEAD = "too_far_ahead", "It is further ahead than is allowed."
    NOT_ALLOWED = "not_allowed", "The value is good, but not for this record as it is now."
    MALFORMED = "malformed", "It is of another type or form than is needed."


# Each sentence begins with the field's label, as `{label}`.
PHRASES: Final = {
    FieldProblem.REQUIRED: Phrase("{label} must be given.", "{label} måste anges."),
    FieldProblem.BLANK: Phrase("{label} must not be blank.", "{label} måste fyllas i."),
    FieldProblem.TOO_LONG: Phrase(
        "{label}: at most {limit} characters are allowed, not {length}.",
        "{label}: högst {limit} tecken är tillåtna, inte {length}.",
    ),
    FieldProblem.TOO_SHORT: Phrase(
        "{label}: at least {limit} characters are needed.", "{label}: minst {limit} tecken behövs."
    ),
    FieldProblem.TOO_MANY: Phrase(
        "{label}: at most {limit} values are allowed, not {length}.",
        "{label}: högst {limit} värden är tillåtna, inte {length}.",
    ),
    FieldProblem.OUT_OF_RANGE: Phrase("{label} is out of range.", "{label} ligger utanför det tillåtna."),
    FieldProblem.NOT_AN_EMAIL: Phrase(
        "{label} needs an address like name@example.com.", "{label} behöver en adress som namn@example.com."
    ),
    FieldProblem.NOT_A_PHONE: Phrase("{label} needs a number with digits.", "{label} behöver ett nummer med siffror."),
    FieldProblem.NOT_A_CURRENCY: Phrase(
        "{label} must be three letters, like SEK or EUR.", "{label} ska vara tre bokstäver, som SEK eller EUR."
    ),
    FieldProblem.NOT_A_NUMBER: Phrase(
        "{label} must be a number, not {given}.", "{label} ska vara ett tal, inte {given}."
    ),
    FieldProblem.NOT_A_DATE: Phrase(
        "{label} must be a date and time with an offset, like 2026-01-31T09:30:00Z, not {given}.",
        "{label} ska vara datum och tid med tidszon, som 2026-01-31T09:30:00Z, inte {given}.",
    ),
    FieldProblem.NOT_AN_ID: Phrase("{label}: {given} is not an id.", "{label}: {given} är inget id."),
    FieldProblem.NOT_A_CHOICE: Phrase(
        "{label} must be one of {known}, not {given}.", "{label} ska vara något av {known}, inte {given}."
    ),
    FieldProblem.UNKNOWN_FIELD: Phrase("There is no field {given} here.", "Här finns inget fält {given}."),
    FieldProblem.UNKNOWN_REFERENCE: Phrase(
        "{label}: there is no such record.", "{label}: någon sådan post finns inte."
    ),
    FieldProblem.TAKEN: Phrase("{label} is in use already.", "{label} används redan."),
    FieldProblem.BAD_CHARACTER: Phrase(
        "{label}: {described} is not allowed.", "{label}: {described} är inte tillåtet."
    ),
    FieldProblem.NOT_ONE_LINE: Phrase("{label} must be on one line.", "{label} ska vara på en rad."),
    FieldProblem.IN_THE_FUTURE: Phrase("{label} must not be in the future.", "{label} får inte ligga i framtiden."),
    FieldProblem.TOO_FAR_AHEAD: Phrase(
        "{label}: at most {limit} days ahead are allowed.", "{label}: högst {limit} dagar framåt är tillåtna."
    ),
    FieldProblem.NOT_ALLOWED: Phrase("{label} cannot be changed to this now.", "{label} kan inte ändras så nu."),
    FieldProblem.MALFORMED: Phrase(
        "{label} must be {needed}, not {given}.", "{label} ska vara {needed}, inte {given}."
    ),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the field as a path, the reason for programs, and the sentence for people."""

    field: str
    reason: FieldProblem
    phrase: Phrase | str
    limit: int | None = None
    known: Sequence[str] | None = None  # the values that there are, where these are few

    @classmethod
    def of(
        cls,
        field: str,
        reason: FieldProblem,
        phrase: Phrase | None = None,
        *,
        limit: int | None = None,
        known: Sequence[str] | None = None,
        **values: object,
    ) -> "Problem":
        """A mistake with the reason's own sentence, or with this one, which may use the label too."""
        filled = (phrase or PHRASES[reason]).of(
            **values, label=label_of(field), **({} if limit is None else {"limit": limit})
        )
        return cls(field, reason, filled.of(known=", ".join(known)) if known else filled, limit, known)

    @property
    def message(self) -> str:
        """The sentence, in the language of the request."""
        return self.phrase if isinstance(self.phrase, str) else self.phrase.text()

    def within(self, place: str) -> "Problem":
        """The same mistake in a member of a larger input."""
        return replace(self, field=f"{place}.{self.field}")

    def rendered(self) -> dict[str, Any]:
        """The mistake as a member of `extensions.problems`."""
        rendered: dict[str, Any] = {"field": shortened(self.field), "reason": self.reason.name}
        if self.limit is not None:
            rendered["limit"] = self.limit
        return {**rendered, "message": self.message[:_MAX_MESSAGE]}


def shortened(field: str) -> str:
    """A path without the `input` that every mutation wraps its fields in."""
    return field.removeprefix(_WRAPPER)[:_MAX_FIELD]
