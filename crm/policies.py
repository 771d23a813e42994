"""Which rows a viewer sees, model by model. The engine adds these wherever the model stands."""

from crm.ai_tasks.model import AiTask, AiTaskAttempt, AiTaskDay
from crm.core.visibility import policy
from crm.interactions.model import Interaction
from crm.leads.model import Lead
from crm.tasks.model import Task

policy(Lead, own=lambda lead: lead.deleted_at.is_(None))
policy(Task, own=lambda task: task.deleted_at.is_(None), belongs_to=Lead, by="lead_id")
policy(Interaction, belongs_to=Lead, by="lead_id")
policy(AiTask, owner="created_by")
policy(AiTaskAttempt, belongs_to=AiTask, by="task_id")
policy(AiTaskDay, admins_only=True)
