import asyncio

import psycopg
import pytest

from tests.support import plans
from tests.support.problems import brief

CREATE = "mutation($input: CreateTaskInput!) { createTask(input: $input) { id source generatedBy version } }"
UPDATE = "mutation($id: Int!, $input: UpdateTaskInput!) { updateTask(id: $id, input: $input) { version } }"
COMPLETE = "mutation($id: Int!, $done: Boolean) { completeTask(id: $id, completed: $done) { completed completedAt } }"
SET_SOURCE = """mutation($id: Int!, $source: TaskSource!, $reason: String) {
  updateTaskSource(taskId: $id, source: $source, reason: $reason) { source dismissedReason version }
}"""
SET_SOURCE_ONLY = """mutation($id: Int!, $source: TaskSource!) {
  updateTaskSource(taskId: $id, source: $source) { source dismissedReason version }
}"""
DELETE = "mutation($id: Int!) { deleteTask(id: $id) { id title deletedAt lead { fullName } } }"
RESTORE = "mutation($id: Int!) { restoreTask(id: $id) { id deletedAt } }"
NOBODY = "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"


class TestCreateTask:
    async def test_makes_a_persons_own_task(self, graphql, make_lead, make_user, events):
        lead, user = make_lead(), make_user()
        data = await graphql(
            CREATE,
            input={
                "leadId": lead["id"],
                "title": "  Ring Åsa ",
                "dueDate": "2026-05-01T10:00:00+02:00",
                "priority": "HIGH",
                "assigneeId": str(user["id"]),
            },
        )
        assert data["createTask"] == {
            "id": data["createTask"]["id"],
            "source": "MANUAL",
            "generatedBy": None,
            "version": 1,
        }
        (event,) = events()
        assert (event["type"], event["lead_id"]) == ("task.created", lead["id"])
        assert {field["name"]: field["after"] for field in event["fields"]} == {
            "leadId": lead["id"],
            "createdBy": str(event["actor_id"]),
            "title": "Ring Åsa",
            "dueDate": "2026-05-01T08:00:00.000000Z",
            "priority": "HIGH",
            "assigneeId": str(user["id"]),
        }

    async def test_needs_a_living_lead(self, refused, make_lead):
        for key in (make_lead(deleted=True)["id"], 999_999):
            error = await refused(CREATE, input={"leadId": key, "title": "x"})
            assert brief(error) == {"code": "NOT_FOUND", "entity": "lead", "id": str(key), "field": "leadId"}

    @pytest.mark.parametrize("title", ["", "   ", "x" * 256])
    async def test_needs_a_title_that_fits(self, refused, make_lead, title):
        error = await refused(CREATE, input={"leadId": make_lead()["id"], "title": title})
        assert (error["code"], error["field"]) == ("BAD_USER_INPUT", "title")

    async def test_takes_a_title_of_255_characters_however_many_bytes(self, graphql, make_lead):
        await graphql(CREATE, input={"leadId": make_lead()["id"], "title": "Å" * 255})

    async def test_names_the_field_when_the_assignee_does_not_exist(self, refused, make_lead):
        given = {"leadId": make_lead()["id"], "title": "x"}
        assert brief(await refused(CREATE, input={**given, "assigneeId": NOBODY})) == {
            "code": "BAD_USER_INPUT",
            "field": "assigneeId",
        }
        assert (await refused(CREATE, input={**given, "assigneeId": "me"}))["field"] == "assigneeId"


