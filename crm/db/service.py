"""The base of every service."""

from collections.abc import Callable
from typing import Any, Final

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
