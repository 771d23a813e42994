"""What an operation is priced at before it runs: conditions, long texts, passes over a table, introspection."""

import json
import re
from typing import Any

import pytest
from graphql import parse, print_ast

from crm.db.database import Database
from crm.graph.run import answers
from crm.graph.run.engine import Engine, Request
from crm.graph.run.priced import run_priced
from crm.schema import schema
from tests.graph.generate import node_id
from tests.support import sdl

CONTAINS = '{company: {contains: "a"}} '
SOME = "{tasks: {some: {id: {gt: 1}}}} "
FOUND = "query($f: LeadFilter) { leads(limit: 1, filter: $f) { id } }"

TYPES: dict[str, Any] = {kind.name.value: kind for kind in parse(sdl.text()).definitions if hasattr(kind, "name")}


def of(kind, field):
    """The definition of a field in the SDL."""
    return next(one for one in TYPES[kind].fields if one.name.value == field)


def argument(node, directive, name):
    """The value of a directive's argument, as text; None without the directive."""
    for used in node.directives or ():
        if used.name.value == directive:
            return next(one.value.value for one in used.arguments or () if one.name.value == name)
    return None


def is_open(field):
    """Whether a field can be asked for without arguments."""
    return all(one.type.kind != "non_null_type" or one.default_value for one in field.arguments or ())


LISTS = [field for field in TYPES["Query"].fields if argument(field, "listSize", "assumedSize") and is_open(field)]


def either(condition: str, count: int) -> str:
    return f"{{ leads(limit: 1, filter: {{or: [{condition * count}]}}) {{ id }} }}"


@pytest.fixture
def cost(graphql):
    """The error that prices an operation, or none."""

    async def found(query, **variables):
        answer = await graphql(query, expect_errors=True, **variables)
        if "errors" not in answer:
            return None
        error = answer["errors"][0]
        assert error["extensions"]["code"] == "TOO_COMPLEX", error
        return error

    return found


class TestConditions:
    @pytest.mark.parametrize(("condition", "most"), [(CONTAINS, 39), (SOME, 19)], ids=["text", "relation"])
    async def test_so_many_are_allowed_at_once(self, cost, condition, most):
        assert await cost(either(condition, most)) is None
        error = await cost(either(condition, most + 1))
        assert error["extensions"]["what"] == "cost"
        assert "conditions of `leads`" in error["message"]

    async def test_240_texts_to_look_for_are_refused(self, cost):
        error = await cost(either(CONTAINS, 190))
        assert error["extensions"] == {"code": "TOO_COMPLEX", "what": "cost", "limit": 10_000, "cost": 47_501}
        assert (await cost(either(CONTAINS, 240)))["extensions"]["what"] == "conditions"

    async def test_conditions_in_variables_cost_the_same(self, cost):
        assert await cost(FOUND, f={"or": [{"company": {"contains": "a"}}] * 39}) is None
        error = await cost(FOUND, f={"or": [{"company": {"contains": "a"}}] * 40})
        assert error["extensions"]["cost"] == 10_001

    async def test_each_use_of_a_variable_counts(self, cost):
        names = " ".join(f"a{number}: leads(limit: 1, filter: $f) {{ id }}" for number in range(30))
        query = f"query($f: LeadFilter) {{ {names} }}"
        assert await cost(query, f={"and": [{"id": {"gt": 1}}] * 6}) is None
        error = await cost(query, f={"and": [{"id": {"gt": 1}}] * 7})
        assert error["extensions"] == {"code": "TOO_COMPLEX", "what": "conditions", "limit": 200}

    async def test_a_long_text_to_look_for_costs_as_much_as_several(self, cost):
        assert await cost(FOUND, f={"company": {"contains": "a" * 3899}}) is None
        assert await cost(FOUND, f={"company": {"contains": "a" * 3900}}) is not None
        assert await cost(FOUND, f={"company": {"eq": "a" * 3900}}) is None

    @pytest.mark.parametrize("nothing", [{"search": ""}, {"search": " "}, {"search": None}, {"owner": None}])
    async def test_nothing_to_look_for_costs_nothing(self, cost, nothing):
        assert await cost(FOUND, f={"and": [nothing] * 300}) is None

    async def test_a_list_of_values_is_one_condition(self, cost):
        assert await cost(FOUND, f={"id": {"in": list(range(1000))}}) is None

    async def test_a_list_of_a_record_is_searched_for_less(self, cost):
        query = 'query($n: Int) { leads(limit: $n) { tasks(limit: 9, filter: {title: {contains: "a"}}) { id } } }'
        assert await cost(query, n=500) is None
        assert (await cost(query, n=501))["extensions"]["cost"] == 10_020

    async def test_totals_search_once_more(self, cost):
        page = "leadsConnection(first: 1, filter: {or: [%s]}) { nodes { id } %s}"
        assert await cost(f"{{ {page % (CONTAINS * 39, '')} }}") is None
        assert await cost(f"{{ {page % (CONTAINS * 19, 'totalCount ')} }}") is not None


