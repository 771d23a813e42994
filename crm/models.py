"""Imports every model, so that Alembic (and the worker) know all tables."""

from crm.access.revocation import RevokedToken
from crm.access.users.model import User
from crm.advice.ai_claims.model import AiClaim
from crm.ai.model import AiCall
from crm.ai_tasks.model import AiTask, AiTaskAttempt, AiTaskDay
from crm.core.model import Model
from crm.db.events import Event, StreamEpoch, StreamFork
from crm.db.row_lock import Lease
from crm.jobs.model import EventFollower
from crm.sales.interactions.model import Interaction
from crm.sales.leads.model import Lead
from crm.sales.tasks.model import Task

__all__ = [
    "AiCall",
    "AiClaim",
    "AiTask",
    "AiTaskAttempt",
    "AiTaskDay",
    "Event",
    "EventFollower",
    "Interaction",
    "Lead",
    "Lease",
    "Model",
    "RevokedToken",
    "StreamEpoch",
    "StreamFork",
    "Task",
    "User",
]
