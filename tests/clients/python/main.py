"""`gql`: a list, pages, a change, a form, a conflict, live changes through a lost socket, a persisted document."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any

from gql import Client, GraphQLRequest, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

KNOWN = "query Count { leadsConnection(first: 0) { totalCount } }"
URL = os.environ["CRM_URL"]
TOKEN = os.environ.get("CRM_TOKEN")  # `crm dev` needs none
AUTHORIZATION = {"authorization": f"Bearer {TOKEN}"} if TOKEN else {}
ORDER = "orderBy: [{ field: LAST_NAME }, { field: FIRST_NAME }]"
LEADS = gql(f"{{ leads({ORDER}, limit: 20) {{ id fullName version }} changeStream {{ cursor }} }}")
PAGE = gql(
    "query($after: String) { leadsConnection(first: 2, after: $after, " + ORDER + ") "
    "{ nodes { id } pageInfo { hasNextPage endCursor } } }"
)
CREATE = gql("mutation($input: CreateLeadInput!) { createLead(input: $input) { id } }")
RENAME = gql("mutation($id: ID!, $input: UpdateLeadInput!) { updateLead(id: $id, input: $input) { fullName version } }")
ADD = gql("mutation($input: CreateTaskInput!) { createTask(input: $input) { id } }")
TASKS = gql(
    "subscription($lead: ID!, $after: String) "
    '{ changes(leadId: $lead, types: ["task.created"], after: $after) { cursor task { title } } }'
)
FORM = {"firstName": " ", "lastName": "x" * 201, "email": "ASA@example.com", "phone": "by mail", "currency": "kr"}
MISTAKES = {
    "firstName": "BLANK",
    "lastName": "TOO_LONG",
    "email": "TAKEN",
    "phone": "NOT_A_PHONE",
    "currency": "NOT_A_CURRENCY",
}


def say(flow: str) -> None:
    """Name what went well."""
    sys.stdout.write(f"ok {flow}\n")


async def main() -> None:
    transport = AIOHTTPTransport(url=URL, headers=AUTHORIZATION)
    async with Client(transport=transport) as session:

        async def run(document: GraphQLRequest, **variables: Any) -> dict[str, Any]:
            return await session.execute(GraphQLRequest(document, variable_values=variables))

        async def failure(document: GraphQLRequest, **variables: Any) -> dict[str, Any]:
            try:
                await run(document, **variables)
            except TransportQueryError as error:
                return error.errors[0]["extensions"]
            raise AssertionError

        shown = await run(LEADS)
        leads = shown["leads"]
        assert [lead["fullName"] for lead in leads] == ["Eva Ek", "Nils Ek", "Lars Åberg", "Åsa Ångström", "Pär Öst"]
        say("list")

        ids, page = [], {"hasNextPage": True, "endCursor": None}
        while page["hasNextPage"]:
            connection = (await run(PAGE, after=page["endCursor"]))["leadsConnection"]
            ids += [lead["id"] for lead in connection["nodes"]]
            page = connection["pageInfo"]
        assert ids == [lead["id"] for lead in leads]
        say("pages")

        eva = leads[0]
        fresh = {"firstName": "Ewa", "expectedVersion": eva["version"]}
        assert (await run(RENAME, id=eva["id"], input=fresh))["updateLead"]["fullName"] == "Ewa Ek"
        say("change")

        problems = (await failure(CREATE, input=FORM))["problems"]
        assert {problem["field"]: problem["reason"] for problem in problems} == MISTAKES
        say("form")

        conflict = await failure(RENAME, id=eva["id"], input={**fresh, "firstName": "Eve"})
        assert (conflict["conflict"], conflict["currentVersion"]) == ("CHANGED", eva["version"] + 1)
        say("conflict")

        async def add(title: str) -> None:
            await run(ADD, input={"leadId": eva["id"], "title": title})

        await follow(eva["id"], shown["changeStream"]["cursor"], add)
        say("live")

        count = ByHash(gql(KNOWN))
        assert "query" not in count.payload
        assert (await session.execute(count))["leadsConnection"]["totalCount"] == len(leads)
        say("persisted")


class ByHash(GraphQLRequest):
    """A request that names its document by the hash; gql sends the text, too, unless it is taken out."""

    @property
    def payload(self) -> dict[str, Any]:
        return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha256(KNOWN.encode()).hexdigest()}}}


async def follow(lead: str, after: str, add: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Titles of new tasks, each once, though the socket is lost after the first."""
    seen: list[str] = []
    adding = asyncio.create_task(add("Before"))
    while len(seen) < 3:
        socket = WebsocketsTransport(url=URL.replace("http", "ws", 1), init_payload=AUTHORIZATION)
        try:
            async with Client(transport=socket) as session:
                request = GraphQLRequest(TASKS, variable_values={"lead": lead, "after": after})
                async for answer in session.subscribe(request):
                    after = answer["changes"]["cursor"]
                    seen.append(answer["changes"]["task"]["title"])
                    if seen == ["Before"]:
                        await adding
                        socket.adapter.websocket.transport.abort()
                        await add("Between 1")
                        await add("Between 2")
                    if len(seen) == 3:
                        break
        except TransportError:
            continue
    assert seen == ["Before", "Between 1", "Between 2"], seen


if __name__ == "__main__":
    asyncio.run(main())
