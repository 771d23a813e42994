"""Background work: a small port over procrastinate, and consumers of the event stream.

This package exports what other folders use; only the process that runs the worker imports `crm.jobs.worker`.
"""

from crm.jobs.queue import Job, cancel, depth, enqueue, forget, prioritise
from crm.jobs.worker_plan import EventConsumer, Handler, PeriodicTask, RunLater, WorkerContext, WorkerPlan

__all__ = [
    "EventConsumer",
    "Handler",
    "Job",
    "PeriodicTask",
    "RunLater",
    "WorkerContext",
    "WorkerPlan",
    "cancel",
    "depth",
    "enqueue",
    "forget",
    "prioritise",
]
