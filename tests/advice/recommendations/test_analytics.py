from datetime import UTC, datetime, timedelta

import pytest

ANALYTICS = """query($from: DateTime, $to: DateTime, $by: [TaskAnalyticsGroup!]) {
  taskAnalytics(from: $from, to: $to, groupBy: $by) {
    generatedBy model rule promptVersion suggested pending accepted edited dismissed completed acceptanceRate
    medianHoursToCompletion dismissals { reason count }
  } }"""
SET = """mutation($id: Int!, $source: TaskSource!, $reason: String) {
  updateTaskSource(taskId: $id, source: $source, reason: $reason) {
    source dismissedReason edited decidedAt decidedBy { name } version
  } }"""
EDIT = "mutation($id: Int!, $input: UpdateTaskInput!) { updateTask(id: $id, input: $input) { edited source } }"
DAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def suggestion(make_task, make_lead):
    lead = make_lead()["id"]

    def make(**values):
        return make_task(
            lead_id=lead,
            **{
                "source": "ai_suggested",
                "generated_by": "playbook",
                "model": "playbook",
                "rule": "new-call",
                "created_at": DAY,
                **values,
            },
        )["id"]

    return make


class TestDeciding:
    async def test_keeps_who_when_and_whether_it_was_edited_first(self, graphql, suggestion):
        task = suggestion()
        assert (await graphql(EDIT, id=task, input={"title": "Better"}))["updateTask"]["edited"] is True
        accepted = (await graphql(SET, id=task, source="MANUAL"))["updateTaskSource"]
        assert accepted["edited"] is True
        assert accepted["decidedBy"] == {"name": "Service (admin)"}
        assert accepted["decidedAt"]

    async def test_undone_is_undecided(self, graphql, suggestion):
        task = suggestion()
        await graphql(SET, id=task, source="DISMISSED", reason="Too late")
        undone = (await graphql(SET, id=task, source="AI_SUGGESTED"))["updateTaskSource"]
        assert (undone["decidedAt"], undone["decidedBy"], undone["dismissedReason"]) == (None, None, None)

    async def test_what_changes_afterwards_or_nothing_is_no_edit_of_the_suggestion(self, graphql, suggestion):
        task = suggestion(title="Call", priority="high")
        assert (await graphql(EDIT, id=task, input={"title": " Call ", "priority": "HIGH"}))["updateTask"] == {
            "edited": False,
            "source": "AI_SUGGESTED",
        }
        await graphql(SET, id=task, source="MANUAL")
        assert (await graphql(EDIT, id=task, input={"title": "Other"}))["updateTask"]["edited"] is False

    @pytest.mark.parametrize(
        "done",
        [
            "mutation($id: Int!) { completeTask(id: $id) { id } }",
            "mutation($id: Int!) { updateTask(id: $id, input: {completed: true}) { id } }",
        ],
    )
    async def test_doing_what_was_suggested_accepts_it(self, graphql, suggestion, done, db):
        task = suggestion()
        lead = db.execute("SELECT lead_id FROM tasks WHERE id = %s", [task]).fetchone()["lead_id"]
        counts = "query($id: Int!) { lead(id: $id) { openTaskCount suggestedTaskCount } }"
        assert (await graphql(counts, id=lead))["lead"] == {"openTaskCount": 0, "suggestedTaskCount": 1}
        await graphql(done, id=task)
        shown = "query($id: Int!) { task(id: $id) { source completed edited decidedAt decidedBy { name } } }"
        found = (await graphql(shown, id=task))["task"]
        assert (found["source"], found["completed"], found["edited"]) == ("MANUAL", True, False)
        assert found["decidedBy"] == {"name": "Service (admin)"}
        assert found["decidedAt"]
        assert (await graphql(counts, id=lead))["lead"] == {"openTaskCount": 0, "suggestedTaskCount": 0}
        (numbers,) = (await graphql(ANALYTICS))["taskAnalytics"]
        assert (numbers["pending"], numbers["accepted"], numbers["completed"]) == (0, 1, 1)
        await graphql("mutation($id: Int!) { completeTask(id: $id, completed: false) { id } }", id=task)
        again = (await graphql(shown, id=task))["task"]
        assert again == {**found, "completed": False}
        assert (await graphql(counts, id=lead))["lead"] == {"openTaskCount": 1, "suggestedTaskCount": 0}

    async def test_rewording_and_doing_it_at_once_is_an_edit(self, graphql, suggestion):
        found = await graphql(EDIT, id=suggestion(), input={"title": "Better", "completed": True})
        assert found["updateTask"] == {"edited": True, "source": "MANUAL"}

    async def test_doing_what_was_dismissed_leaves_it_dismissed(self, graphql, suggestion):
        found = await graphql(EDIT, id=suggestion(source="dismissed"), input={"completed": True})
        assert found["updateTask"]["source"] == "DISMISSED"

    async def test_a_persons_own_task_has_no_decision(self, graphql, make_task):
        found = (await graphql(SET, id=make_task()["id"], source="DISMISSED"))["updateTaskSource"]
        assert (found["decidedAt"], found["decidedBy"]) == (None, None)


