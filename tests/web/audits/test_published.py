"""GraphQL over HTTP, frozen for September2026, sentence by sentence: what servers MUST and SHOULD do.

https://github.com/graphql/graphql-over-http/blob/main/spec/GraphQLOverHTTP.md; where we do otherwise, and why, is in
docs/decisions/0032-statuses-by-media-type.md.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.http_client import Client

ROOT = Path(__file__).parents[3]
MODERN, PLAIN = "application/graphql-response+json", "application/json"
UTF8 = f"{MODERN}; charset=utf-8"
CREATE = 'mutation { createLead(input: {firstName: "Åsa", lastName: "Ek"}) { id } }'
NOTHING = "mutation { deleteLead(id: 404) { id } }"
TYPENAME = '{"query": "{ __typename }"}'


class Row(NamedTuple):
    """One sentence of the text, a request that it is about, and what the answer is."""

    sentence: str
    status: int
    body: str | None = TYPENAME
    method: str = "POST"
    address: dict[str, str] | None = None
    headers: dict[str, str | None] = {}  # noqa: RUF012  (nobody changes it)
    type: str = UTF8
    answer: dict[str, Any] | None = None
    has_data: bool = False


def posted(sentence: str, status: int, query: str, *, has_data: bool = False, **variables: Any) -> Row:
    return Row(sentence, status, json.dumps({"query": query, "variables": variables}), has_data=has_data)


def asked(sentence: str, status: int, answer: dict[str, Any] | None = None, **address: str) -> Row:
    return Row(sentence, status, None, "GET", address, answer=answer, has_data=status < 300)


ROOT_TYPE = {"data": {"__typename": "Query"}}
ROWS = [
    Row("MUST enable GraphQL requests to one or more GraphQL schemas", 200, answer=ROOT_TYPE, has_data=True),
    Row("SHOULD use the relevant 4xx where it requires authentication", 401, headers={"Authorization": None}),
    Row(
        "MUST assume utf-8 where a Content-Type does not say the encoding",
        294,
        json.dumps(
            {"query": 'mutation { createTask(input: {leadId: 404, title: "Ring Åsa"}) { id } }'}, ensure_ascii=False
        ),
        has_data=True,
    ),
    Row("MUST accept POST requests", 200, answer=ROOT_TYPE, has_data=True),
    asked("MUST read the parameters of a GET from the address", 200, ROOT_TYPE, query="{ __typename }"),
    asked(
        "MUST read variables of a GET as JSON",
        200,
        {"data": {"lead": None}},
        query="query($id: Int!) { lead(id: $id) { id } }",
        variables='{"id": 404}',
    ),
    asked(
        "takes an empty optional parameter as one that is not there",
        200,
        ROOT_TYPE,
        query="{ __typename }",
        operationName="",
        variables="",
        extensions="",
    ),
    asked(
        "takes operationName=null as the operation of that name",
        200,
        ROOT_TYPE,
        query="query null { __typename } query b { __typename }",
        operationName="null",
    ),
    asked("MUST answer a mutation by GET with a 4xx; 405 is RECOMMENDED", 405, query=CREATE),
    asked(
        "MUST answer the chosen operation of a GET, if it is a mutation, with a 4xx",
        405,
        query=f"query A {{ __typename }} {CREATE.replace('mutation', 'mutation B')}",
        operationName="B",
    ),
    Row(
        "MUST support POST with application/json in UTF-8",
        200,
        headers={"Content-Type": f"{PLAIN}; charset=utf-8"},
        answer=ROOT_TYPE,
        has_data=True,
    ),
    Row("SHOULD reject a POST without a Content-Type by a 4xx", 415, headers={"Content-Type": None}),
    Row(
        "MUST ignore properties that it does not understand",
        200,
        '{"query": "{ __typename }", "id": 5, "x": {}}',
        answer=ROOT_TYPE,
        has_data=True,
    ),
    Row(
        "takes null for an optional parameter as none",
        200,
        '{"query": "{ __typename }", "variables": null, "operationName": null, "extensions": null}',
        answer=ROOT_TYPE,
        has_data=True,
    ),
    Row("takes a map of extensions", 200, '{"query": "{ __typename }", "extensions": {"a": 1}}', has_data=True),
    Row("MUST support application/graphql-response+json", 200, headers={"Accept": MODERN}, has_data=True),
    Row(
        "MUST attempt the type of the highest priority",
        200,
        headers={"Accept": f"{PLAIN}, {MODERN};q=0.9"},
        type=f"{PLAIN}; charset=utf-8",
        has_data=True,
    ),
    Row(
        "MUST attempt the type of the highest priority, wherever it stands",
        200,
        headers={"Accept": f"text/html, {PLAIN};q=0.8, {MODERN};q=0.9"},
        has_data=True,
    ),
    Row(
        "SHOULD answer 406 where no type is acceptable",
        406,
        headers={"Accept": "image/png"},
        type=f"{PLAIN}; charset=utf-8",
    ),
    Row(
        "SHOULD send a legacy client a 2xx as application/json",
        200,
        headers={"Accept": PLAIN},
        type=f"{PLAIN}; charset=utf-8",
        has_data=True,
    ),
    Row(
        "SHOULD send a legacy client any other status as application/graphql-response+json",
        401,
        headers={"Accept": PLAIN, "Authorization": None},
    ),
    posted("SHOULD reply 200 to data without errors", 200, "{ leads { id } }", has_data=True),
    posted("SHOULD reply 294 to errors with data that is null", 294, NOTHING, has_data=True),
    Row("SHOULD answer 405 to another method", 405, method="PUT"),
    Row("SHOULD answer 415 to another Content-Type", 415, headers={"Content-Type": "text/plain"}),
    Row(
        "SHOULD answer 413 to a body that is too large", 413, json.dumps({"query": "{ __typename }" + " " * 3_000_000})
    ),
    Row("SHOULD answer 400 to a body that is not JSON", 400, "NONSENSE"),
    Row("SHOULD answer 400 to half of JSON", 400, '{"query":'),
    Row("SHOULD answer 422 to what is no request: a misspelt parameter", 422, '{"qeury": "{ __typename }"}'),
    Row(
        "SHOULD answer 422 to what is no request: variables of another type",
        422,
        '{"query": "{ __typename }", "variables": [7]}',
    ),
    Row("SHOULD answer 422 to what is no request: a list", 422, f"[{TYPENAME}]"),
    asked("SHOULD answer 422 to variables in an address that are no JSON", 422, query="{ __typename }", variables="{"),
    posted("SHOULD answer 400 to a document that cannot be parsed", 400, "{"),
    posted("SHOULD answer 422 to a document that is not valid", 422, "{ nope }"),
    posted(
        "SHOULD apply the specification's rules: fragments are used", 422, "{ me { id } } fragment F on Lead { id }"
    ),
    posted(
        "SHOULD answer 422 where the operation cannot be determined", 422, "query A { me { id } } query B { me { id } }"
    ),
    posted("SHOULD answer 422 to variables that do not fit", 422, "query($id: Int!) { lead(id: $id) { id } }", id="x"),
    posted("MAY apply rules of its own: SHOULD answer 422", 422, "{ leads(limit: 1000) { tasks(limit: 100) { id } } }"),
]
# What these sentences need is made in other tests.
ELSEWHERE = {
    "SHOULD answer 403 to a client that is not permitted": (
        "tests/web/graphql/test_http.py",
        "test_other_pages_may_not",
    ),
    "SHOULD answer 408 to a request that did not come in time": (
        "tests/web/graphql/test_http.py",
        "test_half_a_body_does_not_wait_for_ever",
    ),
    "SHOULD answer 414 to an address that is too long": ("tests/web/protocol/hostile.py", "an address of 70 KB"),
    "SHOULD answer 431 to headers that are too large": ("tests/web/protocol/hostile.py", "a head of 70 KB"),
    "SHOULD answer 503 while it cannot execute": (
        "tests/web/graphql/test_http.py",
        "test_the_pool_is_whole_afterwards",
    ),
}


@pytest.fixture(scope="module")
def http(server):
    with Client(base_url=server.url, timeout=30) as client:
        client.headers.clear()
        yield client


@pytest.mark.usefixtures("db")
class TestPublishedText:
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row.sentence)
    def test_is_followed(self, http, server, row):
        headers = {"Authorization": f"Bearer {server.token()}", "Accept": MODERN, "Content-Type": PLAIN, **row.headers}
        request = http.build_request(
            row.method,
            "/graphql",
            params=row.address,
            content=row.body.encode() if row.body is not None else None,
            headers={name: value for name, value in headers.items() if value is not None},
        )
        response = http.send(request)
        answer = response.json()
        assert (response.status_code, response.headers["content-type"]) == (row.status, row.type), answer
        assert ("data" in answer) == row.has_data
        assert row.answer in (None, answer)
        assert ("allow" in response.headers) == (row.status == 405)

    def test_a_mutation_by_get_is_not_executed(self, http, server, db):
        headers = {"Authorization": f"Bearer {server.token()}", "Accept": MODERN}
        http.get("/graphql", params={"query": CREATE}, headers=headers)
        assert db.execute("SELECT count(*) AS leads FROM leads").fetchone()["leads"] == 0

    @pytest.mark.parametrize("sentence", ELSEWHERE)
    def test_is_tested_elsewhere(self, sentence):
        file, name = ELSEWHERE[sentence]
        assert name in (ROOT / file).read_text()
