"""Work in the background: a small port over procrastinate, and followers of the event stream.

What a domain uses is here; the worker (`crm.jobs.worker`) is imported by the process that runs it.
"""

from crm.jobs.queue import Job, cancel, depth, enqueue, forget, prioritise
from crm.jobs.worker_plan import Chore, Follower, Handler, Roster, RunLater, Shop

__all__ = [
    "Chore",
    "Follower",
    "Handler",
    "Job",
    "Roster",
    "RunLater",
    "Shop",
    "cancel",
    "depth",
    "enqueue",
    "forget",
    "prioritise",
]
