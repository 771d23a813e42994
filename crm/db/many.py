"""Changes of many records at once: one result for each id, and the valid ones are saved."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

from sqlalchemy import ARRAY, Select, bindparam, func, select

from crm.core import errors
from crm.core.language import Phrase
from crm.core.model import Model
from crm.core.problems import FieldProblem, Problem
from crm.db.missing import missing
from crm.db.unit_of_work import UnitOfWork

MOST_AT_ONCE: Final = 500

M = TypeVar("M", bound=Model)
R = TypeVar("R", bound="ManyResult")
_AS_MANY: Final = Phrase(
    "As many versions as ids: {ids}, not {versions}.", "Lika många versioner som id: {ids}, inte {versions}."
)
_EACH: Final = Phrase(
    "Of many records each has a version of its own.",
    "Av flera poster har var och en sin egen version.",
)


@dataclass
class ManyResult:
    """What became of one of many records; a noun's own says by what name the API shows the record."""

    id: str
    record: Any = None
    refusal: errors.CrmError | None = None

    @property
    def saved(self) -> bool:
        """Whether it was changed as asked, or was so already."""
        return self.refusal is None

    @property
    def message(self) -> str | None:
        """Why it was not, for people."""
        return None if self.refusal is None else self.refusal.message

    @property
    def error(self) -> errors.ErrorDetails | None:
        """Why it was not, as the error of a mutation of this one alone would say it."""
        return None if self.refusal is None else errors.ErrorDetails.of(self.refusal)


def checked_ids(ids: Sequence[int], versions: Sequence[int] | None) -> dict[int, int | None]:
    """The ids of many records, each once, with the version that the caller saw of each."""
    if len(ids) > MOST_AT_ONCE:
        problem = Problem.of("ids", FieldProblem.TOO_MANY, limit=MOST_AT_ONCE, length=len(ids))
        raise errors.BadUserInput.of([problem])
    if versions is not None and len(versions) != len(ids):
        phrase = _AS_MANY.of(ids=len(ids), versions=len(versions))
        raise errors.BadUserInput.of([Problem.of("expectedVersions", FieldProblem.MALFORMED, phrase)])
    seen: Sequence[int | None] = versions if versions is not None else [None] * len(ids)
    return dict(zip(ids, seen, strict=True))


def refuse_common_version(version: int | None) -> None:
    """Refuse one version for many records."""
    if version is not None:
        raise errors.BadUserInput.of([Problem.of("input.expectedVersion", FieldProblem.NOT_ALLOWED, _EACH)])


async def change_each(
    unit_of_work: UnitOfWork,
    model: type[M],
    wanted: dict[int, int | None],
    change: Callable[[M], Awaitable[None]],
    result: type[R],
) -> list[R]:
    """Change each of these records for itself; they are locked in the order of their ids, as every batch does it."""
    records = await unit_of_work.all(_locked_rows(model), model, ids=list(wanted))
    found = {record.__dict__["id"]: record for record in records}
    seen = ((record, wanted[number]) for number, record in found.items())
    await unit_of_work.expect([(record, version) for record, version in seen if version is not None])
    changed = [(number, *await _changed(unit_of_work, model, number, found.get(number), change)) for number in wanted]
    return [result(str(number), record, refusal) for number, record, refusal in changed]


@cache
def _locked_rows(model: type[Model]) -> Select[Any]:
    """The statement of the records with some `ids`, locked in their order."""
    key = model.__table__.c.id
    ids = bindparam("ids", type_=ARRAY(key.type))
    return select(model).where(key == func.any(ids)).order_by(key).with_for_update(of=model, key_share=True)


async def _changed(
    unit_of_work: UnitOfWork,
    model: type[M],
    number: int,
    record: M | None,
    change: Callable[[M], Awaitable[None]],
) -> tuple[M | None, errors.CrmError | None]:
    try:
        if record is None:
            raise missing(model, number)
        with unit_of_work.one_of_many(record):
            await change(record)
    except errors.CrmError as error:
        return record, error
    return record, None
