"""Scores of single leads."""

from collections.abc import Sequence

from crm.db.connection import encode
from crm.db.service import Service
from crm.sales.leads.model import Lead
from crm.sales.scoring import statements


class ScoreService(Service):
    """Scores within a transaction."""

    async def score(self, lead: Lead) -> Lead:
        """Give a lead that was loaded here its score as of now; it is saved with what is changed about it after this.

        What was changed about it before is saved first, by itself, since the score rests on it.
        """
        (now,) = await self.unit_of_work.execute(statements.NOW)
        rows = await self.unit_of_work.execute(statements.SHOW, [encode(now["at"]), encode([lead.id])])
        for row in rows:  # none if it is deleted
            lead.activity_score, lead.score_factors, lead.score_calculated_at = row["score"], row["factors"], now["at"]
        return lead

    async def refresh(self, lead_id: int) -> None:
        """Calculate a lead's score as of now, of which nothing else changes: an event only if it became another."""
        (now,) = await self.unit_of_work.execute(statements.NOW)
        await self.unit_of_work.execute(statements.REFRESH, [encode(now["at"]), encode([lead_id])])

    async def follow(self, lead_ids: Sequence[int]) -> list[int]:
        """Calculate these leads' scores anew; those that became others are written, each with an event."""
        if not lead_ids:
            return []
        (now,) = await self.unit_of_work.execute(statements.NOW)
        rows = await self.unit_of_work.execute(statements.FOLLOW, [encode(now["at"]), encode(sorted(set(lead_ids)))])
        return [row["id"] for row in rows]