class TestTaskAnalytics:
    async def test_counts_what_became_of_suggestions(self, graphql, suggestion, make_task):
        make_task(created_at=DAY)  # a person's own
        suggestion()
        suggestion(source="manual", edited=True)
        suggestion(source="manual", completed=True, completed_at=DAY + timedelta(hours=10))
        suggestion(source="manual", completed=True, completed_at=DAY + timedelta(hours=30))
        suggestion(source="dismissed", dismissed_reason="Wrong person")
        suggestion(source="dismissed", dismissed_reason="Wrong person")
        suggestion(source="dismissed", dismissed_reason="{}\"'å")
        suggestion(source="dismissed")
        suggestion(deleted=True)
        (found,) = (await graphql(ANALYTICS))["taskAnalytics"]
        assert found == {
            "generatedBy": None,
            "model": None,
            "rule": None,
            "promptVersion": None,
            "suggested": 8,
            "pending": 1,
            "accepted": 3,
            "edited": 1,
            "dismissed": 4,
            "completed": 2,
            "acceptanceRate": 0.4286,
            "medianHoursToCompletion": 20.0,
            "dismissals": [
                {"reason": "Wrong person", "count": 2},
                {"reason": None, "count": 1},
                {"reason": "{}\"'å", "count": 1},
            ],
        }

    async def test_what_is_done_does_not_wait(self, graphql, suggestion):
        suggestion(completed=True, completed_at=DAY)  # as an older version let it become
        assert (await graphql(ANALYTICS))["taskAnalytics"][0]["pending"] == 0

    async def test_groups_by_what_suggested_them(self, graphql, suggestion):
        suggestion(source="manual")
        suggestion(source="dismissed", dismissed_reason="No")
        suggestion(
            rule=None, model="m-1", generated_by="llm", prompt_version="p-1", source="dismissed", dismissed_reason="Yes"
        )
        by_rule = (await graphql(ANALYTICS, by=["RULE"]))["taskAnalytics"]
        assert [(one["rule"], one["suggested"], one["dismissals"]) for one in by_rule] == [
            ("new-call", 2, [{"reason": "No", "count": 1}]),
            (None, 1, [{"reason": "Yes", "count": 1}]),
        ]
        by_two = (await graphql(ANALYTICS, by=["PROMPT_VERSION", "GENERATED_BY", "MODEL"]))["taskAnalytics"]
        assert [(one["generatedBy"], one["model"], one["promptVersion"], one["acceptanceRate"]) for one in by_two] == [
            ("PLAYBOOK", "playbook", None, 0.5),
            ("LLM", "m-1", "p-1", 0.0),
        ]

    async def test_takes_a_period(self, graphql, suggestion):
        suggestion()
        suggestion(created_at=DAY + timedelta(days=1))

        async def count(**period):
            return (await graphql(ANALYTICS, **period))["taskAnalytics"][0]["suggested"]

        first, second = DAY.isoformat(), (DAY + timedelta(days=1)).isoformat()
        assert await count(**{"from": first}) == 2
        assert await count(**{"from": second}) == 1
        assert await count(to=second) == 1
        assert await count(**{"from": first, "to": first}) == 0

    async def test_of_nothing_is_one_row_of_noughts(self, graphql):
        (found,) = (await graphql(ANALYTICS))["taskAnalytics"]
        assert (found["suggested"], found["acceptanceRate"], found["dismissals"]) == (0, None, [])
        assert (await graphql(ANALYTICS, by=["MODEL"]))["taskAnalytics"] == []
