"""Inputs of mutations as plain values: services know no GraphQL."""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Annotated, Any, Final, TypeVar

import strawberry

from crm.core.validate import Rule

T = TypeVar("T")
ExpectedVersion = Annotated[
    int | None,
    strawberry.argument(description="The `version` you saw: CONFLICT if what this changes was changed since."),
]
ExpectedVersions = Annotated[
    list[int] | None,
    strawberry.argument(description="The `version` you saw of each, in the order of `ids`."),
]
IdempotencyKey = Annotated[
    str | None,
    strawberry.argument(
        description="Your own key, a UUID for example: the same key again within a day gives the record that it made, "
        "and no second one; CONFLICT with another input."
    ),
]
_RULES: Final = "__crm_rules__"


def remember_rules(cls: type[Any], rules: Mapping[str, Rule]) -> None:
    """Store on an input the rules of the columns that it is made of."""
    setattr(cls, _RULES, rules)


def rules_of(cls: type[Any]) -> Mapping[str, Rule]:
    """The rules of an input's fields, by their Python names."""
    rules: Mapping[str, Rule] = getattr(cls, _RULES, {})
    return rules


def values_of(input_object: Any, *without: str) -> dict[str, Any]:
    """The fields that the caller passed, by their Python names: an explicit null as None, omitted fields not at all."""
    cls, values = input_object.__class__, input_object.__dict__
    return {name: values[name] for name in _names(cls, without) if values[name] is not strawberry.UNSET}


@cache
def _names(cls: Any, without: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls) if field.name not in without)


def expected_version(input_object: Any) -> int | None:
    """The version of the record that the caller saw, if it passed one."""
    return given(input_object.expected_version)


def given(value: T | None) -> T | None:
    """The value of an argument or an input, if it was passed."""
    return None if value is strawberry.UNSET else value
