"""Leads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cache, partial
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    collate,
    column,
    exists,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from crm.access.users.model import User
from crm.access.users.service import UserService, unknown_user
from crm.core import errors, validate
from crm.core.choice import Choice
from crm.core.language import Phrase
from crm.core.model import CASE_COLLATION
from crm.core.pacing import paced
from crm.core.problems import FieldProblem, Problem
from crm.db.idempotency import once
from crm.db.many import ManyResult, change_each, checked_ids
from crm.db.query import JoinedKey, Operand, Where, filtered, ordered
from crm.db.service import Service, in_order
from crm.db.sqlstates import on_violation
from crm.db.visibility import with_deleted
from crm.sales.leads.model import Lead, LeadRollup
from crm.sales.leads.phone import has_phone, names_same_country
from crm.sales.search.service import SearchService
from crm.sales.tasks.service import TaskService

MOST_AT_ONCE: Final = 1000
# The order that follows a search, and is no column.
_RELEVANCE: Final = "relevance"

on_violation("leads_owner_id_fkey", lambda _: unknown_user("ownerId"))
on_violation(
    "leads_living_email_key",
    lambda _: _taken(None),
)


_TAKEN: Final = Phrase("Another lead has this e-mail address already.", "En annan lead har redan den e-postadressen.")
_ONE_ADDRESS: Final = Phrase(
    "One e-mail address cannot be that of several leads.", "Flera leads kan inte ha en och samma e-postadress."
)
_EXISTS: Final = Phrase(
    "A lead with this e-mail address exists already.", "Det finns redan en lead med den e-postadressen."
)


class CreateLeadStatus(Choice):
    """What became of one of many leads."""

    CREATED = "created", "Saved."
    DUPLICATE = "duplicate", "Not saved: the e-mail address is taken."
    INVALID = "invalid", "Not saved: `message` and `field` say why."


@dataclass
class CreateLeadResult:
    """What became of one of many leads."""

    index: int
    status: CreateLeadStatus
    lead: Lead | None = None
    message: str | None = None
    field: str | None = None
    existing_id: str | None = None
    duplicate_of_id: int | None = None
    problems: list[Problem] = dataclass_field(default_factory=list)
    # The values that keep their columns' rules.
    values: Mapping[str, Any] = dataclass_field(default_factory=dict)

    @property
    def error(self) -> errors.ErrorDetails | None:
        """Why it was not saved, as the error of a single `createLead` would say it."""
        if not self.problems:
            return None
        existing = None if self.duplicate_of_id is None else str(self.duplicate_of_id)
        if self.status is CreateLeadStatus.DUPLICATE:
            return errors.ErrorDetails.of(_taken(existing, _EXISTS))
        return errors.ErrorDetails.of(errors.BadUserInput.of(self.problems, existingId=existing))

    def refuse(self, problems: Sequence[Problem], status: CreateLeadStatus = CreateLeadStatus.INVALID) -> None:
        """Mark the lead as not saved, for these reasons besides those that are known."""
        self.status = CreateLeadStatus.INVALID if self.problems else status
        self.problems = in_order([*self.problems, *problems], Lead)
        self.lead, self.message, self.field = None, self.problems[0].message, self.problems[0].field

    def point_to(self, lead_id: int | None) -> None:
        """Name the lead that has the address already."""
        self.duplicate_of_id, self.existing_id = lead_id, None if lead_id is None else str(lead_id)


@dataclass(frozen=True)
class _Address:
    """An e-mail address as the unique index sees it, and the living lead that has it."""

    folded: str
    lead_id: int | None


class ChangedLead(ManyResult):
    """What became of one of many leads."""

    @property
    def lead(self) -> Lead | None:
        """The lead as it is now."""
        lead: Lead | None = self.record
        return lead


class LeadService(Service):
    """Leads and their life cycle."""

    @staticmethod
    def matching(
        where: Where | None = None, order_by: Sequence[Any] | None = None, *, include_deleted: bool = False
    ) -> Select[Any]:
        """Leads, newest first unless asked otherwise."""
        searched = where.present_fields().get("search") if where else None
        if searched is None:  # the search box is empty: all match as well
            order_by = [order for order in order_by or () if order.field.value != _RELEVANCE]
        orders = {**_ORDERS, _RELEVANCE: lambda lead: SearchService.relevance(lead, searched)}
        statement = ordered(filtered(select(Lead), Lead, where), Lead, order_by, orders)
        return with_deleted(statement) if include_deleted else statement

    @staticmethod
    def with_id(key: Operand, *, include_deleted: bool = False) -> Select[Any]:
        """The lead with this id."""
        statement = select(Lead).where(Lead.id == key)
        return with_deleted(statement) if include_deleted else statement

    @staticmethod
    def of_owner(user_id: Operand, where: Where | None = None, order_by: Sequence[Any] | None = None) -> Select[Any]:
        """The leads that a user owns."""
        return LeadService.matching(where, order_by).where(Lead.owner_id == user_id)

    @staticmethod
    def with_email(address: Any) -> Select[Any]:
        """The living lead with this e-mail address, in whatever case."""
        return select(Lead).where(_folded(Lead.email) == _folded(type_coerce(address, Text)))

    @staticmethod
    def with_phone(number: Any) -> Select[Any]:
        """The newest lead with this phone number, however it is spelled; first those whose number names its country."""
        return (
            select(Lead)
            .where(has_phone(number))
            .order_by(names_same_country(number).desc(), Lead.id.desc())
            .limit(literal_column("1"))
        )

    @staticmethod
    def next_due(lead_id: Operand) -> ColumnElement[Any]:
        """When the first of a lead's open tasks is due."""
        return select(LeadRollup.next_due_at).where(LeadRollup.lead_id == lead_id).scalar_subquery()

    @staticmethod
    def last_interaction(lead_id: Operand) -> ColumnElement[Any]:
        """When a lead's last interaction took place."""
        return select(LeadRollup.last_interaction_at).where(LeadRollup.lead_id == lead_id).scalar_subquery()

    @staticmethod
    def has_rollup(lead_id: Operand, condition: ColumnElement[bool]) -> ColumnElement[bool]:
        """Whether a condition holds for what a lead's tasks and interactions come to."""
        return exists(select(literal_column("1")).where(LeadRollup.lead_id == lead_id, condition))

    async def create(self, values: Mapping[str, Any], key: str | None = None) -> Lead:
        """Add a lead, once for each idempotency key."""
        return await once(self.unit_of_work, Lead, key, values, self._make)

    async def _make(self, values: Mapping[str, Any], **columns: Any) -> Lead:
        return self.unit_of_work.add(Lead(**await self.cleaned(Lead, values, self._duplicate), **columns))

    async def create_many(self, inputs: Sequence[Mapping[str, Any]]) -> list[CreateLeadResult]:
        """Add many leads: save the valid ones, and say of the others why not."""
        if len(inputs) > MOST_AT_ONCE:
            raise errors.BadUserInput.of(
                [Problem.of("inputs", FieldProblem.TOO_MANY, limit=MOST_AT_ONCE, length=len(inputs))]
            )
        results = [self._checked(index, values) async for index, values in paced(enumerate(inputs))]
        await self._refuse_unknown_owners(results)
        addresses = await self._addresses([email for result in results if (email := result.values.get("email"))])
        twins = _refuse_duplicates(results, addresses)
        await self._add([result.lead for result in results if result.lead is not None], addresses)
        for result, first in twins:
            result.point_to(first.id)
        return results

    async def _refuse_unknown_owners(self, results: Sequence[CreateLeadResult]) -> None:
        owners = {owner for result in results if (owner := result.values.get("owner_id"))}
        known = await UserService(self.unit_of_work).known(owners)
        for result in results:
            if result.values.get("owner_id") not in {None, *known}:
                result.refuse(unknown_user("ownerId").problems)

    async def _add(self, leads: list[Lead], addresses: Mapping[str, _Address]) -> None:
        """Insert leads in the order of their addresses: two batches with common addresses must not deadlock.

        Their ids are in the order of the input.
        """
        in_turn = sorted(leads, key=lambda lead: addresses[lead.email].folded if lead.email else "")
        if in_turn != leads:
            numbers = select(func.nextval("leads_id_seq").label("id")).select_from(func.generate_series(1, len(leads)))
            for lead, row in zip(leads, await self.unit_of_work.rows(numbers), strict=True):
                lead.id = row["id"]
        for lead in in_turn:
            self.unit_of_work.add(lead)
        await self.unit_of_work.flush()

    async def update(self, key: int, values: Mapping[str, Any], expected_version: int | None = None) -> Lead:
        """Change a lead."""
        lead = await self.unit_of_work.get(Lead, key, expected_version=expected_version)
        cleaned = await self.cleaned(Lead, values, partial(self._duplicate, lead=lead))
        for name, value in cleaned.items():
            setattr(lead, name, value)
        return lead

    async def update_many(
        self, ids: Sequence[int], values: Mapping[str, Any], versions: Sequence[int] | None = None
    ) -> list[ChangedLead]:
        """Change many leads in the same way."""
        wanted = checked_ids(ids, versions)
        if values.get("email") is not None and len(wanted) > 1:
            raise errors.BadUserInput.of([Problem.of("email", FieldProblem.NOT_ALLOWED, _ONE_ADDRESS)])
        cleaned = await self.cleaned(Lead, values)

        async def change(lead: Lead) -> None:
            conflict = await self._duplicate(cleaned, lead)
            if conflict is not None:
                raise conflict
            for name, value in cleaned.items():
                setattr(lead, name, value)

        return await change_each(self.unit_of_work, Lead, wanted, change, ChangedLead)

    async def delete_many(self, ids: Sequence[int], versions: Sequence[int] | None = None) -> list[ChangedLead]:
        """Delete many leads."""

        async def change(lead: Lead) -> None:
            lead.deleted_at = self.unit_of_work.now()

        return await change_each(self.unit_of_work, Lead, checked_ids(ids, versions), change, ChangedLead)

    async def delete(self, key: int, expected_version: int | None = None) -> Lead:
        """Delete a lead; its tasks and interactions hide with it, and `restore` brings all back."""
        lead = await self.unit_of_work.get(Lead, key, expected_version=expected_version)
        lead.deleted_at = self.unit_of_work.now()
        return lead

    async def restore(self, key: int, expected_version: int | None = None) -> Lead:
        """Bring a deleted lead back, with its tasks and interactions."""
        lead = await self.unit_of_work.get(Lead, key, deleted=True, expected_version=expected_version)
        conflict = await self._duplicate({"email": lead.email}, lead, even_if_kept=True)
        if conflict is not None:
            raise conflict
        lead.deleted_at = None
        return lead

    async def _duplicate(
        self, values: Mapping[str, Any], lead: Lead | None = None, *, even_if_kept: bool = False
    ) -> errors.Conflict | None:
        """The conflict with another living lead that has the address; an address that a lead keeps was looked up."""
        address = values.get("email")
        if address is None or (lead is not None and address == lead.email and not even_if_kept):
            return None
        other = (await self._addresses([address]))[address].lead_id
        return None if other is None or (lead is not None and other == lead.id) else _taken(other)

    async def _addresses(self, addresses: Sequence[str]) -> dict[str, _Address]:
        """The leads with these addresses. PostgreSQL folds the case: Python's lower case differs from the index's."""
        if not addresses:
            return {}
        rows = await self.unit_of_work.rows(_holders(), addresses=addresses)
        return {row["address"]: _Address(row["folded"], row["lead_id"]) for row in rows}

    def _checked(self, index: int, values: Mapping[str, Any]) -> CreateLeadResult:
        cleaned, problems = validate.checked(values, Lead.rules)
        result = CreateLeadResult(index, CreateLeadStatus.CREATED, Lead(**cleaned), values=cleaned)
        if problems:
            result.refuse(problems)
        return result