class TestUpdateTask:
    async def test_keeps_what_is_left_out_and_clears_what_is_null(self, graphql, make_task, db):
        task = make_task(title="Call", description="About it", due_date="2026-01-01T00:00:00Z")
        await graphql(UPDATE, id=task["id"], input={"dueDate": None, "priority": "LOW"})
        row = db.execute("SELECT * FROM tasks WHERE id = %s", (task["id"],)).fetchone()
        assert (row["title"], row["description"], row["due_date"], row["priority"]) == ("Call", "About it", None, "low")

    async def test_changes_nothing_when_nothing_changes(self, graphql, make_task, events):
        task = make_task(title="Call", due_date="2026-01-01T00:00:00Z")
        given = {"title": "Call ", "dueDate": "2026-01-01T01:00:00+01:00", "completed": False, "priority": "NORMAL"}
        assert (await graphql(UPDATE, id=task["id"], input=given))["updateTask"]["version"] == 1
        assert events() == []

    @pytest.mark.parametrize("field", ["title", "priority", "completed"])
    async def test_does_not_clear_what_every_task_has(self, refused, make_task, field):
        error = await refused(UPDATE, id=make_task()["id"], input={field: None})
        assert brief(error) == {"code": "BAD_USER_INPUT", "field": field}

    async def test_completes_and_reopens(self, graphql, make_task, db, events):
        task = make_task()["id"]
        await graphql(UPDATE, id=task, input={"completed": True})
        assert db.execute("SELECT completed_at FROM tasks").fetchone()["completed_at"] is not None
        await graphql(UPDATE, id=task, input={"completed": False})
        assert db.execute("SELECT completed_at FROM tasks").fetchone()["completed_at"] is None
        assert [{field["name"] for field in event["fields"]} for event in events()] == [
            {"completed", "completedAt"}
        ] * 2

    async def test_lets_exactly_one_win_each_version(self, graphql, make_task, db, events):
        task = make_task()["id"]

        def attempt(number, version):
            given = {"title": f"By {number} at {version}", "expectedVersion": version}
            return graphql(UPDATE, expect_errors=True, id=task, input=given)

        for version in (1, 2):
            answers = await asyncio.gather(*(attempt(number, version) for number in range(50)))
            lost = [brief(answer["errors"][0]["extensions"]) for answer in answers if "errors" in answer]
            assert {change["field"] for error in lost for change in error.pop("changed")} == {"title"}
            assert (
                lost
                == [
                    {
                        "code": "CONFLICT",
                        "conflict": "CHANGED",
                        "field": "expectedVersion",
                        "currentVersion": version + 1,
                    }
                ]
                * 49
            )
        assert db.execute("SELECT version FROM tasks").fetchone()["version"] == 3
        assert len(events()) == 2

    async def test_loses_no_update_when_nobody_names_a_version(self, graphql, make_task, events):
        task = make_task(title="0")["id"]
        await asyncio.gather(*(graphql(UPDATE, id=task, input={"title": f"T{n}"}) for n in range(50)))
        changes = [event["fields"][0] for event in events()]
        assert len(changes) == 50
        befores, afters = {change["before"] for change in changes}, {change["after"] for change in changes}
        assert len(befores) == len(afters) == 50

    async def test_says_which_task_is_missing(self, refused, make_task, make_lead):
        hidden = make_task(lead_id=make_lead(deleted=True)["id"])
        for key in (hidden["id"], make_task(deleted=True)["id"], 999_999):
            error = await refused(UPDATE, id=key, input={"title": "x"})
            assert brief(error) == {"code": "NOT_FOUND", "entity": "task", "id": str(key)}


class TestCompleteTask:
    async def test_says_when_it_was_done_and_takes_it_back(self, graphql, make_task, events):
        task = make_task()["id"]
        done = (await graphql("mutation($id: Int!) { completeTask(id: $id) { completed completedAt } }", id=task))[
            "completeTask"
        ]
        assert done["completed"] is True
        assert done["completedAt"]
        again = (await graphql(COMPLETE, id=task, done=True))["completeTask"]
        assert again == done
        undone = (await graphql(COMPLETE, id=task, done=False))["completeTask"]
        assert undone == {"completed": False, "completedAt": None}
        assert [event["type"] for event in events()] == ["task.updated", "task.updated"]

    async def test_needs_a_living_task_of_a_living_lead(self, refused, make_task, make_lead):
        for key in (make_task(deleted=True)["id"], make_task(lead_id=make_lead(deleted=True)["id"])["id"], 999_999):
            assert brief(await refused(COMPLETE, id=key, done=True)) == {
                "code": "NOT_FOUND",
                "entity": "task",
                "id": str(key),
            }


