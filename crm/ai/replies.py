"""The ladder from what a model wrote to what was asked for: each rung forgives one habit of models."""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Generic, Literal, TypeVar, get_origin

from pydantic import (
    AliasChoices,
    BaseModel,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from crm.ai.provider import Outcome, Reply

R = TypeVar("R", bound=BaseModel)

_FENCED: Final = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_OPENING: Final = re.compile(r"[\[{]")
_MOST_CANDIDATES: Final = 40
_MOST_TEXT: Final = 400_000
_MOST_ITEMS: Final = 100
_MOST_QUOTED: Final = 20_000
_MOST_PROBLEM: Final = 1500
_MOST_ERRORS: Final = 8
# Some models think aloud before they reply.
_THOUGHT: Final = "</think>"
_LINES: Final = "\n\t"
_NOTES: Final = "notes"


@dataclass(frozen=True, slots=True)
class ParsedReply(Generic[R]):
    """A reply that could be used, and what had to be left out."""

    value: R
    notes: Sequence[str] = ()


@dataclass(eq=False)
class Unusable(Exception):
    """The reply is of no use."""

    outcome: Outcome
    # For the record, where nothing that the CRM or the model wrote belongs.
    detail: str
    # For the model: what it wrote, and what is wrong with it.
    text: str = ""
    problem: str = ""
    # Whether quoting the problem to the model may help; a refusal or a cut would only come again.
    correctable: bool = False


def keep_valid(*, at_most: int) -> WrapValidator:
    """For a list in a reply: what is valid is kept, what is not is left out, and the list is cut.

    A list in which nothing is valid is an error, so that the model is asked once more; an empty one is an answer.
    """

    def validate(given: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if not isinstance(given, list):
            return handler(given)
        given = given[:_MOST_ITEMS]
        valid: list[Any] = []
        for item in given:
            try:
                valid.extend(handler([item]))
            except ValidationError:
                continue
        if given and not valid:
            return handler(given)
        if len(valid) < len(given):
            _note(info, f"{len(given) - len(valid)} of {len(given)} were not valid and were left out")
        if len(valid) > at_most:
            _note(info, f"{len(valid)} were given, the first {at_most} are kept")
        return valid[:at_most]

    return WrapValidator(validate)


def read(reply: Reply, kind: type[R]) -> ParsedReply[R]:
    """What was asked for, out of a reply; or Unusable."""
    if isinstance(reply.value, kind):
        return ParsedReply(reply.value)
    _check_whole(reply)
    text = (reply.text or "")[:_MOST_TEXT]
    first: ValidationError | None = None
    for payload in _payloads(text.rpartition(_THOUGHT)[2]):
        notes: list[str] = []
        try:
            value = kind.model_validate(_shaped(_clean(payload), kind), context={_NOTES: notes})
        except ValidationError as error:
            first = first or error
        else:
            return ParsedReply(value, notes)
    if first is None:
        raise Unusable(
            Outcome.INVALID, "no JSON in the reply", text[:_MOST_QUOTED], "it holds no JSON", correctable=True
        )
    raise Unusable(
        Outcome.INVALID, _listed(first, "type"), text[:_MOST_QUOTED], _listed(first, "msg"), correctable=True
    )


def _check_whole(reply: Reply) -> None:
    if reply.refusal:
        raise Unusable(Outcome.REFUSED, "the model said no")
    if reply.finish_reason == "content_filter":
        raise Unusable(Outcome.REFUSED, "the provider's content filter stopped the reply")
    if reply.finish_reason == "length":
        raise Unusable(Outcome.TRUNCATED, "the reply was cut at the limit of tokens")
    if not reply.finish_reason:
        raise Unusable(Outcome.TRUNCATED, "the reply ended without saying that it was complete")


def _payloads(text: str) -> Iterator[Any]:
    """Everything in a text that is JSON: all of it, fenced blocks, objects and lists in prose; the largest first."""
    for part in (text, *sorted(_FENCED.findall(text)[:_MOST_CANDIDATES], key=len, reverse=True)):
        found = _loaded(part.strip().lstrip("\ufeff"))
        if isinstance(found, str):  # JSON within JSON
            found = _loaded(found.strip())
        if isinstance(found, dict | list):
            yield found
    for _, found in sorted(_scanned(text), key=itemgetter(0), reverse=True):
        yield found


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _scanned(text: str) -> Iterator[tuple[int, Any]]:
    """The balanced brackets in prose with their lengths; what stands inside another is not looked at by itself."""
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    at = 0
    for _ in range(_MOST_CANDIDATES):
        opening = _OPENING.search(text, at)
        if opening is None:
            return
        try:
            found, at = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            at = opening.end()
        else:
            yield at - opening.start(), found


def _shaped(payload: Any, kind: type[BaseModel]) -> Any:
    """A payload in the shape of the reply: a reply that is one list may come bare, as one item, or under any key."""
    lists = [one for one in kind.model_fields.items() if get_origin(one[1].annotation) is list]
    if len(lists) != 1:
        return payload[0] if isinstance(payload, list) and len(payload) == 1 else payload
    name, found = lists[0]
    keys = _keys(name, found)
    key = keys[0]
    if not isinstance(payload, dict):
        return {key: payload}
    for one in keys:
        if one in payload:
            return _with_list(payload, one)
    if payload.keys() & _item_keys(found):
        return {key: [payload]}
    inner = [value for value in payload.values() if isinstance(value, list | dict)]
    if len(inner) == 1:
        return {key: inner[0]} if isinstance(inner[0], list) else _shaped(inner[0], kind)
    return payload


def _with_list(payload: dict[str, Any], key: str) -> dict[str, Any]:
    """One item, or null, where a list belongs."""
    value = payload[key]
    if isinstance(value, dict):
        return {**payload, key: [value]}
    return {**payload, key: []} if value is None else payload


def _item_keys(found: FieldInfo) -> set[str]:
    """The keys of a list field's items."""
    item = next(iter(getattr(found.annotation, "__args__", ())), None)
    if not (isinstance(item, type) and issubclass(item, BaseModel)):
        return set()
    return {key for name, one in item.model_fields.items() for key in _keys(name, one)}


def _keys(name: str, found: FieldInfo) -> list[str]:
    """The keys that a field goes by in JSON, the first of them first."""
    alias = found.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [one for one in choices if isinstance(one, str)] or [found.alias or name]


def _clean(payload: Any) -> Any:
    """Without what no text of the CRM may hold: control characters, halves of surrogate pairs."""
    if isinstance(payload, str):
        if payload.isprintable():
            return payload
        return "".join(one for one in payload if one in _LINES or unicodedata.category(one) not in ("Cc", "Cs"))
    if isinstance(payload, list):
        return [_clean(one) for one in payload]
    if isinstance(payload, dict):
        return {_clean(key): _clean(value) for key, value in payload.items()}
    return payload


def _listed(error: ValidationError, part: Literal["msg", "type"]) -> str:
    """A validation error, place by place: in words that a model can act on, or the kinds of errors alone."""
    shown = [
        f"{'.'.join(map(str, _place(one, part))) or 'the whole'}: {one[part]}"
        for one in error.errors(include_url=False, include_input=False, include_context=False)[:_MOST_ERRORS]
    ]
    return "; ".join(shown)[:_MOST_PROBLEM]


def _place(error: ErrorDetails, part: Literal["msg", "type"]) -> tuple[int | str, ...]:
    """Where an error is; for the record without the name of what the model made up, which may be a lead's words."""
    made_up = part == "type" and error["type"] == "extra_forbidden"
    return error["loc"][:-1] if made_up else error["loc"]


def _note(info: ValidationInfo, text: str) -> None:
    if isinstance(info.context, dict):
        info.context.setdefault(_NOTES, []).append(text)
