"""Search in the API."""

from typing import Annotated, Any

import strawberry
from sqlalchemy import func

from crm import graph
from crm.sales.interactions.graphql import Interaction
from crm.sales.interactions.service import InteractionService
from crm.sales.leads.graphql import Lead
from crm.sales.leads.service import LeadService
from crm.sales.search.service import SearchKind, SearchService, check_text
from crm.sales.tasks.graphql import Task
from crm.sales.tasks.service import TaskService

# Each kind ranks a few hundred candidates.
_COST_OF_A_KIND = 200
# The whole text is parsed once more.
_COST_OF_A_SNIPPET = 2


def _cost(arguments: dict[str, Any]) -> int:
    kinds = arguments.get("kinds")
    return _COST_OF_A_KIND * len(set(kinds) if isinstance(kinds, list) and kinds else SearchKind)


Text = Annotated[
    str,
    graph.checked(
        check_text,
        "Words, or how they begin, 2 to 200 characters: all must match. Or an e-mail address, a domain, or a phone "
        "number, however it is spelled.",
    ),
]
graph.enum(SearchKind, structural=True)


Kinds = Annotated[
    list[SearchKind] | None, strawberry.argument(description="Only these kinds; all if omitted or empty.")
]
Limit = Annotated[
    int,
    strawberry.argument(
        description="At most this many, 0 to 1,000. At most 100 matches of a kind are ranked, 200 of leads."
    ),
]


Row = Any


@graph.type()
class SearchHit:
    """A record that a search found."""

    score: float = strawberry.field(description="How well it matches; compares only within one answer.")

    @graph.computed(never_null=True)
    def kind(hit: Row) -> SearchKind:
        """Of what kind it is."""
        return func.upper(hit.kind)

    @graph.computed(never_null=True, extra_cost=lambda _: _COST_OF_A_SNIPPET)
    def snippet(hit: Row) -> str:
        """The text around the match: plain text without markup, so escape it like any other text."""
        return SearchService.snippet(hit)

    @graph.edge
    def lead(hit: Row) -> Lead | None:
        """The lead that was found, or that the task or interaction is about."""
        return LeadService.with_id(hit.lead_id)

    @graph.edge
    def task(hit: Row) -> Task | None:
        """The task, if it is one."""
        return TaskService.with_id(hit.task_id)

    @graph.edge
    def interaction(hit: Row) -> Interaction | None:
        """The interaction, if it is one."""
        return InteractionService.with_id(hit.interaction_id)


@strawberry.type
class SearchQuery:
    """Search."""

    @graph.rows(usual_rows=20, extra_cost=_cost)
    def search(text: Text, kinds: Kinds = None, limit: Limit = 20) -> list[SearchHit]:  # noqa: ARG002
        """Leads, tasks and interactions that match every word, as one types; best first.

        `limit` is declared here for its default; the engine applies it.
        """
        return SearchService.hits(text, kinds or ())
