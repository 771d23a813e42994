"""The error for a record that does not exist."""

from typing import Any, Final

from crm.core import errors
from crm.core.api_json import camel
from crm.core.language import Phrase
from crm.core.model import Model
from crm.core.problems import FieldProblem

_MISSING: Final = Phrase("There is no {noun} with id {key}.", "Det finns ingen {noun} med id {key}.")
_NO_DELETED: Final = Phrase(
    "There is no deleted {noun} with id {key}.", "Det finns ingen borttagen {noun} med id {key}."
)
_NO_SUCH: Final = Phrase("There is no such {noun}.", "Det finns ingen sådan {noun}.")


def missing(model: type[Model], key: object, *, deleted: bool = False, reference: str | None = None) -> errors.NotFound:
    """The error for a record that does not exist; `reference` is the column of the input that names it."""
    english, swedish = model.noun or (str(model.entity), str(model.entity))
    about: dict[str, Any] = {"entity": model.entity, "id": None if key is None else str(key)}
    phrase = _NO_SUCH if key is None else _NO_DELETED if deleted else _MISSING
    if reference is not None:
        about |= {"field": camel(reference), "problem": FieldProblem.UNKNOWN_REFERENCE}
    return errors.NotFound(phrase.of(noun=Phrase(english, swedish), key=str(key)), **about)
