"""The whole GraphQL API on one screen."""

import strawberry

from crm.ai.graphql import AiQuery
from crm.ai_tasks.graphql import AiTaskMutation, AiTaskQuery, AiTaskSubscription
from crm.changes.graphql import ChangeSubscription
from crm.graph.scalars import CONFIG
from crm.interactions.graphql import InteractionMutation, InteractionQuery
from crm.leads.graphql import LeadMutation, LeadQuery
from crm.people.graphql import UserMutation, UserQuery
from crm.recommendations.graphql import RecommendationMutation, RecommendationQuery
from crm.scoring.graphql import ScoreMutation
from crm.search.graphql import SearchQuery
from crm.stats.graphql import StatsQuery
from crm.summaries.graphql import SummaryMutation
from crm.tasks.graphql import TaskMutation, TaskQuery


@strawberry.type(description="Everything that can be read.")
class Query(
    LeadQuery,
    InteractionQuery,
    TaskQuery,
    UserQuery,
    SearchQuery,
    StatsQuery,
    RecommendationQuery,
    AiQuery,
    AiTaskQuery,
):
    """Everything that can be read."""


@strawberry.type(description="Everything that can be changed. Fields run one after another, each for itself.")
class Mutation(
    LeadMutation,
    InteractionMutation,
    TaskMutation,
    UserMutation,
    RecommendationMutation,
    SummaryMutation,
    ScoreMutation,
    AiTaskMutation,
):
    """Everything that can be changed."""


@strawberry.type(description="What happens, live.")
class Subscription(ChangeSubscription, AiTaskSubscription):
    """What happens, live."""


schema = strawberry.Schema(Query, Mutation, Subscription, config=CONFIG)
