"""Inputs of mutations as plain values: services know no GraphQL."""

from dataclasses import fields
from typing import Any

import strawberry


def values_of(given: Any, *without: str) -> dict[str, Any]:
    """What the caller gave; what was left out is not in it, and an explicit null is None."""
    found = {field.name: getattr(given, field.name) for field in fields(given) if field.name not in without}
    return {name: value for name, value in found.items() if value is not strawberry.UNSET}


def expected_version(given: Any) -> int | None:
    """The version that the caller saw, if it said so."""
    value: int | None = given.expected_version
    return None if value is strawberry.UNSET else value
