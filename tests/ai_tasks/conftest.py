"""A worker beside the tests' server, on the same database."""

import asyncio
import json
import os
import signal
import time
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import ClassVar

import pytest

from tests.support import children
from tests.support.tables import QUEUES, empty
from tests.support.websockets import signed_in

SHOWN = """id status priority taskType input result error errorCode attempt maxRetries timeoutSeconds progress costUsd
costSource tokens model qualityScore leadId createdBy version scheduledFor createdAt startedAt finishedAt
isFinal canCancel canRetry waitMs runMs positionInQueue
attempts { number outcome error errorCode worker costUsd costSource tokens model startedAt finishedAt }"""
CREATE = f"mutation($input: CreateAiTaskInput!) {{ createAiTask(input: $input) {{ {SHOWN} }} }}"
REQUEST = "mutation($lead: Int!) { requestTaskRecommendations(leadId: $lead) { id taskType leadId status } }"
TASK = f"query($id: ID!) {{ aiTask(id: $id) {{ {SHOWN} }} }}"


class Worker:
    """A worker process with the types of AI tasks of `crew.py`."""

    def __init__(self, url, log, settings):
        self._log = log
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OPENROUTER_"))
        }
        environment = {
            **inherited,
            "DATABASE_URL": url,
            "CRM_AI_TASK_LEASE_SECONDS": "2",
            "CRM_WORKER_HEARTBEAT_SECONDS": "0.5",
            "CRM_WORKER_STALLED_SECONDS": "2",
            "CRM_WORKER_GRACE_SECONDS": "5",
            "CRM_RECALCULATION_PAUSE_SECONDS": "0",
            **settings,
        }
        self.process = children.start_module("tests.ai_tasks.crew", [], log, environment)
        try:
            self._wait()
        except AssertionError:
            self.kill()
            raise

    def _wait(self):
        deadline = time.monotonic() + 90
        while '"worker.started"' not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self._log.read_text() if self._log.exists() else ""

    @contextmanager
    def paused(self):
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def db(db):
    """Empty queues, too."""
    _empty_queues(db)
    return db


def _empty_queues(connection):
    empty(connection, "ai_tasks", "ai_task_days", "ai_calls", "event_followers", *QUEUES, restart_identity=False)


@pytest.fixture(scope="class")
def worker(request, connected, database_url, running_model_server, tmp_path_factory):
    """The worker of a class of tests, with the settings that the class names."""
    connection = connected()
    empty(connection, "leads", "tasks", "interactions", "events")
    _empty_queues(connection)
    settings = {**(_model(running_model_server) if request.cls.asks else {}), **request.cls.settings}
    one = Worker(database_url, tmp_path_factory.mktemp("worker") / "log", settings)
    yield one
    one.kill()


class WithOneWorker:
    """Tests that share a worker: each looks only at what is its own, for nothing is deleted between them."""

    asks = False  # the model server
    settings: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def db(self, connected, worker):  # noqa: ARG002
        return connected()


def _model(server):
    """The settings of who asks the model server."""
    return {
        "OPENAI_API_KEY": "test-key",
        "OPENAI_BASE_URL": server.url,
        "CRM_AI_MODEL": "test-model",
        "CRM_AI_TIMEOUT_SECONDS": "2",
    }


@pytest.fixture
def start_worker(database_url, db, tmp_path):  # noqa: ARG001
    started = []

    def start(**settings):
        one = Worker(database_url, tmp_path / f"worker{len(started)}.log", settings)
        started.append(one)
        return one

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture
def start_brief_worker(start_worker):
    """Start a worker that holds its tasks only briefly: when it dies, that is noticed sooner."""
    brief = {"CRM_AI_TASK_LEASE_SECONDS": "1", "CRM_WORKER_HEARTBEAT_SECONDS": "0.3", "CRM_WORKER_STALLED_SECONDS": "1"}
    return partial(start_worker, **brief)


@pytest.fixture
def create(graphql):
    """Create an AI task; an echo unless said otherwise."""

    async def run(message="hello", *, role="admin", **given):
        task = {"taskType": "echo", **given}
        if task["taskType"] == "echo":
            task["input"] = {"message": message, **task.get("input", {})}
        return (await graphql(CREATE, role=role, input=task))["createAiTask"]

    return run


@pytest.fixture
def show(graphql):
    async def run(key, *, role="admin"):
        return (await graphql(TASK, role=role, id=key))["aiTask"]

    return run


@pytest.fixture
def reaches(db, show):
    """Wait until a task has one of these statuses; the API is asked when the table says so."""

    def stored(key):
        return db.execute("SELECT upper(status) AS status FROM ai_tasks WHERE id = %s", [key]).fetchone()["status"]

    async def wait(key, *statuses, seconds=45):
        began = time.monotonic()
        while stored(key) not in statuses or (task := await show(key))["status"] not in statuses:
            waited = time.monotonic() - began
            assert waited < seconds, await show(key)
            await asyncio.sleep(0.02 if waited < 1 else 0.05)
        return task

    return wait


@pytest.fixture
def jobs_gone(db):
    """Wait until no job of an AI task is left: it goes a moment after the task's end is written."""

    async def wait(seconds=5):
        async with asyncio.timeout(seconds):
            while db.execute("SELECT FROM procrastinate_jobs WHERE queue_name = 'ai'").fetchall():
                await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def subscribe(server, db):  # noqa: ARG001
    """Follow a subscription over a real socket; its messages come one by one."""

    @asynccontextmanager
    async def opened(query, *, token=None, **variables):
        async with await signed_in(server.url, token or server.token()) as raw:
            await raw.send(
                json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query, "variables": variables}})
            )
            await asyncio.sleep(0.15)

            async def following(seconds=5):
                message = json.loads(await asyncio.wait_for(raw.recv(), seconds))
                assert message["type"] == "next", message
                return next(iter(message["payload"]["data"].values()))

            yield following

    return opened


@pytest.fixture
def put(db):
    """Put a task of a type that only the tests' worker knows into the queue."""

    def into(task_type, *, priority="normal", max_retries=3, timeout=60, scheduled="0 s"):
        task = db.execute(
            "INSERT INTO ai_tasks (id, task_type, priority, max_retries, timeout_seconds, due_at, created_by) VALUES "
            "(gen_random_uuid(), %s, %s, %s, %s, now() + %s::interval, "
            "(SELECT id FROM users WHERE email = 'service-admin@crm.invalid')) RETURNING id, due_at",
            (task_type, priority, max_retries, timeout, scheduled),
        ).fetchone()
        level = {"low": 10, "normal": 20, "high": 30, "urgent": 40}[priority]
        job = db.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, scheduled_at) "
            "VALUES ('ai', 'ai_task', %s, jsonb_build_object('task', %s::text), %s) RETURNING id",
            (level, task["id"], task["due_at"]),
        ).fetchone()
        db.execute("UPDATE ai_tasks SET job_id = %s WHERE id = %s", (job["id"], task["id"]))
        return str(task["id"])

    return into


@pytest.fixture
def asking_worker(start_worker, model_server):
    """A worker that asks the model server."""

    def start(**settings):
        return start_worker(**{**_model(model_server), **settings})

    return start


@pytest.fixture
def request_tasks(graphql, make_lead):
    async def run():
        lead = make_lead()["id"]
        return (await graphql(REQUEST, lead=lead))["requestTaskRecommendations"]

    return run


@pytest.fixture
def recommend(create, make_lead):
    """Create one task for a lead of its own."""

    async def run(**given):
        return await create(taskType="task_recommendations", leadId=make_lead()["id"], **given)

    return run