class TestStatus:
    @pytest.fixture
    def tasks(self, make_lead, make_task):
        lead = make_lead()["id"]
        for source in ("manual", "ai_suggested", "dismissed"):
            for done in (False, True):
                make_task(lead_id=lead, title=f"{source} {done}", source=source, completed=done)
        return lead

    async def test_says_where_a_task_stands_whatever_made_it_so(self, graphql, tasks):
        data = await graphql("query($id: Int!) { tasksByLeadId(leadId: $id) { title status } }", id=tasks)
        assert {task["title"]: task["status"] for task in data["tasksByLeadId"]} == {
            "manual False": "OPEN",
            "manual True": "DONE",
            "ai_suggested False": "SUGGESTED",
            "ai_suggested True": "DONE",
            "dismissed False": "DISMISSED",
            "dismissed True": "DISMISSED",
        }

    async def test_open_is_what_is_counted_as_open(self, graphql, tasks):
        await graphql('mutation($id: Int!) { createTask(input: {leadId: $id, title: "B"}) { status } }', id=tasks)
        data = await graphql(
            """query($id: Int!, $status: TaskStatus!) { lead(id: $id) {
              openTaskCount suggestedTaskCount
              open: tasks(filter: {status: {eq: $status}}) { title status }
              rest: tasks(filter: {status: {neq: OPEN}}) { id }
              some: tasks(filter: {status: {in: [DONE, SUGGESTED, DONE]}}) { title }
              none: tasks(filter: {status: {isNull: true}}) { id }
              not: tasks(filter: {status: {notIn: [DISMISSED, DONE, SUGGESTED]}}) { title }
            } leads(filter: {tasks: {some: {status: {eq: SUGGESTED}}}}) { id } }""",
            id=tasks,
            status="OPEN",
        )
        lead = data["lead"]
        assert lead["openTaskCount"] == len(lead["open"]) == 2
        assert lead["suggestedTaskCount"] == 1
        assert {task["status"] for task in lead["open"]} == {"OPEN"}
        assert [len(lead[name]) for name in ("rest", "some", "none", "not")] == [5, 3, 0, 2]
        assert data["leads"] == [{"id": str(tasks)}]

    @pytest.mark.usefixtures("tasks")
    async def test_orders_tasks_and_pages_through_them(self, graphql):
        read = """query($after: String) { tasksConnection(first: 4, after: $after, orderBy: [{field: STATUS}]) {
          nodes { status } pageInfo { endCursor } } }"""
        first = (await graphql(read))["tasksConnection"]
        second = (await graphql(read, after=first["pageInfo"]["endCursor"]))["tasksConnection"]
        assert [node["status"] for node in (*first["nodes"], *second["nodes"])] == [
            *("OPEN", "DONE", "DONE", "SUGGESTED", "DISMISSED", "DISMISSED")
        ]

    @pytest.mark.usefixtures("tasks")
    async def test_open_tasks_by_due_date_are_read_from_their_index(self, database_url):
        query = "{ tasks(filter: {status: {eq: OPEN}}, orderBy: [{field: DUE_DATE}], limit: 5) { id } }"
        text, params = await plans.statement(database_url, query, {})
        with psycopg.connect(database_url) as connection:
            connection.execute("SET enable_seqscan = off")
            connection.execute("SET enable_bitmapscan = off")
            assert "tasks_open_due_date_idx" in plans.plan(connection, text, params)


class TestUpdateTaskSource:
    @pytest.mark.parametrize("generator", ["llm", "playbook"])
    @pytest.mark.parametrize("start", ["manual", "ai_suggested", "dismissed"])
    @pytest.mark.parametrize("target", ["MANUAL", "AI_SUGGESTED", "DISMISSED"])
    async def test_gives_a_suggestion_any_source(self, graphql, make_task, generator, start, target):
        task = make_task(source=start, generated_by=generator)
        found = (await graphql(SET_SOURCE_ONLY, id=task["id"], source=target))["updateTaskSource"]
        assert found["source"] == target
        assert found["version"] == (1 if target.lower() == start else 2)

    async def test_by_an_id_like_every_other(self, graphql, make_task):
        task = make_task(source="ai_suggested", generated_by="llm")
        query = """mutation($id: ID!, $reason: String) {
            setTaskSource(id: $id, source: DISMISSED, reason: $reason) { source dismissedReason }
        }"""
        found = (await graphql(query, id=str(task["id"]), reason="Too early"))["setTaskSource"]
        assert found == {"source": "DISMISSED", "dismissedReason": "Too early"}
        assert (await graphql(query, id=task["id"]))["setTaskSource"] == found

    @pytest.mark.parametrize("start", ["manual", "dismissed"])
    async def test_never_makes_a_persons_own_task_a_suggestion(self, graphql, refused, make_task, start):
        task = make_task(source=start)["id"]
        error = await refused(SET_SOURCE_ONLY, id=task, source="AI_SUGGESTED")
        assert brief(error) == {"code": "BAD_USER_INPUT", "field": "source"}
        for target in ("DISMISSED", "MANUAL"):
            assert (await graphql(SET_SOURCE_ONLY, id=task, source=target))["updateTaskSource"]["source"] == target

    async def test_does_not_suggest_what_is_done_again_until_that_is_taken_back(self, graphql, refused, make_task):
        task = make_task(source="ai_suggested", generated_by="llm")["id"]
        await graphql(COMPLETE, id=task, done=True)
        error = await refused(SET_SOURCE_ONLY, id=task, source="AI_SUGGESTED")
        assert brief(error) == {"code": "BAD_USER_INPUT", "field": "source"}
        shown = "query($id: Int!) { task(id: $id) { source completed decidedBy { name } } }"
        assert (await graphql(shown, id=task))["task"] == {
            "source": "MANUAL",
            "completed": True,
            "decidedBy": {"name": "Service (admin)"},
        }
        await graphql(COMPLETE, id=task, done=False)
        assert (await graphql(SET_SOURCE_ONLY, id=task, source="AI_SUGGESTED"))["updateTaskSource"]["version"] == 4

    async def test_keeps_the_reason_until_it_is_cleared_or_the_task_comes_back(self, graphql, make_task, events):
        task = make_task(source="ai_suggested", generated_by="llm")["id"]

        async def reason(query, **variables):
            return (await graphql(query, id=task, **variables))["updateTaskSource"]["dismissedReason"]

        assert await reason(SET_SOURCE, source="DISMISSED", reason=" Wrong person ") == "Wrong person"
        assert await reason(SET_SOURCE_ONLY, source="DISMISSED") == "Wrong person"
        assert len(events()) == 1
        assert await reason(SET_SOURCE, source="DISMISSED", reason=None) is None
        await reason(SET_SOURCE, source="DISMISSED", reason="Too late")
        assert await reason(SET_SOURCE_ONLY, source="MANUAL") is None
        last = {field["name"]: (field["before"], field["after"]) for field in events()[-1]["fields"]}
        assert last.pop("decidedAt")[1] > "2026"
        assert last == {"source": ("DISMISSED", "MANUAL"), "dismissedReason": ("Too late", None)}

    async def test_takes_a_reason_only_for_a_dismissal(self, refused, make_task):
        task = make_task(source="dismissed")["id"]
        assert (await refused(SET_SOURCE, id=task, source="MANUAL", reason="x"))["field"] == "reason"
        assert (await refused(SET_SOURCE, id=task, source="DISMISSED", reason="x" * 1001))["field"] == "reason"

    async def test_keeps_dismissed_tasks_in_the_lists(self, graphql, make_task):
        task = make_task()
        await graphql(SET_SOURCE_ONLY, id=task["id"], source="DISMISSED")
        data = await graphql(
            "query($lead: Int!) { tasks { id source } tasksByLeadId(leadId: $lead) { id } "
            "lead(id: $lead) { tasks { id } } }",
            lead=task["lead_id"],
        )
        key = str(task["id"])
        assert data["tasks"] == [{"id": key, "source": "DISMISSED"}]
        assert data["tasksByLeadId"] == data["lead"]["tasks"] == [{"id": key}]


