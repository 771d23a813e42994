"""Numbers about tasks, interactions and tags, group by group."""

import pytest

TASKS = """query($by: [TaskGroup!], $filter: TaskFilter, $having: TaskStatsHaving) {
  taskStats(groupBy: $by, filter: $filter, having: $having) {
    status priority assignee { name } creator { name } createdWeek dueWeek completedWeek
    count openCount doneCount suggestedCount dismissedCount overdueCount averageHours
  }
}"""
INTERACTIONS = """query($by: [InteractionGroup!], $filter: InteractionFilter, $having: InteractionStatsHaving) {
  interactionStats(groupBy: $by, filter: $filter, having: $having) {
    type creator { name } week count leadCount minutes
  }
}"""


@pytest.fixture
def shown(graphql):
    """Run an operation; returns the fields named, row by row."""

    async def run(query, *names, **variables):
        ((rows,),) = [(await graphql(query, **variables)).values()]
        return [tuple(row[name] and row[name].get("name") if isinstance(row[name], dict) else row[name]
                      for name in names) for row in rows]  # fmt: skip

    return run


class TestTasks:
    @pytest.fixture(autouse=True)
    def tasks(self, make_lead, make_task, make_user):
        anna, bo = (make_user(name=name)["id"] for name in ("Anna", "Bo"))
        lead = make_lead(first_name="Åsa", last_name="Ek")["id"]
        for values in (
            {"assignee_id": anna, "due_date": "2026-01-02T09:00:00Z"},
            {"assignee_id": anna, "due_date": "2125-01-01T00:00:00Z", "priority": "urgent"},
            {"assignee_id": anna, "completed": True, "completed_at": "2026-01-05T12:00:00Z"},
            {"assignee_id": bo, "completed": True, "completed_at": "2026-01-04T23:30:00-01:00", "created_by": anna},
            {"source": "ai_suggested"},
            {"source": "dismissed"},
            {"deleted": True},
        ):
            make_task(**{"lead_id": lead, "created_at": "2026-01-01T00:00:00Z", **values})
        make_task(lead_id=make_lead(deleted=True)["id"])

    async def test_add_up(self, shown):
        names = ("count", "openCount", "doneCount", "suggestedCount", "dismissedCount", "overdueCount", "averageHours")
        assert await shown(TASKS, *names) == [(6, 2, 2, 1, 1, 1, 102.3)]
        where = {"lead": {"search": "nobody"}}
        assert await shown(TASKS, *names, filter=where) == [(0, 0, 0, 0, 0, 0, None)]

    async def test_by_user_and_by_week(self, shown):
        by_user = await shown(TASKS, "assignee", "count", "overdueCount", by=["ASSIGNEE"])
        assert by_user == [("Anna", 3, 1), (None, 2, 0), ("Bo", 1, 0)]
        assert await shown(TASKS, "creator", "count", by=["CREATOR"]) == [(None, 5), ("Anna", 1)]
        assert await shown(TASKS, "createdWeek", "count", by=["CREATED_WEEK"]) == [("2026-W01", 6)]
        assert await shown(TASKS, "completedWeek", "count", by=["COMPLETED_WEEK"]) == [("2026-W02", 2), (None, 4)]
        weeks = await shown(TASKS, "dueWeek", "assignee", "count", by=["ASSIGNEE", "DUE_WEEK"])
        assert weeks[:3] == [("2026-W01", "Anna", 1), ("2125-W01", "Anna", 1), (None, None, 2)]
        assert set(weeks[3:]) == {(None, "Anna", 1), (None, "Bo", 1)}

    async def test_by_status_and_priority(self, shown):
        by_status = await shown(TASKS, "status", "count", by=["STATUS"])
        assert by_status == [("DONE", 2), ("OPEN", 2), ("DISMISSED", 1), ("SUGGESTED", 1)]
        where = {"status": {"eq": "OPEN"}}
        assert set(await shown(TASKS, "priority", "count", by=["PRIORITY"], filter=where)) == {
            ("NORMAL", 1), ("URGENT", 1),
        }  # fmt: skip

    async def test_having(self, shown):
        having = {"count": {"gte": 2}, "overdueCount": {"eq": 0}}
        assert await shown(TASKS, "assignee", by=["ASSIGNEE"], having=having) == [(None,)]


class TestInteractions:
    async def test_by_user_by_week_and_by_type(self, shown, make_lead, make_user, make_interaction):
        anna, lead, other = make_user(name="Anna")["id"], make_lead()["id"], make_lead()["id"]
        for values in (
            {"lead_id": lead, "type": "call", "occurred_at": "2026-01-02T09:00:00Z", "duration_minutes": 5},
            {"lead_id": lead, "type": "call", "occurred_at": "2026-01-06T09:00:00Z", "duration_minutes": 7},
            {"lead_id": other, "type": "note", "occurred_at": "2026-01-06T09:00:00Z", "created_by": anna},
        ):
            make_interaction(**values)
        make_interaction(lead_id=make_lead(deleted=True)["id"])
        assert await shown(INTERACTIONS, "count", "leadCount", "minutes") == [(3, 2, 12)]
        assert await shown(INTERACTIONS, "type", "count", "minutes", by=["TYPE"]) == [("CALL", 2, 12), ("NOTE", 1, 0)]
        assert await shown(INTERACTIONS, "creator", "count", by=["CREATOR"]) == [(None, 2), ("Anna", 1)]
        weeks = [("2026-W01", 1, 1), ("2026-W02", 2, 2)]
        assert await shown(INTERACTIONS, "week", "count", "leadCount", by=["WEEK"]) == weeks
        having = {"leadCount": {"gt": 1}}
        assert await shown(INTERACTIONS, "week", by=["WEEK"], having=having) == [("2026-W02",)]


class TestTags:
    async def test_are_counted(self, graphql, make_lead):
        for tags in (["ny", "stor"], ["ny"], [], ["Åre"]):
            make_lead(tags=tags, status="new")
        make_lead(tags=["ny"], status="won")
        make_lead(tags=["ny"], deleted=True)
        query = "query($filter: LeadFilter) { tagCounts(filter: $filter) { tag count } }"
        counts = (await graphql(query))["tagCounts"]
        assert counts == [{"tag": "ny", "count": 3}, {"tag": "stor", "count": 1}, {"tag": "Åre", "count": 1}]
        won = (await graphql(query, filter={"status": {"eq": "WON"}}))["tagCounts"]
        assert won == [{"tag": "ny", "count": 1}]


class TestUsers:
    ME = "{ me { isService openTaskCount tasks(limit: 5) { title creator { isService } } leads { fullName } } }"

    async def test_see_what_is_theirs(self, graphql, make_lead, make_user):
        me = (await graphql("{ me { id isService } }"))["me"]
        lead = make_lead(first_name="Åsa", last_name="Ek", owner_id=me["id"])["id"]
        make_lead(owner_id=make_user()["id"])
        create = "mutation($input: CreateTaskInput!) { createTask(input: $input) { createdBy creator { id } } }"
        made = await graphql(create, input={"leadId": lead, "title": "Call", "assigneeId": me["id"]})
        assert made["createTask"] == {"createdBy": me["id"], "creator": {"id": me["id"]}}
        assert (await graphql(self.ME))["me"] == {
            "isService": True,
            "openTaskCount": 1,
            "tasks": [{"title": "Call", "creator": {"isService": True}}],
            "leads": [{"fullName": "Åsa Ek"}],
        }
        users = (await graphql("{ users(limit: 10) { isService openTaskCount } }"))["users"]
        assert {"isService": False, "openTaskCount": 0} in users
