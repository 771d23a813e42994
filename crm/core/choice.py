"""Enums, in the API and in the database."""

from enum import StrEnum
from typing import Self

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator


class Choice(StrEnum):
    """An enum that the API shows: each member is the word that the database keeps, and a sentence about it."""

    words: str

    def __new__(cls, value: str, words: str = "") -> Self:
        """Make the member of a value, which it is equal to; `Choice(value)` finds it again, without words."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.words = words
        return member


class EnumText(TypeDecorator[StrEnum]):
    """An enum kept as lower-case text. A CHECK holds the values; PostgreSQL's own enums cannot drop one."""

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        self.enum = enum
        super().__init__()

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else self.enum(value)
