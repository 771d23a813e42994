"""Ids that are numbers: their text is as good, in arguments, inputs and filters; and old documents stay valid."""

import pytest

from tests.graph.asking import answer, data


@pytest.fixture
def lead(db, make_lead):  # noqa: ARG001  (its number depends on the tables being empty)
    return make_lead(first_name="Åsa", last_name="Ek")


class TestBothSpellings:
    @pytest.mark.parametrize("spelled", [int, str])
    async def test_arguments_inputs_and_filters(self, graphql, lead, spelled):
        key = spelled(lead["id"])
        made = await graphql(
            """mutation($id: ID!) {
                createTask(input: {leadId: $id, title: "A"}) { id leadId }
                logInteraction(input: {leadId: $id, type: CALL}) { id leadId }
                updateLead(id: $id, input: {company: "B"}) { company }
                requestSummary(leadId: $id) { leadId }
            }""",
            id=key,
        )
        assert made["createTask"]["leadId"] == made["requestSummary"]["leadId"] == lead["id"]
        assert made["updateLead"] == {"company": "B"}
        found = await graphql(
            """query($id: ID!, $interaction: ID!) {
                leads(filter: {id: {eq: $id}, tasks: {some: {leadId: {in: [$id]}}}}) { fullName }
                leadBy(input: {id: $id}) { fullName }
                interaction(id: $interaction) { leadId }
                aiTasks(filter: {leadId: {eq: $id}}) { leadId }
            }""",
            id=key,
            interaction=spelled(made["logInteraction"]["id"]),
        )
        assert found["leads"] == [found["leadBy"]] == [{"fullName": "Åsa Ek"}]
        assert found["interaction"] == found["aiTasks"][0] == {"leadId": lead["id"]}

    async def test_literals(self, graphql, lead):
        found = await graphql(
            f'{{ a: leadBy(input: {{id: {lead["id"]}}}) {{ id }} b: leadBy(input: {{id: "{lead["id"]}"}}) {{ id }} }}'
        )
        assert found["a"] == found["b"] == {"id": str(lead["id"])}

    async def test_a_cursor_is_good_for_either(self, graphql, lead, make_task):
        for _ in range(3):
            make_task(lead_id=lead["id"])
        query = """query($id: ID!, $after: String) {
            tasksConnection(filter: {leadId: {eq: $id}}, first: 1, after: $after) {
                pageInfo { endCursor } nodes { id }
            }
        }"""
        first = (await graphql(query, id=lead["id"]))["tasksConnection"]
        second = (await graphql(query, id=str(lead["id"]), after=first["pageInfo"]["endCursor"]))["tasksConnection"]
        assert int(second["nodes"][0]["id"]) == int(first["nodes"][0]["id"]) - 1


class TestOldDocuments:
    async def test_variables_of_the_older_types_stay_valid(self, graphql, lead):
        made = await graphql(
            """mutation($id: Int!, $input: CreateTaskInput!) {
                createTask(input: {leadId: $id, title: "A"}) { leadId }
                more: createTask(input: $input) { leadId }
                deleteLead(id: $id) { id }
                restoreLead(id: $id) { id }
            }""",
            id=lead["id"],
            input={"leadId": lead["id"], "title": "B"},
        )
        assert made["createTask"] == made["more"] == {"leadId": lead["id"]}
        found = await graphql(
            """query($id: Int!, $ids: [Int!], $where: IntFilter, $gte: Int = 1) {
                a: leads(filter: {id: {eq: $id}}) { id } b: leads(filter: {id: {in: $ids, gte: $gte}}) { id }
                c: leads(filter: {id: $where}) { id } d: leadBy(input: {id: $id}) { id }
            }""",
            id=lead["id"],
            ids=[lead["id"]],
            where={"eq": lead["id"]},
        )
        assert found["a"] == found["b"] == found["c"] == [found["d"]] == [{"id": str(lead["id"])}]

    @pytest.mark.parametrize(
        "query",
        [
            "query($id: Int!) { aiTask(id: $id) { id } }",
            "query($id: Int!) { node(nodeId: $id) { nodeId } }",
            "query($id: Int!) { leads(filter: {ownerId: {eq: $id}}) { id } }",
            'mutation($id: Int!) { createLead(input: {firstName: "A", lastName: "B", ownerId: $id}) { id } }',
            "mutation($id: Int!) { disableUser(id: $id) { id } }",
        ],
    )
    async def test_where_no_number_is_an_id_it_is_refused(self, refused, query):
        assert (await refused(query, id=7))["code"] == "BAD_USER_INPUT"

    async def test_the_fixed_arguments_take_numbers_only(self, engine, viewers):
        for query in ("query($id: ID!) { lead(id: $id) { id } }", "query($id: Int!) { lead(id: $id) { id } }"):
            found = await answer(engine, viewers["viewer"], query, {"id": "1"})
            assert found["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
            assert ("leadBy(input: {id: $id})" in found["errors"][0]["message"]) == ("ID!" in query)
        found = await answer(engine, viewers["viewer"], "query($id: ID!) { leads(limit: $id) { id } }", {"id": "1"})
        assert "leadBy" not in found["errors"][0]["message"]

    async def test_an_optional_variable_stands_where_null_may(self, engine, viewers):
        query = "query($id: Int) { interaction(id: $id) { id } }"
        found = await answer(engine, viewers["viewer"], query, {"id": 1})
        assert "used in position expecting type 'ID!'" in found["errors"][0]["message"]
        assert await data(engine, viewers["viewer"], query.replace("Int)", "Int = 0)"), {}) == {"interaction": None}


class TestRefused:
    async def test_what_is_no_number(self, refused):
        texts = ["", "x", "-", "+1", "1 2", "1.0", "1e3", "٣", "99999999999", "2147483648", "1\x00"]
        for query, field in (
            ('mutation($id: ID!) { createTask(input: {leadId: $id, title: "A"}) { id } }', "leadId"),
            ("mutation($id: ID!) { deleteLead(id: $id) { id } }", "id"),
            ("query($id: ID!) { leads(filter: {id: {in: [1, $id]}}) { id } }", "filter.id.in.1"),
            ("query($id: ID!) { leadBy(input: {id: $id}) { id } }", "id"),
        ):
            for text in texts:
                error = await refused(query, id=text)
                assert (error["code"], error["field"]) == ("BAD_USER_INPUT", field), (query, text)


class TestGiven:
    async def test_the_lead_with_the_address_is_named_by_an_id(self, graphql):
        inputs = [{"firstName": "A", "lastName": "B", "email": "a@example.com"}] * 2
        query = """mutation($inputs: [CreateLeadInput!]!) {
            createLeads(inputs: $inputs) { lead { id } existingId duplicateOfId }
        }"""
        first, second = (await graphql(query, inputs=inputs))["createLeads"]
        assert first["existingId"] is None
        assert second == {"lead": None, "existingId": first["lead"]["id"], "duplicateOfId": int(first["lead"]["id"])}
