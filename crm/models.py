"""Every model, imported: Alembic and the worker find all tables in the metadata."""

from crm.access.revocation import RevokedToken
from crm.access.users.model import User
from crm.advice.ai_claims.model import AiClaim
from crm.ai.model import AiCall
from crm.ai_tasks.model import AiTask, AiTaskAttempt, AiTaskDay
from crm.core.model import Model
from crm.db.events import Event, StreamEpoch, StreamFork
from crm.db.idempotency import IdempotencyKey
from crm.db.row_lock import Lease
from crm.jobs.model import ConsumerPosition
from crm.sales.interactions.model import Interaction
from crm.sales.leads.model import Lead, LeadRollup
from crm.sales.tasks.model import Task

__all__ = [
    "AiCall",
    "AiClaim",
    "AiTask",
    "AiTaskAttempt",
    "AiTaskDay",
    "ConsumerPosition",
    "Event",
    "IdempotencyKey",
    "Interaction",
    "Lead",
    "LeadRollup",
    "Lease",
    "Model",
    "RevokedToken",
    "StreamEpoch",
    "StreamFork",
    "Task",
    "User",
]
