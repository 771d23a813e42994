"""Following one task over GraphQL: how it is now, then what becomes of it."""

import json
from uuid import uuid4

from tests.support.websockets import signed_in

FOLLOW = "subscription($id: ID) { aiTaskUpdated(id: $id) { id status version attempts { number } lead { id } } }"


class TestFollowingOne:
    async def test_begins_with_how_it_is(self, create, reaches, start_worker, subscribe):
        start_worker()
        task = await create()
        await reaches(task["id"], "COMPLETED")
        async with subscribe(FOLLOW, id=task["id"]) as following:
            assert (await following())["status"] == "COMPLETED"

    async def test_goes_on_with_what_becomes_of_it(self, create, start_worker, subscribe):
        other, task = await create(), await create(priority="URGENT")
        async with subscribe(FOLLOW, id=task["id"].upper()) as following:
            assert (await following())["status"] == "QUEUED"
            start_worker()
            seen = [await following(10)]
            while seen[-1]["status"] != "COMPLETED":
                seen.append(await following(10))
            assert {one["id"] for one in seen} == {task["id"]}
            assert other["id"] not in str(seen)

    async def test_of_what_is_not_there_or_anothers_is_refused(self, create, server, db):  # noqa: ARG002
        theirs = await create()
        for key, role in ((str(uuid4()), "admin"), (theirs["id"], "member")):
            async with await signed_in(server.url, server.token(role)) as raw:
                message = {"id": "1", "type": "subscribe", "payload": {"query": FOLLOW, "variables": {"id": key}}}
                await raw.send(json.dumps(message))
                answer = json.loads(await raw.recv())
            assert answer["type"] == "error"
            assert answer["payload"][0]["extensions"]["code"] == "NOT_FOUND"

    async def test_by_another_spelling_of_its_id_is_refused(self, create, graphql):
        task = await create()
        for spelling in (task["id"].replace("-", ""), f"urn:uuid:{task['id']}", f"{{{task['id']}}}"):
            answer = await graphql("query($id: ID!) { aiTask(id: $id) { id } }", id=spelling, expect_errors=True)
            assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
