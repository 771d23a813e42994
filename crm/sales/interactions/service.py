"""Interactions."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, select

from crm.db.idempotency import once
from crm.db.query import Operand, Where, filtered, ordered
from crm.db.service import Service
from crm.sales.interactions.model import Interaction
from crm.sales.leads.model import Lead


class InteractionService(Service):
    """Interactions and their life cycle."""

    @staticmethod
    def matching(where: Where | None = None, order_by: Sequence[Any] | None = None) -> Select[Any]:
        """Interactions, newest first unless asked otherwise."""
        return ordered(filtered(select(Interaction), Interaction, where), Interaction, order_by)

    @staticmethod
    def of_lead(lead_id: Operand, where: Where | None = None, order_by: Sequence[Any] | None = None) -> Select[Any]:
        """A lead's interactions."""
        return InteractionService.matching(where, order_by).where(Interaction.lead_id == lead_id)

    @staticmethod
    def with_id(key: Operand) -> Select[Any]:
        """The interaction with this id."""
        return select(Interaction).where(Interaction.id == key)

    async def log(self, values: Mapping[str, Any], key: str | None = None) -> Interaction:
        """Log an interaction with a living lead, once for each idempotency key."""
        return await once(self.unit_of_work, Interaction, key, values, self._make)

    async def _make(self, values: Mapping[str, Any], **columns: Any) -> Interaction:
        cleaned = await self.cleaned(Interaction, values)
        return self.unit_of_work.add(Interaction(**cleaned, **columns, created_by=self.viewer.id), within=Lead)

    async def update(self, key: int, values: Mapping[str, Any], expected_version: int | None = None) -> Interaction:
        """Correct an interaction."""
        interaction = await self.unit_of_work.get(Interaction, key, expected_version=expected_version)
        for name, value in (await self.cleaned(Interaction, values)).items():
            setattr(interaction, name, value)
        return interaction

    async def delete(self, key: int, expected_version: int | None = None) -> Interaction:
        """Delete an interaction for good; its events keep its time and its author, but none of its texts."""
        interaction = await self.unit_of_work.get(Interaction, key, expected_version=expected_version)
        self.unit_of_work.delete(interaction)
        return interaction
