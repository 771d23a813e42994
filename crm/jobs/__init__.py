"""Work in the background: a small port over procrastinate, and followers of the event stream.

What a domain uses is here; the worker (`crm.jobs.worker`) is imported by the process that runs it.
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
