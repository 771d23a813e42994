"""What workers do for AI tasks."""

from crm.ai_tasks.aging import Fairness
from crm.ai_tasks.costs import settle
from crm.ai_tasks.retention import clean
from crm.ai_tasks.runner import RENEWAL, Runner, requeue
from crm.ai_tasks.service import JOB, QUEUE
from crm.jobs import Chore, Handler, Roster, Shop
from crm.jobs.worker_plan import MOST_RETRIES

_WATCH_SECONDS = 0.5
_SWEEP_SECONDS = 1.0
_REQUEUE_SECONDS = 5.0
_SETTLE_SECONDS = 15.0


def roster(shop: Shop) -> Roster:
    """Run them, keep their leases, find the lost ones, and let nobody wait for ever."""
    settings = shop.settings
    fairness = Fairness(settings.worker_concurrency)
    runner = Runner(shop, fairness)
    lease = settings.ai_task_lease_seconds
    return Roster(
        handlers=[
            # Retried only while PostgreSQL is away: what fails otherwise is an attempt, and written down.
            Handler(JOB, runner.run, QUEUE, retries=MOST_RETRIES, outlives=True),
            Handler("ai_tasks.clean", clean, cron="23 * * * * 0"),
        ],
        chores=[
            Chore("ai_tasks.keep", lease * RENEWAL, runner.keep),
            Chore("ai_tasks.watch", _WATCH_SECONDS, runner.watch),
            Chore("ai_tasks.sweep", min(_SWEEP_SECONDS, lease * RENEWAL), runner.sweep),
            Chore("ai_tasks.requeue", _REQUEUE_SECONDS, requeue),
            Chore("ai_tasks.settle", _SETTLE_SECONDS, settle),
            Chore("ai_tasks.age", min(1.0, settings.ai_task_aging_seconds / 20), fairness.promote),
        ],
    )
