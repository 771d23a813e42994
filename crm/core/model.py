"""The base of every model, and the column types that they share."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Date,
    DateTime,
    FromClause,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, MappedColumn, mapped_column
from sqlalchemy.sql.elements import KeyedColumnElement

from crm.core.api_json import camel
from crm.core.choice import EnumText
from crm.core.columns import DerivedChoice, declared_kinds, fields_of, remember_kinds
from crm.core.labels import Label, add_label
from crm.core.policy import Policy
from crm.core.validate import Rule

# The program's own collation of C.UTF-8, whose name differs by server: lower('Å') is 'å' in every database.
CASE_COLLATION = "crm_text"
# A text that sorts as people expect names to, by its bytes: PostgreSQL makes it (docs/decisions/0037).
SORT_KEY: Final = Text(collation="C")
# The key in a table's `info` of its model's policy.
POLICY: Final = "policy"


def _keep_enums(cls: type[Any], kinds: Mapping[str, Any]) -> None:
    """Store each enum of a model as text, and limit its column to the enum's values by a CHECK."""
    checks = []
    for name, annotation in kinds.items():
        if isinstance(annotation, type) and issubclass(annotation, StrEnum):
            declared = cls.__dict__.get(name)
            if declared is None:
                setattr(cls, name, mapped_column(EnumText(annotation)))
            elif isinstance(declared, MappedColumn):
                declared.column.type = EnumText(annotation)
            values = ", ".join(f"'{member.value}'" for member in annotation)
            checks.append(CheckConstraint(f"{name} IN ({values})", name=f"{name}_known"))
    if checks:
        cls.__table_args__ = (*checks, *getattr(cls, "__table_args__", ()))


class _Attribute:
    """A descriptor: the column itself on a model's class, the column's value on a record."""

    def __init__(self, column: KeyedColumnElement[Any]) -> None:
        self._column = column
        self._name = column.key

    def __get__(self, record: object | None, _: type[Any]) -> Any:
        return self._column if record is None else record.__dict__.get(self._name)

    def __set__(self, record: object, value: object) -> None:
        record.__dict__[self._name] = value


class Model(DeclarativeBase):
    """A table. Instances are plain records: `crm.db.unit_of_work` loads and saves them, and writes their events."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map: ClassVar[Mapping[Any, Any]] = {
        str: Text,
        int: Integer,
        datetime: DateTime(timezone=True),
        date: Date(),
        Decimal: Numeric(14, 2),
        UUID: Uuid,
        list[str]: ARRAY(Text),
        dict[str, Any]: JSONB,
    }

    def __init_subclass__(cls, **options: Any) -> None:
        """Declare the table; statements over models are then statements over tables.

        With SQLAlchemy's own attributes each of a statement's SELECTs goes through its ORM, which nothing here needs:
        compiling took twice as long, and saving a record as long again as the INSERT's text.
        """
        if not isinstance(cls.__dict__.get("policy"), Policy):
            msg = f"{cls.__name__} names no policy: say which rows a viewer sees, `policy = EVERYBODY` for all of them"
            raise TypeError(msg)
        kinds = declared_kinds(cls)
        _keep_enums(cls, kinds)
        super().__init_subclass__(**options)
        cls.__table__.info[POLICY] = cls.policy
        remember_kinds(cls.__table__, kinds)
        cls.rules = {column.name: field.rule for column, field in fields_of(cls) if field.rule is not None}
        cls.derived_choices = {name: value for name, value in vars(cls).items() if isinstance(value, DerivedChoice)}
        for column, field in fields_of(cls):
            if field.label is not None:
                add_label(camel(column.name), field.label)
        for column in cls.__table__.c:
            type.__setattr__(cls, column.key, _Attribute(column))

    @classmethod
    def __clause_element__(cls) -> FromClause:
        """The table, wherever a statement names the model."""
        return cls.__table__

    def __init__(self, **values: Any) -> None:
        columns = self.__table__.c
        for name in values:
            if name not in columns:
                message = f"{type(self).__name__} has no column {name}."
                raise TypeError(message)
        self.__dict__.update(values)

    __table__: ClassVar[Table]
    # The rows that a viewer sees. Without a default: a model without a policy does not import.
    policy: ClassVar[Policy]
    # The rules by which values for its columns are cleaned, by the columns' names; made of the columns.
    rules: ClassVar[Mapping[str, Rule]] = {}
    # Its fields that are no columns, but follow from them; made of its attributes.
    derived_choices: ClassVar[Mapping[str, DerivedChoice]] = {}
    # Its name in the event stream ("lead"); None: its changes write no events.
    entity: ClassVar[str | None] = None
    # What people call a record, in English and in Swedish; None: its entity.
    noun: ClassVar[Label | None] = None
    # The column with the id of the lead on whose timeline its changes show.
    timeline: ClassVar[str | None] = None
    # Columns computed from others: their change bumps neither `version` nor `updated_at`.
    derived: ClassVar[frozenset[str]] = frozenset()
    # Columns whose values are in no event.
    unlogged: ClassVar[frozenset[str]] = frozenset()
    # Columns that are not in the API: nor in events, and a change to only such columns writes no event.
    internal: ClassVar[frozenset[str]] = frozenset()
    # Columns that may be long, and their most bytes.
    large: ClassVar[Mapping[str, int]] = {}
