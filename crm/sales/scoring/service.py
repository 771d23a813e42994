"""Scores of single leads, written within the caller's transaction."""

from collections.abc import Sequence

from crm.db.service import Service
from crm.db.statement import encode
from crm.sales.leads.model import Lead
from crm.sales.scoring import statements


class ScoreService(Service):
    """Calculates scores within a transaction."""

    async def score(self, lead: Lead) -> Lead:
        """Set a loaded lead's score as of now; it is saved with the lead's other changes.

        Changes made before are saved first, since the score depends on them.
        """
        (now,) = await self.unit_of_work.execute(statements.NOW)
        rows = await self.unit_of_work.execute(statements.SHOW, [encode(now["at"]), encode([lead.id])])
        for row in rows:  # none if the lead is deleted
            lead.activity_score, lead.score_factors, lead.score_calculated_at = row["score"], row["factors"], now["at"]
        return lead

    async def refresh(self, lead_id: int) -> None:
        """Calculate a lead's score as of now and save it by itself; writes an event only if the score changed."""
        (now,) = await self.unit_of_work.execute(statements.NOW)
        await self.unit_of_work.execute(statements.REFRESH, [encode(now["at"]), encode([lead_id])])

    async def follow(self, lead_ids: Sequence[int]) -> list[int]:
        """Calculate these leads' scores anew; write those that changed, each with an event, and return their ids."""
        if not lead_ids:
            return []
        (now,) = await self.unit_of_work.execute(statements.NOW)
        rows = await self.unit_of_work.execute(statements.FOLLOW, [encode(now["at"]), encode(sorted(set(lead_ids)))])
        return [row["id"] for row in rows]
