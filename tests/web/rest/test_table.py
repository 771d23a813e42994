"""The table: what is in it fits the schema, or the program does not start."""

import pytest

from crm.core.settings import Settings
from crm.db.database import Database
from crm.graph.run.engine import Engine
from crm.graph.run.stored_operations import StoredOperation, StoredOperations
from crm.schema import schema
from crm.web.rest.endpoint import BoundCall, Endpoint
from crm.web.rest.table import ENDPOINTS

PROMISED = """
POST /api/ai/tasks
GET /api/ai/tasks
GET /api/ai/tasks/{id}
PUT /api/ai/tasks/{id}/cancel
POST /api/ai/tasks/{id}/retry
GET /api/ai/tasks/{id}/retry
GET /api/ai/tasks/queue/status
POST /api/ai/tasks/batch
GET /api/ai/tasks/statistics/summary
POST /api/ai/tasks/cleanup/old
POST /api/ai/tasks/cleanup/timeout-stale
GET /api/ai/tasks/health
"""


@pytest.fixture
async def engine(database_url):
    database = Database(database_url, size=1)
    yield Engine(schema, database, Settings())
    database.close()


def endpoint(text, method="GET", path="/api/leads/{id}", **more):
    return Endpoint(method, path, StoredOperation("Found", text), **more)


class TestTable:
    def test_has_every_address_that_was_promised(self):
        assert sorted(f"{one.method} {one.path}" for one in ENDPOINTS) == sorted(PROMISED.split("\n")[1:-1])

    @pytest.mark.parametrize("one", ENDPOINTS, ids=lambda one: f"{one.method} {one.path}")
    async def test_fits_the_schema(self, engine, one):
        bound = BoundCall.of(one, engine)
        assert bound.endpoint.shown or bound.checked.root

    async def test_a_field_that_is_not_there_is_found_at_the_start(self, engine):
        with pytest.raises(ValueError, match=r"Found does not fit the schema: Cannot query field 'nmae'"):
            BoundCall.of(endpoint("query Found($id: Int!) { lead(id: $id) { nmae } }"), engine)

    async def test_a_place_without_a_variable_is_found(self, engine):
        with pytest.raises(ValueError, match=r"GET /api/leads/\{id\}: Found takes no \$id"):
            BoundCall.of(endpoint("query Found { leads { id } }"), engine)

    async def test_a_variable_that_no_address_can_hold_is_found(self, engine):
        text = "query Found($id: Int!, $filter: LeadFilter) { lead(id: $id) { id } leads(filter: $filter) { id } }"
        with pytest.raises(ValueError, match=r"\$filter cannot be given in an address"):
            BoundCall.of(endpoint(text), engine)

    async def test_a_body_that_is_not_all_is_found(self, engine):
        text = (
            "mutation Found($a: CreateLeadInput!, $b: Int!) { createLead(input: $a) { id } deleteLead(id: $b) { id } }"
        )
        with pytest.raises(ValueError, match=r"the body is to be \$a"):
            BoundCall.of(endpoint(text, "POST", "/api/leads", body="a"), engine)

    @pytest.mark.parametrize(
        "text",
        [
            "query Found { leads { id } }",
            "query Found($limit: Int, $offset: Int) { leads(limit: $limit, offset: $offset) { id } }",
        ],
    )
    async def test_pages_that_nobody_can_count_are_found(self, engine, text):
        with pytest.raises(ValueError, match=r"pages need \$limit and \$offset, with defaults"):
            BoundCall.of(endpoint(text, path="/api/leads", paged=True), engine)

    async def test_an_answer_for_everybody_that_takes_something_is_found(self, engine):
        text = "query Found($id: Int!) { lead(id: $id) { id } }"
        with pytest.raises(ValueError, match=r"an answer for everybody takes no variables"):
            BoundCall.of(endpoint(text, shown=lambda *_: None), engine)

    async def test_a_file_gives_each_operation_what_it_needs_and_no_more(self, tmp_path):
        file = tmp_path / "two.graphql"
        file.write_text(
            "fragment One on Lead { id } fragment Two on Lead { company } "
            "query A { leads { ...One } } query B { leads { ...Two } }"
        )
        found = StoredOperations.read(file)
        assert set(found) == {"A", "B"}
        assert "Two" not in found["A"].text
        assert "Two" in found["B"].text
