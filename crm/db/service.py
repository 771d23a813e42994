"""The base of every service."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import exists, literal, select

from crm.core import errors, validate
from crm.core.api_json import camel
from crm.core.model import Model
from crm.core.problems import FieldProblem, Problem
from crm.db.unit_of_work import UnitOfWork

# The class that declares a method, by the method: `write_of` makes the object that the method is called on.
_OWNERS: Final[dict[Callable[..., Any], type[Any]]] = {}


def remember_owner(cls: type[Any]) -> None:
    """Record the class that declares each method; the bases of services call this for every subclass."""
    for member in vars(cls).values():
        if callable(member):
            _OWNERS[member] = cls


def owner_of(method: Callable[..., Any]) -> type[Any]:
    """The class that declares a service's method."""
    return _OWNERS[method]


class Service:
    """Domain verbs over one unit of work. Reads are static and return statements; writes use the unit of work."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        remember_owner(cls)

    def __init__(self, unit_of_work: UnitOfWork) -> None:
        self.unit_of_work = unit_of_work
        self.viewer = unit_of_work.viewer

    async def cleaned(
        self, model: type[Model], values: Mapping[str, Any], taken: "Taken | None" = None
    ) -> dict[str, Any]:
        """The values by the model's rules; or one error for all mistakes that reading can find.

        `taken` looks for another record with one of the values, and returns the conflict. References are looked up only
        for an error that is raised anyhow: a foreign key finds the unknown ones of a good input, at no cost.
        """
        cleaned, problems = validate.checked(values, model.rules)
        conflict = await taken(cleaned) if taken is not None else None
        if not problems and conflict is None:
            return cleaned
        problems += conflict.problems if conflict is not None else []
        problems += await self._unknown_references(model, cleaned)
        raise _as_one(in_order(problems, model), conflict)

    async def _unknown_references(self, model: type[Model], cleaned: Mapping[str, Any]) -> list[Problem]:
        """The mistakes of values that name a record which does not exist, found by one statement."""
        wanted = {
            column.name: next(iter(column.foreign_keys)).column
            for column in model.__table__.c
            if column.foreign_keys and cleaned.get(column.name) is not None
        }
        if not wanted:
            return []
        found = [
            exists(select(key).where(key == literal(cleaned[name], key.type))).label(name)
            for name, key in wanted.items()
        ]
        (row,) = await self.unit_of_work.rows(select(*found))
        return [Problem.of(camel(name), FieldProblem.UNKNOWN_REFERENCE) for name, there in row.items() if not there]


# Looks for another record with one of some values that must be unique.
Taken = Callable[[Mapping[str, Any]], Awaitable[errors.Conflict | None]]


def in_order(problems: Sequence[Problem], model: type[Model]) -> list[Problem]:
    """Mistakes in the order in which a model declares the columns."""
    places = {camel(column.name): index for index, column in enumerate(model.__table__.c)}
    return sorted(problems, key=lambda problem: places.get(problem.field.split(".")[0], len(places)))


def _as_one(problems: Sequence[Problem], conflict: errors.Conflict | None) -> errors.CrmError:
    """One error for these mistakes: a conflict if there is no other, else an input that is not valid."""
    if conflict is None:
        return errors.BadUserInput.of(problems)
    if len(problems) == len(conflict.problems):
        return conflict
    existing = conflict.details.get("existingId")
    return errors.BadUserInput.of(problems, **({} if existing is None else {"existingId": existing}))
