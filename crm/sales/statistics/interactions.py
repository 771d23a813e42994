"""Statistics of interactions."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Integer, Select, Uuid, cast, distinct, func

from crm.core.choice import Choice, EnumText
from crm.db.query import Where
from crm.sales.interactions.model import Interaction, InteractionType
from crm.sales.statistics.groups import Key, column_of, count_of, grouped, in_order, total_of, week_of


class InteractionGroup(Choice):
    """By what interactions are grouped."""

    TYPE = "type", "By how somebody was in touch."
    CREATOR = "created_by", "By who logged them."
    WEEK = "week", "By the week in which they took place (ISO 8601, UTC)."


KEYS: Final[Mapping[Choice, Key]] = {
    InteractionGroup.TYPE: column_of("type", EnumText(InteractionType)),
    InteractionGroup.CREATOR: column_of("created_by", Uuid()),
    InteractionGroup.WEEK: week_of("occurred_at"),
}


class InteractionStatsService:
    """Statistics of interactions, in groups."""

    @staticmethod
    def grouped(
        group_by: Sequence[InteractionGroup] = (), where: Where | None = None, having: Any = None
    ) -> Select[Any]:
        """One row a group: weeks in their order, and the largest first; without groups one row over everything."""
        numbers = {
            "count": count_of(),
            "lead_count": cast(func.count(distinct(Interaction.lead_id)), Integer),
            "minutes": total_of(Interaction.duration_minutes),
        }
        return in_order(grouped(Interaction, KEYS, numbers, group_by, where), KEYS, group_by, having)
