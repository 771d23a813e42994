"""Parses a model's reply in steps, each of which tolerates one habit of models."""

import json
import re
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
# With the reasoning that is written before the reply; and without it: a page of JSON has a tenth of that.
_MOST_TEXT: Final = 400_000
_MOST_REPLY: Final = 40_000
_MOST_ITEMS: Final = 100
_MOST_QUOTED: Final = 20_000
_MOST_PROBLEM: Final = 1500
_MOST_ERRORS: Final = 8
# Ends the reasoning that some models write before their reply.
_THOUGHT: Final = "</think>"
# Control characters but for tabs and ends of lines, and halves of surrogate pairs.
_UNFIT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NOTES: Final = "notes"


@dataclass(frozen=True, slots=True)
class ParsedReply(Generic[R]):
    """A usable reply, and notes on what was left out."""

    value: R
    notes: Sequence[str] = ()


@dataclass(eq=False)
class Unusable(Exception):
    """The reply cannot be used."""

    outcome: Outcome
    # For the record: without any text of the CRM's or the model's.
    detail: str
    # For the model: its reply, and the problem with it.
    text: str = ""
    problem: str = ""
    # Whether quoting the problem to the model may help; a refusal or a truncation would come again.
    correctable: bool = False


def keep_valid(*, at_most: int) -> WrapValidator:
    """For a list in a reply: keep the valid items, at most so many.

    A list without any valid item is an error, so that the model is asked once more; an empty list is an answer.
    """

    def validate(items: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if not isinstance(items, list):
            return handler(items)
        items = items[:_MOST_ITEMS]
        valid: list[Any] = []
        for item in items:
            try:
                valid.extend(handler([item]))
            except ValidationError:
                continue
        if items and not valid:
            return handler(items)
        if len(valid) < len(items):
            _note(info, f"{len(items) - len(valid)} of {len(items)} were not valid and were left out")
        if len(valid) > at_most:
            _note(info, f"{len(valid)} were given, the first {at_most} are kept")
        return valid[:at_most]

    return WrapValidator(validate)


def read(reply: Reply, kind: type[R]) -> ParsedReply[R]:
    """Parse a reply, or raise Unusable."""
    if isinstance(reply.value, kind):
        return ParsedReply(reply.value)
    _check_whole(reply)
    text = (reply.text or "")[:_MOST_TEXT]
    first: ValidationError | None = None
    for payload in _payloads(text.rpartition(_THOUGHT)[2][:_MOST_REPLY]):
        notes: list[str] = []
        try:
            value = kind.model_validate(_fitted(_clean(payload), kind), context={_NOTES: notes})
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
    """All JSON in a text: the whole text, code blocks, then objects and lists in prose, the largest first."""
    for part in (text, *sorted(_FENCED.findall(text)[:_MOST_CANDIDATES], key=len, reverse=True)):
        payload = _loaded(part.strip().lstrip("\ufeff"))
        if isinstance(payload, str):  # a JSON text inside a JSON string
            payload = _loaded(payload.strip())
        if isinstance(payload, dict | list):
            yield payload
    for _, payload in sorted(_scanned(text), key=itemgetter(0), reverse=True):
        yield payload


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _scanned(text: str) -> Iterator[tuple[int, Any]]:
    """The JSON values in prose with their lengths; a value inside another is not yielded by itself."""
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    at = 0
    for _ in range(_MOST_CANDIDATES):
        opening = _OPENING.search(text, at)
        if opening is None:
            return
        try:
            payload, at = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            at = opening.end()
        else:
            yield at - opening.start(), payload


def _fitted(payload: Any, kind: type[BaseModel]) -> Any:
    """A payload as the reply's type expects it: a reply of one list may come bare, as one item, or under any key."""
    lists = [(name, field) for name, field in kind.model_fields.items() if get_origin(field.annotation) is list]
    if len(lists) != 1:
        return payload[0] if isinstance(payload, list) and len(payload) == 1 else payload
    name, list_field = lists[0]
    keys = _keys(name, list_field)
    first_key = keys[0]
    if not isinstance(payload, dict):
        return {first_key: payload}
    for key in keys:
        if key in payload:
            return _with_list(payload, key)
    if payload.keys() & _item_keys(list_field):
        return {first_key: [payload]}
    inner = [value for value in payload.values() if isinstance(value, list | dict)]
    if len(inner) == 1:
        return {first_key: inner[0]} if isinstance(inner[0], list) else _fitted(inner[0], kind)
    return payload


def _with_list(payload: dict[str, Any], key: str) -> dict[str, Any]:
    """Put a single item into a list, and replace null by an empty list."""
    value = payload[key]
    if isinstance(value, dict):
        return {**payload, key: [value]}
    return {**payload, key: []} if value is None else payload


def _item_keys(list_field: FieldInfo) -> set[str]:
    """The keys of a list field's items."""
    item = next(iter(getattr(list_field.annotation, "__args__", ())), None)
    if not (isinstance(item, type) and issubclass(item, BaseModel)):
        return set()
    return {key for name, item_field in item.model_fields.items() for key in _keys(name, item_field)}


def _keys(name: str, field: FieldInfo) -> list[str]:
    """The keys of a field in JSON, the preferred first."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [choice for choice in choices if isinstance(choice, str)] or [field.alias or name]


def _clean(payload: Any) -> Any:
    """Remove characters that no text of the CRM may hold: control characters, halves of surrogate pairs."""
    if isinstance(payload, str):
        return _UNFIT.sub("", payload)
    if isinstance(payload, list):
        return [_clean(item) for item in payload]
    if isinstance(payload, dict):
        return {_clean(key): _clean(value) for key, value in payload.items()}
    return payload


def _listed(error: ValidationError, part: Literal["msg", "type"]) -> str:
    """A validation error, place by place: with messages for the model, or with the types of errors alone."""
    lines = [
        f"{'.'.join(map(str, _place(detail, part))) or 'the whole'}: {detail[part]}"
        for detail in error.errors(include_url=False, include_input=False, include_context=False)[:_MOST_ERRORS]
    ]
    return "; ".join(lines)[:_MOST_PROBLEM]


def _place(error: ErrorDetails, part: Literal["msg", "type"]) -> tuple[int | str, ...]:
    """Where an error is; in the record without keys that the model invented, which may be a lead's words."""
    made_up = part == "type" and error["type"] == "extra_forbidden"
    return error["loc"][:-1] if made_up else error["loc"]


def _note(info: ValidationInfo, text: str) -> None:
    if isinstance(info.context, dict):
        info.context.setdefault(_NOTES, []).append(text)
