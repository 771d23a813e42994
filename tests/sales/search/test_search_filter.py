"""A search as a filter of leads, beside other conditions, and its relevance as an order."""

import pytest

from tests.support.plans import statement

LIST = "query($filter: LeadFilter, $order: [LeadOrder!]) { leads(filter: $filter, orderBy: $order) { id } }"
PAGE = """query($filter: LeadFilter, $order: [LeadOrder!], $after: String) {
  leadsConnection(filter: $filter, orderBy: $order, first: 1, after: $after) {
    totalCount nodes { id } pageInfo { hasNextPage endCursor }
  }
}"""
SEARCH = "query($text: String!) { search(text: $text, kinds: [LEAD]) { score lead { id } } }"
BEST_FIRST = [{"field": "RELEVANCE", "direction": "DESC"}]


@pytest.fixture
def ids(graphql):
    async def run(where, order=None):
        return [int(lead["id"]) for lead in (await graphql(LIST, filter=where, order=order))["leads"]]

    return run


class TestAFilter:
    @pytest.mark.parametrize(
        "text",
        ["nicola men", "MEN nicola", "mendes", "nicola@", "nicola@acme.example", "acme.example", "+46 70-123 45 67"],
    )
    async def test_finds_what_a_search_finds(self, ids, make_lead, text):
        found = make_lead(first_name="Nicola", last_name="Mendes", email="Nicola@acme.example", phone="070 123 45 67")[
            "id"
        ]
        make_lead(first_name="Nicola", last_name="Berg", deleted=True)
        make_lead(first_name="Nils", last_name="Berg")
        assert await ids({"search": text}) == [found]

    async def test_goes_with_other_conditions(self, ids, graphql, make_lead, make_task):
        new, won, other = (
            make_lead(first_name="Nicola", last_name=name, status=status)["id"]
            for name, status in (("Mendes", "new"), ("Menuhin", "won"), ("Berg", "new"))
        )
        assert await ids({"search": "nicola men", "status": {"in": ["NEW"]}}) == [new]
        assert await ids({"search": "nicola", "not": {"search": "berg"}}) == [won, new]
        assert await ids({"or": [{"search": "menuhin"}, {"fullName": {"eq": "Nicola Berg"}}]}) == [other, won]
        make_task(lead_id=won, title="Call")
        query = 'query { tasks(filter: {lead: {search: "menuhin"}}) { title } }'
        assert (await graphql(query))["tasks"] == [{"title": "Call"}]

    @pytest.mark.parametrize("text", [None, "", " ", "\u3000\n"])
    async def test_is_none_while_the_search_box_is_empty(self, ids, graphql, make_lead, make_task, text):
        new, won = (make_lead(first_name=status, last_name="Ek", status=status)["id"] for status in ("new", "won"))
        make_task(lead_id=won, title="Call")
        assert await ids({"search": text}) == [won, new]
        assert await ids({"search": text, "status": {"eq": "NEW"}}) == [new]
        assert await ids({"not": {"search": text}}) == await ids({"not": {}})
        query = """query($text: String) {
          tasks(filter: {lead: {search: $text}}) { title } leadStats(filter: {search: $text}) { count }
        }"""
        assert await graphql(query, text=text) == {"tasks": [{"title": "Call"}], "leadStats": [{"count": 2}]}

    async def test_is_not_in_the_statement_while_the_search_box_is_empty(self, database_url):
        texts = [(await statement(database_url, LIST, {"filter": {"search": text}}))[0] for text in ("ab", " ", None)]
        assert ["crm_query" in text for text in texts] == [True, False, False]
        assert texts[1] == texts[2]

    @pytest.mark.parametrize("text", ["a", " a ", "a" * 201])
    async def test_refuses_what_a_search_refuses(self, graphql, text):
        for where in ({"search": text}, {"and": [{"search": text}]}):
            [error] = (await graphql(LIST, expect_errors=True, filter=where))["errors"]
            assert error["extensions"]["code"] == "BAD_USER_INPUT"
            assert error["extensions"]["field"].endswith(".search")


class TestRelevance:
    async def test_orders_as_hits_are(self, ids, graphql, make_lead):
        for first, last, company, email in (
            ("Annabelle", "Bergman", None, None),
            ("Bo", "Ek", "Anna Berg AB", None),
            ("Anna", "Berg", None, None),
            ("Cia", "Dahl", None, "anna@berg.example"),
        ):
            make_lead(first_name=first, last_name=last, company=company, email=email)
        hits = [int(hit["lead"]["id"]) for hit in (await graphql(SEARCH, text="anna berg"))["search"]]
        assert await ids({"search": "anna berg"}, BEST_FIRST) == hits
        assert await ids({"search": "anna berg"}, [{"field": "RELEVANCE"}]) == hits[::-1]

    async def test_pages(self, graphql, make_lead):
        """A whole word, then what begins so, the newest first."""
        whole, *beginnings = (make_lead(first_name=name, last_name="Ek")["id"] for name in ("Ann", "Anna", "Annika"))
        there, after = [], None
        while after is not False:
            page = (await graphql(PAGE, filter={"search": "ann"}, order=BEST_FIRST, after=after))["leadsConnection"]
            there += [int(lead["id"]) for lead in page["nodes"]]
            after = page["pageInfo"]["hasNextPage"] and page["pageInfo"]["endCursor"]
        assert (there, page["totalCount"]) == ([whole, *beginnings[::-1]], 3)

    @pytest.mark.parametrize("where", [None, {}, {"search": None}, {"search": " "}])
    async def test_is_equal_while_the_search_box_is_empty(self, ids, graphql, make_lead, where):
        first, second = (make_lead(first_name="Anna", last_name=name)["id"] for name in ("Ek", "Ask"))
        assert await ids(where, BEST_FIRST) == [second, first]
        assert await ids(where, [*BEST_FIRST, {"field": "ID"}]) == [first, second]
        page = (await graphql(PAGE, filter=where, order=BEST_FIRST))["leadsConnection"]
        after = page["pageInfo"]["endCursor"]
        rest = (await graphql(PAGE, filter=where, order=BEST_FIRST, after=after))["leadsConnection"]
        assert [int(lead["id"]) for lead in (*page["nodes"], *rest["nodes"])] == [second, first]
