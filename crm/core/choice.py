"""The base of enums, and their type in the database."""

from enum import StrEnum
from typing import Self

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator


class Choice(StrEnum):
    """An enum of the API: each member has the text that the database stores, and a sentence about it."""

    words: str

    def __new__(cls, value: str, words: str = "") -> Self:
        """Make the member of a value, which it equals; `Choice(value)` looks the member up, without words."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.words = words
        return member


class EnumText(TypeDecorator[StrEnum]):
    """An enum stored as lower-case text. A CHECK limits the values; PostgreSQL's own enums cannot drop a value."""

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        self.enum = enum
        super().__init__()

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Convert a value for the database."""
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        """Convert a value from the database."""
        return None if value is None else self.enum(value)
