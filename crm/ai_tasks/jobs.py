"""The jobs and periodic tasks of AI tasks."""

from crm.ai_tasks.aging import Fairness
from crm.ai_tasks.costs import settle
from crm.ai_tasks.retention import clean
from crm.ai_tasks.runner import RENEWAL, Runner, requeue
from crm.ai_tasks.service import JOB, QUEUE
from crm.jobs import Handler, PeriodicTask, WorkerContext, WorkerPlan
from crm.jobs.worker_plan import MOST_RETRIES

_WATCH_SECONDS = 0.5
_SWEEP_SECONDS = 1.0
_REQUEUE_SECONDS = 5.0
_SETTLE_SECONDS = 15.0


def plan(context: WorkerContext) -> WorkerPlan:
    """The plan: run tasks, renew their leases, rescue lost ones, correct costs, age the queue."""
    settings = context.settings
    fairness = Fairness(settings.worker_concurrency)
    runner = Runner(context, fairness)
    lease = settings.ai_task_lease_seconds
    return WorkerPlan(
        handlers=[
            # The job is retried only while PostgreSQL is away: any other failure is recorded as an attempt's.
            Handler(JOB, runner.run, QUEUE, retries=MOST_RETRIES, survives_requeue=True),
            Handler("ai_tasks.clean", clean, cron="23 * * * * 0"),
        ],
        periodic_tasks=[
            PeriodicTask("ai_tasks.keep", lease * RENEWAL, runner.keep, steady=True),
            PeriodicTask("ai_tasks.watch", _WATCH_SECONDS, runner.watch, steady=True),
            PeriodicTask("ai_tasks.sweep", min(_SWEEP_SECONDS, lease * RENEWAL), runner.sweep, steady=True),
            PeriodicTask("ai_tasks.requeue", _REQUEUE_SECONDS, requeue),
            PeriodicTask("ai_tasks.settle", _SETTLE_SECONDS, settle),
            PeriodicTask("ai_tasks.age", min(1.0, settings.ai_task_aging_seconds / 20), fairness.promote),
        ],
    )
