"""AI tasks in the order in which they run."""

from datetime import UTC, datetime, timedelta

IN_LINE = """query($order: [AiTaskOrder!], $filter: AiTaskFilter) {
  aiTasks(orderBy: $order, filter: $filter) { id positionInQueue dueAt }
}"""


def ahead(**by):
    return (datetime.now(UTC) + timedelta(**by)).isoformat()


async def listed(graphql, field, **where):
    found = await graphql(IN_LINE, order=[{"field": field}], filter=where)
    return found["aiTasks"]


class TestQueue:
    async def test_is_the_order_of_positions_and_then_of_time(self, create, graphql, db):
        tomorrow = await create(priority="URGENT", scheduledFor=ahead(days=1))
        soon = await create(priority="LOW", scheduledFor=ahead(hours=1))
        low, normal = await create(priority="LOW"), await create()
        urgent, old = await create(priority="URGENT"), await create(priority="LOW")
        db.execute("UPDATE ai_tasks SET aged = true WHERE id = %s", (old["id"],))
        found = await listed(graphql, "QUEUE")
        assert [one["id"] for one in found] == [one["id"] for one in (old, urgent, normal, low, soon, tomorrow)]
        assert [one["positionInQueue"] for one in found] == [1, 2, 3, 4, None, None]

    async def test_goes_the_other_way_round_too(self, create, graphql):
        first, second = await create(), await create(scheduledFor=ahead(hours=1))
        found = await graphql(IN_LINE, order=[{"field": "QUEUE", "direction": "DESC"}], filter={})
        assert [one["id"] for one in found["aiTasks"]] == [second["id"], first["id"]]


class TestDueAt:
    async def test_is_the_schedule_and_a_filter_finds_what_is_for_later(self, create, graphql):
        later, sooner = ahead(days=2), ahead(days=1)
        await create()
        two, one = await create(scheduledFor=later), await create(scheduledFor=sooner)
        found = await listed(graphql, "DUE_AT", dueAt={"gt": ahead(minutes=1)})
        assert [(each["id"], datetime.fromisoformat(each["dueAt"])) for each in found] == [
            (one["id"], datetime.fromisoformat(sooner)),
            (two["id"], datetime.fromisoformat(later)),
        ]
