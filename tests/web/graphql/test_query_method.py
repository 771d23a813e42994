"""The method QUERY (RFC 10008): a query in the body, safe, and not sent again to whoever has its answer."""

import pytest

MODERN = "application/graphql-response+json"
NAMES = {"query": "query($n: Int) { leads(limit: $n) { firstName } }", "variables": {"n": 5}}
CREATE = {"query": 'mutation { createLead(input: {firstName: "Åsa", lastName: "Ek"}) { id } }'}


@pytest.fixture
def query(client):
    async def run(body, **headers):
        headers = {"Accept": MODERN, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await client.request("QUERY", "/graphql", json=body, headers=headers)

    return run


class TestQueryMethod:
    async def test_answers_a_query_in_the_body(self, query, make_lead):
        make_lead(first_name="Åsa")
        response = await query(NAMES)
        assert (response.status_code, response.json()) == (200, {"data": {"leads": [{"firstName": "Åsa"}]}})
        assert response.headers["content-type"] == f"{MODERN}; charset=utf-8"

    async def test_is_not_sent_again_until_it_changes(self, query, make_lead):
        make_lead()
        first = await query(NAMES)
        tag = first.headers["etag"]
        assert first.headers["cache-control"] == "private, no-cache"
        assert {"accept", "authorization"} <= set(first.headers["vary"].split(", "))
        again = await query(NAMES, if_none_match=f'"other", {tag}')
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == "private, no-cache"
        assert "content-type" not in again.headers
        make_lead()
        changed = await query(NAMES, if_none_match=tag)
        assert changed.status_code == 200
        assert changed.headers["etag"] != tag
        assert len(changed.json()["data"]["leads"]) == 2

    async def test_the_connection_goes_on_after_304(self, query, db):  # noqa: ARG002
        tag = (await query(NAMES)).headers["etag"]
        for _ in range(3):
            assert (await query(NAMES, if_none_match=tag)).status_code == 304
            assert (await query(NAMES)).json() == {"data": {"leads": []}}

    @pytest.mark.parametrize("accept", [MODERN, "application/json", "*/*"])
    async def test_refuses_a_mutation(self, query, db, accept):
        response = await query(CREATE, accept=accept)
        assert response.status_code == 422
        assert response.json()["errors"][0]["extensions"]["code"] == "METHOD_NOT_ALLOWED"
        assert "etag" not in response.headers
        assert response.headers["cache-control"] == "no-store"
        assert db.execute("SELECT count(*) AS leads FROM leads").fetchone()["leads"] == 0

    async def test_a_failure_has_no_tag(self, query, db):
        db.execute("INSERT INTO leads (first_name, last_name) SELECT 'a', 'b' FROM generate_series(1, 1001)")
        for body in ({"query": "{ leads { id } }"}, {"query": "{ nope }"}):
            for accept, statuses in ((MODERN, {294, 422}), ("*/*", {200})):
                response = await query(body, accept=accept)
                assert response.status_code in statuses
                assert "etag" not in response.headers

    @pytest.mark.parametrize(("kind", "status"), [("text/plain", 415), ("application/graphql", 415)])
    async def test_takes_json_alone_and_says_so(self, client, kind, status):
        response = await client.request("QUERY", "/graphql", content=b"{}", headers={"Content-Type": kind})
        assert (response.status_code, response.headers["accept-query"]) == (status, "application/json")

    async def test_large_bodies_are_read_in_turns_too(self, query, db):  # noqa: ARG002
        many = {"f": {"company": {"in": [f"A company of number {number}" for number in range(1000)]}}}
        text = "query($f: LeadFilter) { leads(filter: $f) { id } }"
        assert (await query({"query": text, "variables": many})).json() == {"data": {"leads": []}}
        refused = await query({**CREATE, "variables": {"x": "x" * 20_000}})
        assert refused.status_code == 422

    async def test_with_a_slash_too_many(self, client):
        response = await client.request("QUERY", "/graphql/", json=NAMES)
        assert (response.status_code, response.headers["location"]) == (308, "/graphql")
