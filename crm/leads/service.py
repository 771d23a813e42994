"""Leads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, any_, collate, func, literal_column, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from crm.core import errors, validate
from crm.core.model import CASE_COLLATION
from crm.core.service import Service
from crm.core.visibility import with_deleted
from crm.graph.filters import filtered
from crm.graph.ordering import ordered, rank
from crm.leads.filter import LeadFilter
from crm.leads.model import Lead, LeadStatus

_NAME: Final = 200
_LONG: Final = 300
MOST_AT_ONCE: Final = 1000
_RULES: Final = {
    "first_name": validate.text(_NAME, required=True),
    "last_name": validate.text(_NAME, required=True),
    "email": validate.email(),
    "phone": validate.text(50),
    "company": validate.text(_LONG),
    "job_title": validate.text(_NAME),
    "status": validate.given,
    "source": validate.text(100),
    "budget": validate.amount,
    "currency": validate.currency,
    "location": validate.text(_LONG),
    "tags": validate.tags,
}


class CreateLeadStatus(Enum):
    """What became of one of many leads."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    INVALID = "invalid"


@dataclass
class CreateLeadResult:
    """What became of one of many leads."""

    index: int
    status: CreateLeadStatus
    lead: Lead | None = None
    message: str | None = None
    field: str | None = None
    duplicate_of_id: int | None = None


class LeadService(Service):
    """Leads and their life cycle."""

    @staticmethod
    def matching(
        where: LeadFilter | None = None, order_by: Sequence[Any] | None = None, *, include_deleted: bool = False
    ) -> Select[Any]:
        """Leads, newest first unless asked otherwise."""
        statement = ordered(filtered(select(Lead), Lead, where), Lead.__table__.c, order_by, _order_column)
        return with_deleted(statement) if include_deleted else statement

    @staticmethod
    def with_id(key: ColumnElement[Any], *, include_deleted: bool = False) -> Select[Any]:
        """The lead with this id."""
        statement = select(Lead).where(Lead.id == key)
        return with_deleted(statement) if include_deleted else statement

    @staticmethod
    def with_email(address: Any) -> Select[Any]:
        """The living lead with this e-mail address, in whatever case."""
        return select(Lead).where(_folded(Lead.email) == _folded(type_coerce(address, Text)))

    @staticmethod
    def with_phone(number: Any) -> Select[Any]:
        """The newest lead with this phone number, however it is spelled."""
        return (
            select(Lead)
            .where(func.crm_phone(Lead.phone) == func.crm_phone(type_coerce(number, Text)), Lead.phone.is_not(None))
            .order_by(Lead.id.desc())
            .limit(literal_column("1"))
        )

    async def create(self, values: Mapping[str, Any]) -> Lead:
        """Add a lead."""
        cleaned = validate.clean(values, _RULES)
        await self._refuse_duplicate(cleaned.get("email"))
        return self.unit.add(Lead(**cleaned))

    async def create_many(self, inputs: Sequence[Mapping[str, Any]]) -> list[CreateLeadResult]:
        """Add many leads: the valid ones are saved, the others say why not."""
        if len(inputs) > MOST_AT_ONCE:
            message = f"`inputs` has {len(inputs):,} leads; at most {MOST_AT_ONCE:,} are allowed."
            raise errors.BadUserInput(message, field="inputs", limit=MOST_AT_ONCE)
        results = [self._checked(index, values) for index, values in enumerate(inputs)]
        taken = await self._taken([lead.email for result in results if (lead := result.lead) and lead.email])
        first: dict[str, Lead] = {}
        for result in results:
            if result.lead is None:
                continue
            address = (result.lead.email or "").lower()
            if address and (address in taken or address in first):
                result.status = CreateLeadStatus.DUPLICATE
                result.field, result.message = "email", "A lead with this e-mail address exists already."
                result.duplicate_of_id, result.lead = taken.get(address), None
                continue
            first[address] = self.unit.add(result.lead)
        await self.unit.flush()
        for result, values in zip(results, inputs, strict=True):
            if result.status is CreateLeadStatus.DUPLICATE and result.duplicate_of_id is None:
                result.duplicate_of_id = first[str(values["email"]).strip().lower()].id
        return results

    async def update(self, key: int, values: Mapping[str, Any], expected_version: int | None = None) -> Lead:
        """Change a lead."""
        lead = await self.unit.get(Lead, key)
        validate.check_version(lead, expected_version)
        cleaned = validate.clean(values, _RULES)
        address = cleaned.get("email")
        if address is not None and address.lower() != (lead.email or "").lower():
            await self._refuse_duplicate(address)
        for name, value in cleaned.items():
            setattr(lead, name, value)
        return lead

    async def delete(self, key: int) -> Lead:
        """Delete a lead; its tasks and interactions hide with it, and `restore` brings all back."""
        lead = await self.unit.get(Lead, key)
        lead.deleted_at = self.unit.now()
        return lead

    async def restore(self, key: int) -> Lead:
        """Bring a deleted lead back, with its tasks and interactions."""
        lead = await self.unit.get(Lead, key, deleted=True)
        await self._refuse_duplicate(lead.email)
        lead.deleted_at = None
        return lead

    async def _refuse_duplicate(self, address: str | None) -> None:
        if address is None:
            return
        found = await self._taken([address])
        if found:
            other = next(iter(found.values()))
            message = f"Lead {other} has this e-mail address already."
            raise errors.Conflict(message, field="email", existingId=str(other))

    async def _taken(self, addresses: Sequence[str]) -> dict[str, int]:
        """Which of these addresses living leads have, and who."""
        if not addresses:
            return {}
        folded = [address.lower() for address in addresses]
        rows = await self.unit.rows(
            select(Lead.id, _folded(Lead.email).label("address")).where(
                _folded(Lead.email) == any_(type_coerce(folded, ARRAY(Text)))
            )
        )
        return {row["address"]: row["id"] for row in rows}

    def _checked(self, index: int, values: Mapping[str, Any]) -> CreateLeadResult:
        try:
            lead = Lead(**validate.clean(values, _RULES))
        except errors.BadUserInput as error:
            field = error.details.get("field")
            return CreateLeadResult(index, CreateLeadStatus.INVALID, None, error.message, str(field) if field else None)
        return CreateLeadResult(index, CreateLeadStatus.CREATED, lead)


def _order_column(row: Any, name: str) -> ColumnElement[Any]:
    return rank(row.status, LeadStatus) if name == "status" else row[name]


def _folded(address: Any) -> ColumnElement[str]:
    """An address without regard to case: what the unique index is on."""
    return func.lower(collate(address, CASE_COLLATION))
