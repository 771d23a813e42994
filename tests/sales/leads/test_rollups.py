"""What a lead's tasks and interactions come to: shown, filtered and ordered by; kept by triggers."""

import random
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.locks import waiting

KEPT = "SELECT lead_id, next_due_at, last_interaction_at FROM lead_rollups ORDER BY lead_id"
FOUND = """
SELECT id AS lead_id,
  (SELECT min(due_date) FROM tasks WHERE lead_id = leads.id AND NOT completed AND source = 'manual'
    AND deleted_at IS NULL) AS next_due_at,
  (SELECT max(occurred_at) FROM interactions WHERE lead_id = leads.id) AS last_interaction_at
FROM leads ORDER BY id
"""
START = datetime(2026, 11, 2, 9, tzinfo=UTC)
LEAD = "query($id: Int!) { lead(id: $id) { nextDueAt lastInteractionAt openTaskCount version } }"
LIST = "query($filter: LeadFilter, $order: [LeadOrder!]) { leads(filter: $filter, orderBy: $order) { id } }"
PAGE = """query($order: [LeadOrder!], $first: Int, $after: String, $last: Int, $before: String) {
  leadsConnection(orderBy: $order, first: $first, after: $after, last: $last, before: $before) {
    totalCount nodes { id } pageInfo { hasNextPage hasPreviousPage endCursor startCursor }
  }
}"""


def at(days):
    return START + timedelta(days=days)


