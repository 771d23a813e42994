"""A workflow that stops before its end releases what it claimed; a silent PostgreSQL does not hold its caller."""

import asyncio

import pytest

from crm.core.identity import Role, Viewer
from crm.db.database import Database
from crm.db.service import Service
from crm.db.workflow import Workflow, WorkflowService, Writer, run_workflow, write_of
from crm.sales.leads.model import Lead
from tests.support.waiting import eventually


class Claims(Service):
    async def name(self, lead_id, company):
        (await self.unit_of_work.get(Lead, lead_id)).company = company


class Work(WorkflowService):
    async def claim_and_wait(self, lead_id, claimed):
        await self.workflow.write(Claims.name, lead_id, "claimed")
        self.workflow.on_abort(write_of(Claims.name, lead_id, "released"))
        claimed.set()
        await asyncio.Event().wait()


@pytest.fixture
async def database(proxy):
    found = Database(proxy.url, size=2)
    yield found
    found.close()


@pytest.fixture
def lead_id(make_lead):
    return make_lead()["id"]


@pytest.fixture
def company(db, lead_id):
    return lambda: db.execute("SELECT company FROM leads WHERE id = %s", [lead_id]).fetchone()["company"]


@pytest.fixture
async def waiting(database, make_user, lead_id):
    """A workflow that has claimed a lead, and waits."""
    writer = Writer(database, Viewer(make_user()["id"], Role.MEMBER), lambda: None)
    claimed = asyncio.Event()
    workflow = Workflow(writer, None, asyncio.get_running_loop().time() + 60)
    task = asyncio.create_task(run_workflow(workflow, Work.claim_and_wait, lead_id, claimed))
    await claimed.wait()
    return task


async def ended(task):
    """Whether a workflow that was cancelled has ended, after a while at most."""
    await asyncio.wait({task}, timeout=20)
    return task.cancelled()


class TestStopped:
    async def test_has_released_its_claim(self, waiting, company):
        assert company() == "claimed"
        waiting.cancel()
        assert await ended(waiting)
        assert company() == "released"

    async def test_ends_before_a_silent_postgres_answers_and_releases_later(self, waiting, company, proxy):
        proxy.freeze()
        waiting.cancel()
        assert await ended(waiting)
        assert company() == "claimed"
        proxy.thaw()
        await eventually(lambda: company() == "released")

    async def test_twice_releases_all_the_same(self, waiting, company, proxy):
        proxy.freeze()
        waiting.cancel()
        await asyncio.sleep(0.1)
        waiting.cancel()
        assert await ended(waiting)
        proxy.thaw()
        await eventually(lambda: company() == "released")
