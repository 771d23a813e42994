"""ariadne-codegen, all of it typed: a list, pages, a change, a form, a conflict, live changes through a lost socket."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from crm_api import (
    Client,
    ConflictReason,
    CreateLeadInput,
    CreateTaskInput,
    ErrorCode,
    ErrorDetails,
    FieldProblem,
    GraphQLClientGraphQLMultiError,
    LeadStatus,
    NewTasksChanges,
    UpdateLeadInput,
)
from websockets import ClientConnection, ConnectionClosed, WebSocketException

URL = os.environ.get("CRM_URL", "http://127.0.0.1:8000/graphql")
TOKEN = os.environ.get("CRM_TOKEN")  # `crm dev` needs none
NAMES = ["Eva Ek", "Nils Ek", "Lars Åberg", "Åsa Ångström", "Pär Öst"]
FORM = CreateLeadInput(first_name=" ", last_name="x" * 201, email="ASA@example.com", phone="by mail", currency="kr")
MISTAKES = {
    "firstName": FieldProblem.BLANK,
    "lastName": FieldProblem.TOO_LONG,
    "email": FieldProblem.TAKEN,
    "phone": FieldProblem.NOT_A_PHONE,
    "currency": FieldProblem.NOT_A_CURRENCY,
}


def connect(url: str, token: str | None) -> Client:
    """A client of both connections: the token is a header of one, and in the first message of the other."""
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    return Client(url, authorization, ws_url=url.replace("http", "ws", 1), ws_connection_init_payload=authorization)


async def failure(operation: Awaitable[object]) -> ErrorDetails:
    """What an operation fails with, typed."""
    try:
        await operation
    except GraphQLClientGraphQLMultiError as error:
        return ErrorDetails.model_validate(error.errors[0].extensions)
    message = "it did not fail"
    raise AssertionError(message)


async def new_tasks(client: Client, lead_id: str, after: str, **socket: Any) -> AsyncGenerator[NewTasksChanges, None]:
    """A lead's new tasks after this cursor, each once, whatever happens to the connection."""
    while True:
        try:
            async for answer in client.new_tasks(lead_id, after, **socket):
                after = answer.changes.cursor
                yield answer.changes
        except ConnectionClosed as lost:
            if lost.rcvd and 4400 <= lost.rcvd.code < 4499:  # refused, and would be again
                raise
        except (OSError, WebSocketException):  # not there yet
            pass
        await asyncio.sleep(1)


class LostSocket(ClientConnection):
    """The latest connection, to be lost as a train loses it."""

    latest: ClientConnection

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        LostSocket.latest = self


def say(flow: str) -> None:
    """Name what went well."""
    sys.stdout.write(f"ok {flow}\n")


async def main() -> None:
    async with connect(URL, TOKEN) as client:
        shown = await client.leads()
        leads = shown.leads
        assert shown.change_stream
        assert [lead.full_name for lead in leads] == NAMES
        assert all(lead.status is LeadStatus.NEW and lead.created_at < datetime.now(UTC) for lead in leads)
        say("list")

        ids: list[str] = []
        after, more = None, True
        while more:
            page = (await client.lead_page(after)).leads_connection
            ids += [node.id for node in page.nodes]
            after, more = page.page_info.end_cursor, page.page_info.has_next_page
        assert ids == [lead.id for lead in leads]
        say("pages")

        eva = leads[0]
        budget = Decimal("125000.50")
        fresh = UpdateLeadInput(first_name="Ewa", budget=budget, currency="SEK", expected_version=eva.version)
        changed = (await client.update_lead(eva.id, fresh)).update_lead
        assert (changed.full_name, changed.budget) == ("Ewa Ek", budget)
        say("change")

        mistakes = await failure(client.create_lead(FORM))
        assert {problem.field: problem.reason for problem in mistakes.problems or []} == MISTAKES
        say("form")

        stale = UpdateLeadInput(first_name="Eve", expected_version=eva.version)
        conflict = await failure(client.update_lead(eva.id, stale))
        assert (conflict.code, conflict.conflict) == (ErrorCode.CONFLICT, ConflictReason.CHANGED)
        assert conflict.current_version == eva.version + 1
        say("conflict")

        await follow(client, eva.id, shown.change_stream.cursor, changed.node_id)
        say("live")


async def follow(client: Client, lead_id: str, after: str, node_id: str) -> None:
    """Follow through a lost socket, while tasks are added."""
    due = datetime(2027, 2, 1, 8, tzinfo=UTC)

    async def add(title: str) -> str:
        made = (await client.create_task(CreateTaskInput(lead_id=lead_id, title=title, due_date=due))).create_task
        assert made.due_date == due
        return made.node_id

    seen: list[str] = []
    adding = asyncio.create_task(add("Before"))
    async with aclosing(new_tasks(client, lead_id, after, create_connection=LostSocket)) as changes:
        async for change in changes:
            assert change.task
            seen.append(change.task.title)
            if len(seen) == 1:
                LostSocket.latest.transport.abort()
                await add("Between 1")
                await add("Between 2")
            if len(seen) == 3:
                break
    assert seen == ["Before", "Between 1", "Between 2"], seen

    # Records of two types, told apart by `__typename`.
    lead, task = (await client.records([node_id, await adding])).nodes
    assert lead is not None
    assert task is not None
    assert lead.typename__ == "Lead"
    assert task.typename__ == "Task"
    assert (lead.full_name, task.title) == ("Ewa Ek", "Before")


if __name__ == "__main__":
    asyncio.run(main())
