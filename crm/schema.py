"""The whole GraphQL API on one screen."""

import strawberry

from crm.access.users.graphql import UserMutation, UserQuery
from crm.advice.recommendations.graphql import RecommendationMutation, RecommendationQuery
from crm.advice.summaries.graphql import SummaryMutation
from crm.ai.graphql import AiQuery
from crm.ai_tasks.graphql import AiTaskMutation, AiTaskQuery, AiTaskSubscription
from crm.graph.declare.node import NodeQuery
from crm.graph.declare.scalars import CONFIG
from crm.sales.history.graphql import ChangeQuery, ChangeSubscription
from crm.sales.interactions.graphql import InteractionMutation, InteractionQuery
from crm.sales.leads.graphql import LeadMutation, LeadQuery
from crm.sales.scoring.graphql import ScoreMutation
from crm.sales.search.graphql import SearchQuery
from crm.sales.statistics.graphql import StatsQuery
from crm.sales.tasks.graphql import TaskMutation, TaskQuery


@strawberry.type(description="Everything that can be read.")
class Query(
    NodeQuery,
    LeadQuery,
    InteractionQuery,
    TaskQuery,
    UserQuery,
    SearchQuery,
    StatsQuery,
    ChangeQuery,
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
