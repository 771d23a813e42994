"""Inputs of mutations as plain values: services know no GraphQL."""

from dataclasses import fields
from functools import cache
from typing import Any

import strawberry


def values_of(input_object: Any, *without: str) -> dict[str, Any]:
    """The fields that the caller passed, by their Python names: an explicit null as None, omitted fields not at all."""
    cls, values = input_object.__class__, input_object.__dict__
    return {name: values[name] for name in _names(cls, without) if values[name] is not strawberry.UNSET}


@cache
def _names(cls: Any, without: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls) if field.name not in without)


def expected_version(input_object: Any) -> int | None:
    """The version of the record that the caller saw, if it passed one."""
    value: int | None = input_object.expected_version
    return None if value is strawberry.UNSET else value
