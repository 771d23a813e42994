"""Inputs of mutations as plain values: services know no GraphQL."""

from dataclasses import fields
from functools import cache
from typing import Any

import strawberry


def values_of(given: Any, *without: str) -> dict[str, Any]:
    """What the caller gave; what was left out is not in it, and an explicit null is None."""
    kind, values = given.__class__, given.__dict__
    return {name: values[name] for name in _names(kind, without) if values[name] is not strawberry.UNSET}


@cache
def _names(kind: Any, without: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in without)


def expected_version(given: Any) -> int | None:
    """The version that the caller saw, if it said so."""
    value: int | None = given.expected_version
    return None if value is strawberry.UNSET else value
