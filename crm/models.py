"""Imports every model, so that Alembic (and the worker) know all tables."""

from crm.ai.model import AiCall
from crm.ai_tasks.model import AiTask, AiTaskAttempt, AiTaskDay
from crm.core.events import Event, StreamEpoch, StreamFork
from crm.core.lease import Lease
from crm.core.model import Model
from crm.core.revocation import RevokedToken
from crm.generations.model import Generation
from crm.interactions.model import Interaction
from crm.jobs.model import EventFollower
from crm.leads.model import Lead
from crm.people.model import User
from crm.tasks.model import Task

__all__ = [
    "AiCall",
    "AiTask",
    "AiTaskAttempt",
    "AiTaskDay",
    "Event",
    "EventFollower",
    "Generation",
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
