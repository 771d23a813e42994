"""Work in the background: workers, AI tasks, recalculations."""

from pydantic import BaseModel, Field


class WorkSettings(BaseModel):
    """Work in the background: workers, AI tasks, recalculations."""

    worker_concurrency: int = Field(default=10, ge=1, le=200, description="Jobs that a worker runs at once.")
    worker_grace_seconds: float = Field(
        default=30, ge=0, le=3600, description="How long a worker that is to stop lets its jobs run; then they go back."
    )
    worker_poll_seconds: float = Field(
        default=0.5,
        ge=0.05,
        le=60,
        description="How often a worker looks for jobs that became due, or whose wake-up was lost.",
    )
    worker_heartbeat_seconds: float = Field(default=2, ge=0.1, le=60, description="How often a worker says it lives.")
    worker_stalled_seconds: float = Field(
        default=10, ge=0.5, le=600, description="After this long without a heartbeat a worker's jobs run elsewhere."
    )
    worker_inside: bool = Field(default=False, description="Run a worker inside the API's process; `crm dev` does.")
    ai_task_lease_seconds: float = Field(
        default=10, ge=0.5, le=600, description="A worker that says nothing for so long loses the AI tasks it runs."
    )
    ai_task_aging_seconds: float = Field(
        default=600, ge=1, le=86400, description="No AI task waits longer than this behind more urgent ones."
    )
    ai_task_echo_seconds: float = Field(
        default=5, ge=0, le=3600, description="The longest `echo`: it holds a worker's slot; `crm dev` allows an hour."
    )
    ai_task_retention_days: int = Field(
        default=7, ge=1, le=3650, description="Finished AI tasks go after this; their totals stay, day by day."
    )
    idempotency_key_hours: int = Field(
        default=24,
        ge=1,
        le=8760,
        description="How long a create can be sent again with its `idempotencyKey`; a worker forgets older ones.",
    )
    recalculation_pause_seconds: float = Field(
        default=60,
        ge=0,
        le=86400,
        description="Between two recalculations of all scores that users ask for; scores follow what happens anyhow.",
    )
