"""Tasks that are due by a day, without a time."""

import pytest

TASK = "id dueOn dueDate"
CREATE = f"mutation($input: CreateTaskInput!) {{ createTask(input: $input) {{ {TASK} }} }}"
UPDATE = f"mutation($id: Int!, $input: UpdateTaskInput!) {{ updateTask(id: $id, input: $input) {{ {TASK} }} }}"
LIST = "query($filter: TaskFilter, $order: [TaskOrder!]) { tasks(filter: $filter, orderBy: $order) { title } }"
END = "2026-12-01T23:59:59.000000Z"
MOMENT = "2026-12-02T09:00:00.000000Z"


@pytest.fixture
def create(graphql, make_lead):
    key = make_lead()["id"]

    async def run(**values):
        return (await graphql(CREATE, input={"leadId": key, "title": "Call", **values}))["createTask"]

    return run


class TestADay:
    async def test_is_due_at_its_end(self, create):
        task = await create(dueOn="2026-12-01")
        assert (task["dueOn"], task["dueDate"]) == ("2026-12-01", END)

    @pytest.mark.parametrize(
        ("before", "change", "after"),
        [
            ({"dueOn": "2026-12-01"}, {"dueDate": MOMENT}, (None, MOMENT)),
            ({"dueDate": MOMENT}, {"dueOn": "2026-12-01"}, ("2026-12-01", END)),
            ({"dueDate": MOMENT}, {"dueOn": "2026-12-01", "dueDate": None}, ("2026-12-01", END)),
            ({"dueOn": "2026-12-01"}, {"dueOn": None}, (None, None)),
            ({"dueOn": "2026-12-01"}, {"dueDate": None}, (None, None)),
            ({"dueOn": "2026-12-01"}, {"dueOn": None, "dueDate": MOMENT}, (None, MOMENT)),
            ({"dueDate": MOMENT}, {"dueOn": None}, (None, MOMENT)),
            ({"dueOn": "2026-12-01"}, {"title": "Mail"}, ("2026-12-01", END)),
        ],
    )
    async def test_or_a_moment_counts_which_is_set_last(self, graphql, create, before, change, after):
        task = await create(**before)
        changed = (await graphql(UPDATE, id=int(task["id"]), input=change))["updateTask"]
        assert (changed["dueOn"], changed["dueDate"]) == after

    async def test_is_in_the_event(self, create, events):
        await create(dueOn="2026-12-01")
        fields = {field["name"]: field["after"] for field in events(type="task.created")[0]["fields"]}
        assert (fields["dueOn"], fields["dueDate"]) == ("2026-12-01", END)

    async def test_is_filtered_and_ordered_by(self, graphql, create):
        for title, due in (
            ("last", {"dueOn": "2026-12-02"}),
            ("first", {"dueOn": "2026-12-01"}),
            ("second", {"dueDate": MOMENT}),
        ):
            await create(title=title, **due)
        by_due = [{"field": "DUE_DATE"}]
        assert [task["title"] for task in (await graphql(LIST, order=by_due))["tasks"]] == ["first", "second", "last"]
        for where, found in (
            ({"lte": "2026-12-01"}, ["first"]),
            ({"in": ["2026-12-02", "2026-12-03"]}, ["last"]),
            ({"isNull": True}, ["second"]),
        ):
            titles = [task["title"] for task in (await graphql(LIST, filter={"dueOn": where}))["tasks"]]
            assert titles == found, where


class TestRefused:
    async def test_a_day_and_a_moment(self, refused, make_lead):
        both = {"leadId": make_lead()["id"], "title": "Call", "dueOn": "2026-12-01", "dueDate": MOMENT}
        error = await refused(CREATE, input=both)
        assert (error["code"], error["field"]) == ("BAD_USER_INPUT", "dueOn")

    @pytest.mark.parametrize(
        "day", ["2026-13-01", "2026-02-30", "1.12.2026", "2026-12-01T00:00:00Z", "1899-12-31", "", 5]
    )
    async def test_what_is_no_day(self, graphql, make_lead, day):
        given = {"leadId": make_lead()["id"], "title": "Call", "dueOn": day}
        [error] = (await graphql(CREATE, expect_errors=True, input=given))["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