def shown(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture
def ids(graphql):
    async def run(order=None, where=None):
        found = await graphql(LIST, order=order, filter=where)
        return [int(lead["id"]) for lead in found["leads"]]

    return run


class TestALead:
    async def test_shows_what_its_tasks_and_interactions_come_to(self, graphql, make_lead, make_task, make_interaction):
        key = make_lead()["id"]
        assert (await graphql(LEAD, id=key))["lead"] == {
            "nextDueAt": None, "lastInteractionAt": None, "openTaskCount": 0, "version": 1,
        }  # fmt: skip
        for days, values in ((5, {}), (3, {}), (1, {"completed": True}), (2, {"source": "ai_suggested"})):
            make_task(lead_id=key, due_date=at(days), **values)
        make_task(lead_id=key)
        make_interaction(lead_id=key, occurred_at=at(-1))
        make_interaction(lead_id=key, occurred_at=at(-2))
        assert (await graphql(LEAD, id=key))["lead"] == {
            "nextDueAt": shown(at(3)), "lastInteractionAt": shown(at(-1)), "openTaskCount": 3, "version": 1,
        }  # fmt: skip

    async def test_is_as_new_as_the_mutation_that_shows_it(self, graphql, make_lead):
        key = make_lead()["id"]
        create = """mutation($input: CreateTaskInput!) {
          createTask(input: $input) { id lead { nextDueAt openTaskCount version } }
        }"""
        task = (await graphql(create, input={"leadId": key, "title": "Call", "dueDate": shown(at(1))}))["createTask"]
        assert task["lead"] == {"nextDueAt": shown(at(1)), "openTaskCount": 1, "version": 1}
        complete = "mutation($id: Int!) { completeTask(id: $id) { lead { nextDueAt openTaskCount version } } }"
        completed = (await graphql(complete, id=int(task["id"])))["completeTask"]
        assert completed["lead"] == {"nextDueAt": None, "openTaskCount": 0, "version": 1}


class TestRollups:
    """However tasks and interactions change, the triggers keep up."""

    @pytest.mark.parametrize("seed", range(3))
    def test_are_what_is_found_anew(self, db, make_lead, make_task, make_interaction, seed):
        dice = random.Random(seed)
        leads = [make_lead()["id"] for _ in range(4)]
        for _ in range(150):
            lead, other = dice.sample(leads, 2)
            moment = at(dice.randrange(9))
            match dice.randrange(9):
                case 0 | 1:
                    source = dice.choice(("manual", "ai_suggested", "dismissed"))
                    due = dice.choice((None, moment))
                    make_task(lead_id=lead, due_date=due, completed=dice.random() < 0.2, source=source)
                case 2:
                    make_interaction(lead_id=lead, occurred_at=moment)
                case 3:
                    change = dice.choice(("completed = NOT completed", "source = 'manual'", "source = 'dismissed'"))
                    db.execute(f"UPDATE tasks SET {change} WHERE lead_id = %s AND id %% 3 = 0", [lead])
                case 4:
                    due = dice.choice((None, moment))
                    db.execute("UPDATE tasks SET due_date = %s WHERE lead_id = %s AND id %% 2 = 0", [due, lead])
                case 5:
                    db.execute("UPDATE tasks SET lead_id = %s WHERE lead_id = %s AND id %% 5 = 0", [other, lead])
                    db.execute("UPDATE interactions SET lead_id = %s WHERE lead_id = %s AND id %% 5 = 0", [other, lead])
                case 6:
                    deleted = "CASE WHEN deleted_at IS NULL THEN now() END"
                    db.execute(f"UPDATE tasks SET deleted_at = {deleted} WHERE lead_id = %s AND id %% 4 = 0", [lead])
                case 7:
                    table = dice.choice(("tasks", "interactions"))
                    db.execute(f"DELETE FROM {table} WHERE lead_id = %s AND id %% 4 = 1", [lead])
                case 8:
                    db.execute(
                        "INSERT INTO interactions (type, lead_id, occurred_at) SELECT 'call', key, %s"
                        " FROM unnest(%s::int[]) AS key",
                        [moment, [lead, other, lead]],
                    )
            assert db.execute(KEPT).fetchall() == db.execute(FOUND).fetchall()
        db.execute("DELETE FROM leads WHERE id = %s", [leads[0]])
        assert [row["lead_id"] for row in db.execute(KEPT)] == leads[1:]

    def test_miss_nothing_that_happens_at_once(self, server, db, make_lead, make_task):
        """Two complete one task each: the second looks once the first is done."""
        key = make_lead()["id"]
        first, second = (make_task(lead_id=key, due_date=at(days))["id"] for days in (1, 2))
        complete = "UPDATE tasks SET completed = true WHERE id = %s"
        with psycopg.connect(server.database_url) as one, psycopg.connect(server.database_url) as other:
            one.execute(complete, [first])
            later = threading.Thread(target=other.execute, args=(complete, [second]))
            later.start()
            while not waiting(db):
                time.sleep(0.01)
            one.commit()
            later.join(10)
        assert [row["next_due_at"] for row in db.execute(KEPT)] == [None]

    @pytest.mark.parametrize("insert_first", [True, False])
    @pytest.mark.parametrize(
        ("table", "change"),
        [
            ("tasks", "UPDATE tasks SET completed = true WHERE id = %s"),
            ("tasks", "DELETE FROM tasks WHERE id = %s"),
            ("interactions", "UPDATE interactions SET occurred_at = '2000-01-01' WHERE id = %s"),
            ("interactions", "DELETE FROM interactions WHERE id = %s"),
        ],
    )
    def test_miss_no_insert_beside_a_change(
        self, server, db, make_lead, make_task, make_interaction, table, change, insert_first
    ):
        """What is added is not the lead's first (last), until what was so is gone."""
        key = make_lead()["id"]
        if table == "tasks":
            there = make_task(lead_id=key, due_date=at(1))["id"]
            insert = "INSERT INTO tasks (lead_id, title, due_date) VALUES (%s, 'Call', %s)", (key, at(2))
        else:
            there = make_interaction(lead_id=key, occurred_at=at(2))["id"]
            insert = "INSERT INTO interactions (lead_id, type, occurred_at) VALUES (%s, 'call', %s)", (key, at(1))
        statements = [insert, (change, (there,))]
        earlier, later = statements if insert_first else reversed(statements)
        with psycopg.connect(server.database_url) as one, psycopg.connect(server.database_url) as other:
            one.execute(*earlier)
            second = threading.Thread(target=other.execute, args=later)
            second.start()
            while second.is_alive() and not waiting(db):
                time.sleep(0.01)
            one.commit()
            second.join(10)
        assert db.execute(KEPT).fetchall() == db.execute(FOUND).fetchall()
        assert db.execute(f"SELECT count(*) FROM {table}").fetchone()["count"] == (1 if "DELETE" in change else 2)


class TestOrders:
    @pytest.fixture
    def leads(self, make_lead, make_task, make_interaction, make_user):
        """Six leads; the last two have neither tasks nor interactions nor an owner."""
        made = []
        for number, (due, tasks, last) in enumerate(((3, 2, -5), (1, 1, -1), (3, 3, -9), (2, 1, -5))):
            owner = make_user(name=("Östen", "anna", "Åke", "Zoe")[number])["id"]
            made.append(make_lead(owner_id=owner, job_title=("C", "D", "A", "B")[number])["id"])
            make_interaction(lead_id=made[-1], occurred_at=at(last))
            for later in range(tasks):
                make_task(lead_id=made[-1], due_date=at(due + later))
        return [*made, make_lead()["id"], make_lead()["id"]]

    @pytest.mark.parametrize(
        ("field", "direction", "nulls", "places"),
        [
            ("NEXT_DUE_AT", "ASC", None, [1, 3, 0, 2, 4, 5]),
            ("NEXT_DUE_AT", "DESC", None, [2, 0, 3, 1, 5, 4]),
            ("LAST_INTERACTION_AT", "DESC", None, [1, 3, 0, 2, 5, 4]),
            ("LAST_INTERACTION_AT", "ASC", "FIRST", [4, 5, 2, 0, 3, 1]),
            ("OPEN_TASK_COUNT", "DESC", None, [2, 0, 3, 1, 5, 4]),
            ("OWNER_NAME", "ASC", None, [1, 3, 2, 0, 4, 5]),
            ("JOB_TITLE", "DESC", "FIRST", [5, 4, 1, 0, 3, 2]),
        ],
    )
    async def test_are_those_of_a_list_and_of_its_pages(self, graphql, ids, leads, field, direction, nulls, places):
        order = [{"field": field, "direction": direction, "nulls": nulls}]
        wanted = [leads[place] for place in places]
        assert await ids(order) == wanted
        there, position = [], {"first": 2}
        while position:
            page = (await graphql(PAGE, order=order, **position))["leadsConnection"]
            there += [int(lead["id"]) for lead in page["nodes"]]
            info = page["pageInfo"]
            position = {"first": 2, "after": info["endCursor"]} if info["hasNextPage"] else {}
        back, position = [], {"last": 4}
        while position:
            page = (await graphql(PAGE, order=order, **position))["leadsConnection"]
            back = [int(lead["id"]) for lead in page["nodes"]] + back
            info = page["pageInfo"]
            position = {"last": 4, "before": info["startCursor"]} if info["hasPreviousPage"] else {}
        assert (there, back, page["totalCount"]) == (wanted, wanted, 6)

    async def test_go_on_by_other_keys(self, ids, leads):
        order = [{"field": "LAST_INTERACTION_AT", "nulls": "FIRST"}, {"field": "NEXT_DUE_AT", "direction": "DESC"}]
        assert await ids(order) == [leads[place] for place in (5, 4, 2, 0, 3, 1)]
        order = [{"field": "STATUS"}, {"field": "NEXT_DUE_AT"}, {"field": "ID", "direction": "DESC"}]
        assert await ids(order) == [leads[place] for place in (1, 3, 2, 0, 5, 4)]


class TestFilters:
    async def test_by_moments_and_counts(self, ids, make_lead, make_task, make_interaction):
        busy, calm, new = (make_lead()["id"] for _ in range(3))
        for days in (1, 4):
            make_task(lead_id=busy, due_date=at(days))
        make_task(lead_id=calm, due_date=at(2))
        make_interaction(lead_id=calm, occurred_at=at(-3))
        for where, found in (
            ({"nextDueAt": {"lt": shown(at(2))}}, [busy]),
            ({"nextDueAt": {"isNull": True}}, [new]),
            ({"nextDueAt": {"neq": shown(at(2))}}, [new, busy]),
            ({"not": {"nextDueAt": {"lt": shown(at(2))}}}, [new, calm]),
            ({"lastInteractionAt": {"gte": shown(at(-3))}}, [calm]),
            ({"lastInteractionAt": {"isNull": True}}, [new, busy]),
            ({"openTaskCount": {"eq": 0}}, [new]),
            ({"openTaskCount": {"gt": 1}}, [busy]),
            ({"fullName": {"in": ["Nobody"]}}, []),
            ({"fullName": {"notIn": ["Nobody"], "neq": "Nobody", "gt": "A"}}, [new, calm, busy]),
            ({"fullName": {"contains": "first"}, "openTaskCount": {"in": [0, 1]}}, [new, calm]),
        ):
            assert await ids(where=where) == found, where

    async def test_count_rows_across_edges_at_any_depth(self, graphql, ids, make_lead, make_task, make_user):
        owner = make_user()["id"]
        busy, calm, new = (make_lead(owner_id=owner)["id"] for _ in range(3))
        for number in range(3):
            make_task(lead_id=busy, title=f"Call {number}")
        make_task(lead_id=busy, title="Call", deleted=True)
        make_task(lead_id=calm, title="Mail")
        call = {"title": {"startsWith": "call"}}
        for where, found in (
            ({"tasks": {"count": {"gt": 2}}}, [busy]),
            ({"tasks": {"count": {"eq": 0}}}, [new]),
            ({"tasks": {"count": {"where": call, "lte": 2}}}, [new, calm]),
            ({"tasks": {"count": {"where": call, "gte": 3, "lt": 4}}}, [busy]),
            ({"tasks": {"count": {"where": {"lead": {"tasks": {"count": {"neq": 3}}}}, "gte": 1}}}, [calm]),
            ({"interactions": {"count": {"eq": 0}}, "tasks": {"count": {"eq": 1}}}, [calm]),
        ):
            assert await ids(where=where) == found, where
        query = "query($where: TaskFilter) { tasks(filter: $where) { title } }"
        found = await graphql(query, where={"lead": {"tasks": {"count": {"eq": 1}}}})
        assert found["tasks"] == [{"title": "Mail"}]

    @pytest.mark.parametrize("count", [{}, {"where": {}}, {"gt": None}])
    async def test_refuse_a_count_that_is_compared_with_nothing(self, graphql, count):
        answer = await graphql(LIST, expect_errors=True, filter={"tasks": {"count": count}})
        [error] = answer["errors"]
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "filter.tasks.count.gt"}

    async def test_have_a_price(self, graphql):
        many = {"or": [{"tasks": {"count": {"gt": number}}} for number in range(8)]}
        answer = await graphql(LIST, expect_errors=True, filter=many)
        assert answer["errors"][0]["extensions"]["code"] == "TOO_COMPLEX"