class TestDeleteTask:
    async def test_hides_it_and_shows_what_it_was(self, graphql, make_task, make_lead, events):
        lead = make_lead(first_name="Åsa", last_name="Öberg")
        task = make_task(lead_id=lead["id"], title="Call")["id"]
        found = (await graphql(DELETE, id=task))["deleteTask"]
        assert (found["title"], found["lead"]) == ("Call", {"fullName": "Åsa Öberg"})
        assert found["deletedAt"]
        assert (await graphql("query($id: Int!) { task(id: $id) { id } tasks { id } }", id=task)) == {
            "task": None,
            "tasks": [],
        }
        assert [event["type"] for event in events()] == ["task.deleted"]

    async def test_shows_deleted_tasks_to_admins_who_ask(self, graphql, make_task):
        task = make_task(deleted=True)
        data = await graphql("{ tasks(includeDeleted: true) { id } }")
        assert data["tasks"] == [{"id": str(task["id"])}]


class TestRestoreTask:
    async def test_brings_it_back(self, graphql, make_task, events):
        task = make_task(deleted=True)["id"]
        assert (await graphql(RESTORE, id=task))["restoreTask"] == {"id": str(task), "deletedAt": None}
        assert [event["type"] for event in events()] == ["task.restored"]

    async def test_leaves_the_tasks_of_a_deleted_lead_alone(self, refused, make_task, make_lead):
        task = make_task(lead_id=make_lead(deleted=True)["id"], deleted=True)["id"]
        assert brief(await refused(RESTORE, id=task)) == {"code": "NOT_FOUND", "entity": "task", "id": str(task)}

    async def test_has_nothing_to_restore_of_a_living_task(self, refused, make_task):
        task = make_task()["id"]
        assert (await refused(RESTORE, id=task))["code"] == "NOT_FOUND"


class TestTasksByLeadId:
    async def test_is_empty_without_such_a_lead(self, graphql):
        assert await graphql("{ tasksByLeadId(leadId: 999) { id } }") == {"tasksByLeadId": []}

    async def test_shows_the_newest_first(self, graphql, make_task, make_lead):
        lead = make_lead()["id"]
        keys = [make_task(lead_id=lead)["id"] for _ in range(3)]
        data = await graphql("query($id: Int!) { tasksByLeadId(leadId: $id) { id leadId lead { id } } }", id=lead)
        assert [task["id"] for task in data["tasksByLeadId"]] == [str(key) for key in reversed(keys)]
        assert data["tasksByLeadId"][0]["lead"] == {"id": str(lead)}
