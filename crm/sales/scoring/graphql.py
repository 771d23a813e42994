"""Scores in the API."""

import strawberry
from sqlalchemy import literal_column
from sqlalchemy.dialects.postgresql import JSONB

from crm import graph
from crm.graph.run.context import Info
from crm.sales.leads import model
from crm.sales.leads.graphql import Lead
from crm.sales.scoring import recalculation
from crm.sales.scoring.formula import ScoreSignal

Row = type[model.Lead]

graph.enum(ScoreSignal)


@graph.document
class ScoreFactor:
    """One part of a lead's score. The points of all parts add up to it."""

    signal: ScoreSignal = strawberry.field(description="What it looks at.")
    points: int = strawberry.field(description="What it adds to the score.")
    max_points: int = strawberry.field(description="The most it could add.")
    evidence: str = strawberry.field(
        description="The fact that the points rest on, in English whoever asks: it is saved."
    )


@graph.extend(Lead)
class LeadScore:
    """Why a lead's score is what it is."""

    @graph.computed
    def score_factors(lead: Row) -> list[ScoreFactor] | None:
        """What the score is made of: their points add up to it. Null until calculated."""
        return lead.score_factors.op("->", return_type=JSONB())(literal_column("'factors'"))

    @graph.computed
    def score_version(lead: Row) -> str | None:
        """By which formula the score was calculated; null until then."""
        return lead.score_factors.op("->>")(literal_column("'version'"))


@graph.type()
class RecalculateScoresResult:
    """What a recalculation of all scores did."""

    count: int = strawberry.field(description="How many leads were scored.")
    failed: int = strawberry.field(description="How many could not be; they keep the score they had.")
    changed: int = strawberry.field(description="How many of the scores are others than before.")
    duration_ms: int = strawberry.field(description="How long it took, in milliseconds.")
    score_version: str = strawberry.field(description="By which formula; see `Lead.scoreVersion`.")


@strawberry.type
class ScoreMutation:
    """Changes of scores."""

    @graph.mutation
    async def recalculate_all_scores(self, info: Info) -> RecalculateScoresResult:
        """Calculate the score of every lead anew, as of now.

        In batches, each saved by itself: a lead that fails does not stop the others, and nobody waits. CONFLICT while
        another recalculation is under way; RATE_LIMITED in the minute after one, with `retryAfterSeconds`. With more
        leads than a request has time for, use `crm recalculate`.
        """
        engine = info.context.engine
        run = recalculation.Recalculation(
            engine.database,
            info.context.viewer.id,
            engine.feed.announce,
            pause=engine.settings.recalculation_pause_seconds,
        )
        return await run.run()