class TestOtherWork:
    async def test_totals_have_a_price(self, cost):
        query = "".join(f"a{number}: leadsConnection(first: 1) {{ totalCount }} " for number in range(20))
        error = await cost(f"{{ {query} }}")
        assert error["extensions"]["cost"] == 10_020
        assert "totalCount of `a0`" in error["message"]

    async def test_rows_that_are_skipped_have_a_price(self, cost):
        assert await cost("{ leads(offset: 1000000) { id } }") is None
        assert await cost("{ a: leads(offset: 1000000) { id } b: leads(offset: 1000000) { id } }") is not None

    async def test_long_texts_have_a_price(self, cost):
        query = "{ interactions(limit: 400) { %s } }"
        names = " ".join(f"a{number}: notes" for number in range(25))
        assert await cost(query % " ".join(f"a{number}: subject" for number in range(25))) is None
        error = await cost(query % names)
        assert error["extensions"]["cost"] == 400 + 25 * 400
        assert "long text `interactions.a0` 400" in error["message"]

    async def test_introspection_has_a_price(self, cost):
        query = '{ __type(name: "Lead") { name } leads(limit: %s) { id } }'
        assert await cost(query % 1000) is None
        error = await cost('{ __type(name: "Lead") { name } leads(limit: 1000) { tasks(limit: 9) { id } } }')
        assert error["extensions"]["cost"] == 10_500

    async def test_a_mutation_of_many_costs_what_its_records_show(self, cost, db):
        query = "mutation($i: [CreateLeadInput!]!) { createLeads(inputs: $i) { lead { tasks(limit: 11) { id } } } }"
        names = {"firstName": "A", "lastName": "B"}
        assert await cost(query, i=[names] * 10) is None
        assert (await cost(query, i=[names] * 1000))["extensions"]["cost"] == 12_000
        assert db.execute("SELECT count(*) AS count FROM leads").fetchone()["count"] == 10

    async def test_a_mutation_of_many_ids_costs_what_it_writes_and_shows(self, cost, make_lead):
        lead = make_lead()["id"]
        update = 'updateLeads(ids: $i, input: {location: "Åre"})'
        query = f"mutation($i: [ID!]!) {{ {update} {{ lead {{ tasks(limit: 20) {{ id }} }} }} }}"
        assert await cost(query, i=[lead]) is None
        error = await cost(query, i=list(range(500)))
        assert error["extensions"]["cost"] == 500 + 500 * 20
        assert "records of `updateLeads` 500" in error["message"]

    async def test_each_object_in_the_results_of_many_has_a_price(self, cost):
        names = " ".join(f"e{number}: error {{ problems {{ reason }} }}" for number in range(6))
        query = f"mutation($i: [CreateLeadInput!]!) {{ createLeads(inputs: $i) {{ {names} }} }}"
        assert await cost(query, i=[{"firstName": " ", "lastName": "B"}] * 10) is None
        error = await cost(query, i=[{"firstName": " ", "lastName": "B"}] * 1000)
        assert error["extensions"]["cost"] == 1000 + 6 * 2 * 1000

    async def test_a_share_of_a_table_is_no_records_handful(self, cost):
        """What is a user's is counted, searched and ordered as a table is, for each row that leads to the user."""
        shown = "{ leads(limit: 11) { owner { %s } } }"
        for field, each in (
            ("openTaskCount", 501),
            ("tasks(limit: 1, orderBy: [{field: TITLE}]) { id }", 1001),
            ("leads(limit: 1, orderBy: [{field: LOCATION}]) { id }", 1001),
            ('tasks(limit: 1, filter: {or: [{title: {contains: "a"}}, {title: {contains: "b"}}]}) { id }', 501),
            ('leads(limit: 1, filter: {or: [{company: {contains: "a"}}, {company: {contains: "b"}}]}) { id }', 501),
        ):
            assert await cost(shown.replace("11", "9") % field) is None, field
            twice = f"{field} b: {field}"
            error = await cost(shown % twice)
            assert error["extensions"]["cost"] == 11 + 11 + 2 * 11 * each, field
        assert await cost("{ leads(limit: 1000) { owner { tasks(limit: 1) { id } } } }") is None

    async def test_statistics_cost_the_same_of_whatever(self, cost):
        for report in ("leadStats { count }", "aiTaskStatistics { total }"):
            query = "".join(f"a{number}: {report} " for number in range(12))
            assert (await cost(f"{{ {query} }}"))["extensions"]["cost"] >= 12_000, report

    async def test_the_error_says_what_costs_most(self, cost):
        error = await cost("{ leads(limit: 1000) { id tasks(limit: 5) { id } interactions(limit: 20) { id } } }")
        assert error["message"] == (
            "The operation may cost 26,000 points; at most 10,000 are allowed. Most of it: rows of "
            "`leads.interactions` 20,000, rows of `leads.tasks` 5,000, rows of `leads` 1,000. Lists multiply: lower "
            "the limit of `leads` from 1,000 to 384, give the lists inside it smaller limits, or select fewer of them."
        )

    @pytest.mark.parametrize(
        "query",
        [
            "{ me { id } leads(limit: %d) { id tasks { id } interactions { id } } }",
            "{ leads(limit: %d, orderBy: [{field: LOCATION}], filter: {id: {gt: 0}}) { tasks { title } } }",
            "{ page: leadsConnection(first: %d) { totalCount nodes { tasks { id } interactions { notes } } } }",
            "{ me { id } interactions(limit: %d) { lead { tasks { lead { tasks(limit: 5) { id } } } } } }",
        ],
    )
    async def test_the_error_names_the_largest_limit_that_is_allowed(self, cost, query):
        error = await cost(query % 1000)
        fitting = int(re.search(r"from 1,000 to ([0-9,]+), give", error["message"])[1].replace(",", ""))
        assert await cost(query % fitting) is None
        assert await cost(query % (fitting + 1)) is not None

    async def test_the_error_of_lists_without_limits_names_none(self, cost):
        error = await cost("{ leads { tasks { lead { tasks { lead { tasks { id } } } } } } }")
        assert error["message"].endswith("Lists multiply: give smaller limits, or select less at once.")

    async def test_a_kanban_fits(self, cost):
        """Six columns, each with its count, its first 50 cards, their owners, open tasks and last contact."""
        columns = " ".join(
            f"{status.lower()}: leadsConnection(first: 50, filter: {{status: {{eq: {status}}}}}, "
            "orderBy: [{field: ACTIVITY_SCORE, direction: DESC}]) { totalCount pageInfo { hasNextPage endCursor } "
            "edges { node { id fullName company budget owner { name } tasks { title } "
            "interactions(limit: 1) { occurredAt type } } } }"
            for status in ("NEW", "CONTACTED", "QUALIFIED", "PROPOSAL", "WON", "LOST")
        )
        assert await cost(f"{{ {columns} }}") is None

    async def test_counts_for_a_screen_of_saved_views_fit(self, cost):
        views = " ".join(
            f"a{number}: leadsConnection(first: 0, filter: {{status: {{eq: NEW}}, budget: {{gt: {number}}}}}) "
            "{ totalCount }"
            for number in range(12)
        )
        assert await cost(f"{{ {views} }}") is None


