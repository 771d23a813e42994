"""What is refused before it becomes a task, and how a mistake is told."""

import json

import pytest

CREATE = "mutation($input: CreateAiTaskInput!) { createAiTask(input: $input) { id leadId input } }"
MANY = "mutation($inputs: [CreateAiTaskInput!]!) { createAiTasks(inputs: $inputs) { id } }"
ECHO = {"taskType": "echo"}


@pytest.fixture
def error_of(graphql):
    async def run(query, **variables):
        answer = await graphql(query, expect_errors=True, **variables)
        return {"message": answer["errors"][0]["message"], **answer["errors"][0]["extensions"]}

    return run


class TestBatch:
    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"maxRetries": 99}, "inputs.2.maxRetries"),
            ({"taskType": "nonsense"}, "inputs.2.taskType"),
            ({"input": {"nonsense": 1}}, "inputs.2.input.nonsense"),
            ({"input": {"message": "x" * 70_000}}, "inputs.2.input"),
            ({"taskType": "lead_summary"}, "inputs.2.leadId"),
            ({"leadId": 999_999}, "inputs.2.leadId"),
            ({"scheduledFor": "2190-01-01T00:00:00Z"}, "inputs.2.scheduledFor"),
        ],
    )
    async def test_an_error_says_which_one(self, error_of, db, wrong, field):
        error = await error_of(MANY, inputs=[ECHO, ECHO, {**ECHO, **wrong}])
        assert error["field"] == field
        assert not db.execute("SELECT FROM ai_tasks").fetchall()

    async def test_a_single_ones_says_it_without(self, error_of):
        assert (await error_of(CREATE, input={**ECHO, "maxRetries": 99}))["field"] == "maxRetries"
        assert (await error_of(CREATE, input={**ECHO, "input": {"nonsense": 1}}))["field"] == "input.nonsense"
        assert (await error_of(CREATE, input={**ECHO, "leadId": 999_999}))["field"] == "leadId"

    async def test_may_be_larger_than_other_requests(self, graphql, client):
        inputs = [{**ECHO, "input": {"message": "x" * 9_000}} for _ in range(100)]
        assert len((await graphql(MANY, inputs=inputs))["createAiTasks"]) == 100
        answer = await client.post("/api/ai/tasks/batch", json={"inputs": inputs})
        assert (answer.status_code, len(answer.json())) == (201, 100)
        assert (await client.post("/api/ai/tasks", json={**inputs[0], "x": "x" * 300_000})).status_code == 413

    async def test_costs_what_it_does(self, error_of):
        """A request is no way around the limit of a hundred."""
        fields = " ".join(f"t{n}: createAiTasks(inputs: $inputs) {{ id }}" for n in range(6))
        error = await error_of(f"mutation($inputs: [CreateAiTaskInput!]!) {{ {fields} }}", inputs=[ECHO] * 100)
        assert (error["code"], error["what"]) == ("TOO_COMPLEX", "cost")


class TestText:
    @pytest.mark.parametrize("unfit", ["\x00", "a\x00b", "\ud800"])
    async def test_that_cannot_be_kept_names_its_field(self, client, unfit):
        body = json.dumps({"query": CREATE, "variables": {"input": {**ECHO, "input": {"message": unfit}}}})
        answer = await client.post("/graphql", content=body, headers={"content-type": "application/json"})
        error = answer.json()["errors"][0]["extensions"]
        assert (error["code"], error["field"]) == ("BAD_USER_INPUT", "input.message")

    @pytest.mark.parametrize("seconds", ["1", True, [1]])
    async def test_is_no_number(self, error_of, seconds):
        assert (await error_of(CREATE, input={**ECHO, "input": {"seconds": seconds}}))["field"] == "input.seconds"


class TestIdempotencyKey:
    async def test_stands_for_all_that_was_asked_for(self, graphql, error_of, make_lead):
        one, two = make_lead()["id"], make_lead()["id"]
        asked = {"taskType": "lead_summary", "leadId": one, "idempotencyKey": "k"}
        first = (await graphql(CREATE, input=asked))["createAiTask"]
        assert (await graphql(CREATE, input=asked))["createAiTask"] == first
        for other in ({"leadId": two}, {"priority": "URGENT"}, {"maxRetries": 0}, {"agentId": "b"}):
            error = await error_of(CREATE, input={**asked, **other})
            assert (error["code"], error["field"], error["existingId"]) == ("CONFLICT", "idempotencyKey", first["id"])

    async def test_does_not_mind_a_default_that_is_spelled_out(self, graphql):
        asked = {**ECHO, "input": {"message": "a"}, "idempotencyKey": "k"}
        first = (await graphql(CREATE, input=asked))["createAiTask"]
        asked["input"] = {"message": "a", "seconds": 0}
        assert (await graphql(CREATE, input=asked))["createAiTask"]["id"] == first["id"]

    @pytest.mark.parametrize("default", [{"maxRetries": 3}, {"timeoutSeconds": 60}, {"priority": "NORMAL"}])
    async def test_does_not_mind_a_default_of_the_task_that_is_spelled_out(self, graphql, default):
        for key, first, again in ("k", {}, default), ("l", default, {}):
            asked = {**ECHO, "idempotencyKey": key}
            task = (await graphql(CREATE, input={**asked, **first}))["createAiTask"]
            assert (await graphql(CREATE, input={**asked, **again}))["createAiTask"]["id"] == task["id"]

    async def test_works_when_its_lead_is_gone(self, graphql, make_lead):
        lead = make_lead()["id"]
        asked = {"taskType": "lead_summary", "leadId": lead, "idempotencyKey": "k"}
        first = (await graphql(CREATE, input=asked))["createAiTask"]
        await graphql("mutation($id: Int!) { deleteLead(id: $id) { id } }", id=lead)
        assert (await graphql(CREATE, input=asked))["createAiTask"]["id"] == first["id"]

    async def test_in_a_batch_says_which(self, graphql, error_of):
        await graphql(CREATE, input={**ECHO, "idempotencyKey": "k"})
        error = await error_of(MANY, inputs=[ECHO, {**ECHO, "idempotencyKey": "k", "priority": "LOW"}])
        assert error["field"] == "inputs.1.idempotencyKey"


class TestNumbersBeyondTheirType:
    @pytest.mark.parametrize("score", ["1e400", "99999999999999999999", "-1e999"])
    async def test_in_a_document_are_refused_clearly(self, error_of, score):
        key = "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"
        error = await error_of(f'mutation {{ rateAiTask(id: "{key}", score: {score}) {{ id }} }}')
        assert error["code"] in {"BAD_USER_INPUT", "NOT_FOUND"}
        assert error["code"] == "NOT_FOUND" or error["field"] == "score"


class TestCancelMany:
    @pytest.mark.parametrize("nothing", [{}, {"status": None}])
    async def test_wants_to_know_which(self, error_of, graphql, db, nothing):
        await graphql(CREATE, input=ECHO)
        error = await error_of("mutation($f: AiTaskFilter!) { cancelAiTasks(filter: $f) { id } }", f=nothing)
        assert (error["code"], error["field"]) == ("BAD_USER_INPUT", "filter")
        assert db.execute("SELECT status FROM ai_tasks").fetchone()["status"] == "queued"