@cache
def _holders() -> Select[Any]:
    """The statement of the leads that have some `addresses`, with the addresses as they are compared."""
    unnested = func.unnest(bindparam("addresses", type_=ARRAY(Text)))
    wanted = unnested.table_valued(column("address", Text), name="given").render_derived()
    folded = _folded(wanted.c.address)
    holder = select(Lead.id).where(_folded(Lead.email) == folded).correlate(wanted).scalar_subquery()
    return select(wanted.c.address, folded.label("folded"), holder.label("lead_id"))


def _taken(lead_id: int | str | None, phrase: Phrase = _TAKEN) -> errors.Conflict:
    """The conflict with a lead that has the address; its id is not known if it was saved a moment ago."""
    return errors.Conflict(
        phrase,
        conflict=errors.ConflictReason.TAKEN,
        problem=FieldProblem.TAKEN,
        field="email",
        existingId=None if lead_id is None else str(lead_id),
    )


def _refuse_duplicates(
    results: Sequence[CreateLeadResult], addresses: Mapping[str, _Address]
) -> list[tuple[CreateLeadResult, Lead]]:
    """Refuse leads with a taken address; returns those whose address another of these leads has, with that lead."""
    first: dict[str, Lead] = {}
    twins = []
    for result in results:
        lead, email = result.lead, result.values.get("email")
        if email is None:
            continue
        address = addresses[email]
        twin = first.setdefault(address.folded, lead) if lead is not None else first.get(address.folded)
        if address.lead_id is None and (twin is lead or twin is None):
            continue
        result.refuse([Problem("email", FieldProblem.TAKEN, _EXISTS)], CreateLeadStatus.DUPLICATE)
        result.point_to(address.lead_id)
        if address.lead_id is None and twin is not None:
            twins.append((result, twin))
    return twins


def _owner_name(lead: Any) -> ColumnElement[str]:
    return select(User.name_key).where(User.id == lead.owner_id).scalar_subquery()


# What leads can be ordered by that is no column of theirs.
_ORDERS: Final[Mapping[str, Callable[[Any], ColumnElement[Any] | JoinedKey]]] = {
    "owner_name": _owner_name,
    "next_due_at": lambda _: JoinedKey(LeadRollup.next_due_at, LeadRollup.lead_id),
    "last_interaction_at": lambda _: JoinedKey(LeadRollup.last_interaction_at, LeadRollup.lead_id),
    "open_task_count": lambda lead: TaskService.open_count(lead.id),
}


def _folded(address: Any) -> ColumnElement[str]:
    """An address without regard to case, as in the unique index."""
    return func.lower(collate(address, CASE_COLLATION))