class TestInTheSchema:
    """`@listSize` and `@cost` say what the engine counts."""

    @pytest.fixture
    def priced(self, server, client, db):  # noqa: ARG002
        async def priced(query, **variables):
            headers = {"Authorization": f"Bearer {server.token()}", "X-Cost": "1"}
            body = {"query": query, "variables": variables}
            answer = (await client.post("/graphql", json=body, headers=headers)).json()
            return answer["extensions"]["cost"], answer

        return priced

    @pytest.mark.parametrize("root", LISTS, ids=lambda root: root.name.value)
    async def test_a_list_costs_its_assumed_size_and_its_weight(self, priced, root):
        size, weight = argument(root, "listSize", "assumedSize"), int(argument(root, "cost", "weight") or 0)
        pages = "nodes { __typename }" if print_ast(root.type).endswith("Connection!") else "__typename"
        cost, answer = await priced(f"{{ {root.name.value} {{ {pages} }} }}")
        assert "errors" not in answer
        assert cost == {"requested": int(size) + weight, "remaining": 10_000 - int(size) - weight}

    async def test_a_key_to_send_a_create_again_by_costs_its_weight(self, priced):
        query = """mutation($key: String) {
          createLead(input: {firstName: "A", lastName: "B"}, idempotencyKey: $key) { id }
        }"""
        weight = argument(of("Mutation", "createLead").arguments[0], "cost", "weight")
        assert [(await priced(query, key=key))[0]["requested"] for key in (None, "one")] == [1, 1 + int(weight)]

    async def test_what_stands_beside_a_list_costs_its_weight(self):
        leads = next(root for root in LISTS if root.name.value == "leads")
        order = next(one for one in leads.arguments if one.name.value == "orderBy")
        points = [
            argument(of("LeadConnection", "totalCount"), "cost", "weight"),
            argument(of("Lead", "fullName"), "cost", "weight"),
            argument(order, "cost", "weight"),
            argument(of("StringFilter", "contains"), "cost", "weight"),
            argument(of("TaskListFilter", "some"), "cost", "weight"),
            argument(of("IntFilter", "gt"), "cost", "weight"),
        ]
        assert points == ["500", "1", "1000", "250", "500", "25"]

    @pytest.mark.parametrize(
        ("filtered", "places"),
        [
            ('{search: "ab"}', ["LeadFilter.search"]),
            ('{search: " "}', []),
            ("{openTaskCount: {gt: 1}}", ["LeadFilter.openTaskCount", "IntFilter.gt"]),
            ("{tasks: {count: {gt: 1}}}", ["TaskListFilter.count", "TaskCountFilter.gt"]),
            (
                '{tasks: {count: {gt: 1, where: {title: {contains: "a"}}}}}',
                ["TaskListFilter.count", "TaskCountFilter.gt", "TaskCountFilter.where", "StringFilter.contains"],
            ),
            ('{tasks: {none: {title: {eq: "a"}}}}', ["TaskListFilter.none", "StringFilter.eq"]),
            ('{not: {owner: {name: {startsWith: "a"}}}}', ["LeadFilter.owner", "StringFilter.startsWith"]),
            ('{tags: {has: "a"}}', ["StringListFilter.has"]),
            ("{status: {eq: NEW}}", ["LeadStatusFilter.eq"]),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_a_filter_costs_the_weights_of_what_it_uses(self, priced, filtered, places):
        cost, answer = await priced(f"{{ leads(limit: 1, filter: {filtered}) {{ id }} }}")
        assert "errors" not in answer
        weights = [argument(of(*place.split(".")), "cost", "weight") for place in places]
        assert cost["requested"] == 1 + sum(map(int, weights))

    @pytest.mark.parametrize("field", ["openTaskCount", "tasks(limit: 0) { id }", "leads(limit: 0) { id }", "name"])
    async def test_a_field_costs_its_weight(self, priced, field):
        cost, _ = await priced(f"{{ me {{ {field} }} }}")
        assert cost["requested"] == 1 + int(argument(of("User", field.split("(")[0]), "cost", "weight") or 0)

    async def test_the_open_tasks_of_all_users_are_counted_as_one_table(self, priced, cost):
        """The users of a list differ, and so do their tasks: together they are no more than all tasks."""
        for users, points in (("users", 100 + 500 + 100), ("users(limit: 3)", 3 + 500 + 3), ("users(limit: 0)", 0)):
            assert (await priced(f"{{ {users} {{ openTaskCount }} }}"))[0]["requested"] == points
        assert (await priced("{ users { a: openTaskCount b: openTaskCount } }"))[0]["requested"] == 1300
        twice = await cost("{ leads(limit: 10) { owner { a: openTaskCount b: openTaskCount } } }")
        assert twice["extensions"]["cost"] == 10 + 10 + 2 * 10 * 501
        nodes = "query($ids: [ID!]!) { nodes(nodeIds: $ids) { ... on User { openTaskCount } } }"
        user = node_id("User", "01a20d63-1e06-7fb9-b1d8-f6eb69092bb3")
        assert (await cost(nodes, ids=[user] * 20))["extensions"]["cost"] > 20 * 500

    async def test_an_operation_that_costs_too_much_says_so_too(self, priced):
        cost, answer = await priced("{ leads(limit: 1000) { tasks(limit: 20) { id } } }")
        assert answer["errors"][0]["extensions"]["code"] == "TOO_COMPLEX"
        assert cost == {"requested": 21_000, "remaining": 0}

    async def test_a_mutation_has_a_cost_beside_its_warnings_and_errors(self, priced):
        cost, answer = await priced("mutation($id: Int!) { deleteLead(id: $id) { tasks { id } } }", id=999)
        assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        assert cost["requested"] == 1 + 10

    async def test_what_is_saved_is_answered_whatever_its_price_comes_to(self, database_url, db, viewers, roomy):
        """The price is worked out before the mutation runs, so that no error of it is the mutation's."""
        happened = []

        class Broken(Engine):
            async def coerced(self, *_):
                happened.append(db.execute("SELECT count(*) AS count FROM leads").fetchone()["count"])
                raise ZeroDivisionError

        database = Database(database_url, size=2)
        engine = Broken(schema, database, roomy)
        query = 'mutation { createLead(input: {firstName: "A", lastName: "B"}) { firstName } }'
        answer = await run_priced(engine, Request(query), viewers["admin"])
        database.close()
        assert json.loads(answer.body) == {"data": {"createLead": {"firstName": "A"}}}
        assert happened == [0]

    async def test_nothing_is_said_unasked_or_of_what_cannot_be_read(self, graphql, server, client):
        assert set(await graphql("{ leads { id } }")) == {"leads"}
        headers = {"Authorization": f"Bearer {server.token()}", "X-Cost": "1"}
        assert "extensions" not in (await client.post("/graphql", json={"query": "{"}, headers=headers)).json()


def test_cost_stands_beside_warnings():
    warned = answers.succeeded([("a", b"1")], (), [{"code": "AI_UNAVAILABLE"}])
    assert json.loads(answers.with_cost(warned, 7, 10).body) == {
        "data": {"a": 1},
        "extensions": {"warnings": [{"code": "AI_UNAVAILABLE"}], "cost": {"requested": 7, "remaining": 3}},
    }
