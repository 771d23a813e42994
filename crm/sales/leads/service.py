"""Leads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, collate, column, exists, func, literal_column, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from crm.access.users.model import User
from crm.access.users.service import UserService, unknown_user
from crm.core import errors, validate
from crm.core.choice import Choice
from crm.core.model import CASE_COLLATION
from crm.core.pacing import paced
from crm.db.query import Beside, Operand, Where, filtered, ordered
from crm.db.service import Service
from crm.db.sqlstates import on_violation
from crm.db.visibility import with_deleted
from crm.sales.leads.model import Lead, LeadRollup
from crm.sales.leads.phone import has_phone, names_same_country
from crm.sales.search.service import SearchService
from crm.sales.tasks.service import TaskService

MOST_AT_ONCE: Final = 1000

on_violation("leads_owner_id_fkey", lambda _: unknown_user("ownerId"))
on_violation(
    "leads_living_email_key",
    lambda _: errors.Conflict("Another lead has this e-mail address already.", field="email"),
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
    duplicate_of_id: int | None = None

    def refuse(self, message: str, field: str | None, status: CreateLeadStatus = CreateLeadStatus.INVALID) -> None:
        """Mark the lead as not saved, with the reason."""
        self.status, self.lead, self.message, self.field = status, None, message, field


@dataclass(frozen=True)
class _Address:
    """An e-mail address as the unique index sees it, and the living lead that has it."""

    folded: str
    lead_id: int | None


class LeadService(Service):
    """Leads and their life cycle."""

    @staticmethod
    def matching(
        where: Where | None = None, order_by: Sequence[Any] | None = None, *, include_deleted: bool = False
    ) -> Select[Any]:
        """Leads, newest first unless asked otherwise."""
        orders = {**_ORDERS, "relevance": lambda lead: _relevance(lead, where)}
        statement = ordered(filtered(select(Lead), Lead, where), Lead, order_by, orders)
        return with_deleted(statement) if include_deleted else statement

    @staticmethod
    def with_id(key: Operand, *, include_deleted: bool = False) -> Select[Any]:
        """The lead with this id."""
        statement = select(Lead).where(Lead.id == key)
        return with_deleted(statement) if include_deleted else statement

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

    async def create(self, values: Mapping[str, Any]) -> Lead:
        """Add a lead."""
        cleaned = validate.clean(values, Lead.rules)
        await self._refuse_duplicate(cleaned.get("email"))
        return self.unit_of_work.add(Lead(**cleaned))

    async def create_many(self, inputs: Sequence[Mapping[str, Any]]) -> list[CreateLeadResult]:
        """Add many leads: save the valid ones, and say of the others why not."""
        if len(inputs) > MOST_AT_ONCE:
            message = f"`inputs` has {len(inputs):,} leads; at most {MOST_AT_ONCE:,} are allowed."
            raise errors.BadUserInput(message, field="inputs", limit=MOST_AT_ONCE)
        results = [self._checked(index, values) async for index, values in paced(enumerate(inputs))]
        await self._refuse_unknown_owners(results)
        addresses = await self._addresses([lead.email for result in results if (lead := result.lead) and lead.email])
        twins = _refuse_duplicates(results, addresses)
        await self._add([result.lead for result in results if result.lead is not None], addresses)
        for result, first in twins:
            result.duplicate_of_id = first.id
        return results

    async def _refuse_unknown_owners(self, results: Sequence[CreateLeadResult]) -> None:
        owners = {result.lead.owner_id for result in results if result.lead and result.lead.owner_id}
        known = await UserService(self.unit_of_work).known(owners)
        for result in results:
            if result.lead and result.lead.owner_id and result.lead.owner_id not in known:
                error = unknown_user("ownerId")
                result.refuse(error.message, "ownerId")

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
        lead = await self.unit_of_work.get(Lead, key)
        validate.check_version(lead, expected_version)
        cleaned = validate.clean(values, Lead.rules)
        if cleaned.get("email") != lead.email:
            await self._refuse_duplicate(cleaned.get("email"), lead)
        for name, value in cleaned.items():
            setattr(lead, name, value)
        return lead

    async def delete(self, key: int) -> Lead:
        """Delete a lead; its tasks and interactions hide with it, and `restore` brings all back."""
        lead = await self.unit_of_work.get(Lead, key)
        lead.deleted_at = self.unit_of_work.now()
        return lead

    async def restore(self, key: int) -> Lead:
        """Bring a deleted lead back, with its tasks and interactions."""
        lead = await self.unit_of_work.get(Lead, key, deleted=True)
        await self._refuse_duplicate(lead.email, lead)
        lead.deleted_at = None
        return lead

    async def _refuse_duplicate(self, address: str | None, lead: Lead | None = None) -> None:
        if address is None:
            return
        other = (await self._addresses([address]))[address].lead_id
        if other is not None and (lead is None or other != lead.id):
            message = f"Lead {other} has this e-mail address already."
            raise errors.Conflict(message, field="email", existingId=str(other))

    async def _addresses(self, addresses: Sequence[str]) -> dict[str, _Address]:
        """The leads with these addresses. PostgreSQL folds the case: Python's lower case differs from the index's."""
        if not addresses:
            return {}
        unnested = func.unnest(type_coerce(addresses, ARRAY(Text)))
        wanted = unnested.table_valued(column("address", Text), name="given").render_derived()
        folded = _folded(wanted.c.address)
        holder = select(Lead.id).where(_folded(Lead.email) == folded).correlate(wanted).scalar_subquery()
        rows = await self.unit_of_work.rows(select(wanted.c.address, folded.label("folded"), holder.label("lead_id")))
        return {row["address"]: _Address(row["folded"], row["lead_id"]) for row in rows}

    def _checked(self, index: int, values: Mapping[str, Any]) -> CreateLeadResult:
        try:
            lead = Lead(**validate.clean(values, Lead.rules))
        except errors.BadUserInput as error:
            field = error.details.get("field")
            return CreateLeadResult(index, CreateLeadStatus.INVALID, None, error.message, str(field) if field else None)
        return CreateLeadResult(index, CreateLeadStatus.CREATED, lead)


def _refuse_duplicates(
    results: Sequence[CreateLeadResult], addresses: Mapping[str, _Address]
) -> list[tuple[CreateLeadResult, Lead]]:
    """Refuse leads with a taken address; returns those whose address another of these leads has, with that lead."""
    first: dict[str, Lead] = {}
    twins = []
    for result in results:
        lead = result.lead
        if lead is None or lead.email is None:
            continue
        address = addresses[lead.email]
        twin = first.setdefault(address.folded, lead)
        if address.lead_id is None and twin is lead:
            continue
        result.refuse("A lead with this e-mail address exists already.", "email", CreateLeadStatus.DUPLICATE)
        result.duplicate_of_id = address.lead_id
        if address.lead_id is None:
            twins.append((result, twin))
    return twins


def _owner_name(lead: Any) -> ColumnElement[str]:
    return select(User.name_key).where(User.id == lead.owner_id).scalar_subquery()


def _relevance(lead: Any, where: Where | None) -> ColumnElement[float]:
    text = where.present_fields().get("search") if where else None
    if text is None:
        message = "An order by relevance needs a text in `filter.search`."
        raise errors.BadUserInput(message, field="orderBy")
    return SearchService.relevance(lead, text)


# What leads can be ordered by that is no column of theirs.
_ORDERS: Final[Mapping[str, Callable[[Any], ColumnElement[Any] | Beside]]] = {
    "owner_name": _owner_name,
    "next_due_at": lambda _: Beside(LeadRollup.next_due_at, LeadRollup.lead_id),
    "last_interaction_at": lambda _: Beside(LeadRollup.last_interaction_at, LeadRollup.lead_id),
    "open_task_count": lambda lead: TaskService.open_count(lead.id),
}


def _folded(address: Any) -> ColumnElement[str]:
    """An address without regard to case, as in the unique index."""
    return func.lower(collate(address, CASE_COLLATION))
