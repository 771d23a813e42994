"""Selections that once went wrong, or easily could; the differential test finds their like."""

import pytest

from tests.graph.asking import data

LONG = "an_alias_that_is_longer_than_any_name_that_PostgreSQL_would_keep_whole"


class TestLongAliases:
    async def test_keep_every_letter(self, graphql, make_lead):
        lead = make_lead()
        found = await graphql(f"{{ {LONG}1: leads {{ {LONG}2: id {LONG}3: __typename }} }}")
        assert found == {f"{LONG}1": [{f"{LONG}2": str(lead["id"]), f"{LONG}3": "Lead"}]}

    async def test_in_lists_in_lists(self, graphql, make_task):
        task = make_task()
        found = await graphql(f"{{ leads {{ {LONG}1: tasks {{ {LONG}2: title {LONG}3: dueDate }} }} }}")
        assert found == {"leads": [{f"{LONG}1": [{f"{LONG}2": task["title"], f"{LONG}3": None}]}]}

    async def test_in_an_empty_list(self, graphql, make_lead):
        make_lead()
        assert await graphql(f"{{ leads {{ tasks {{ {LONG}: title }} }} }}") == {"leads": [{"tasks": []}]}

    async def test_in_a_page(self, graphql, make_lead):
        make_lead()
        found = await graphql(
            f"{{ leadsConnection {{ {LONG}1: __typename {LONG}2: totalCount {LONG}3: pageInfo {{ {LONG}4: hasNextPage"
            f" }} {LONG}5: edges {{ {LONG}6: __typename {LONG}7: node {{ {LONG}8: __typename }} }} }} }}"
        )
        assert found["leadsConnection"] == {
            f"{LONG}1": "LeadConnection",
            f"{LONG}2": 1,
            f"{LONG}3": {f"{LONG}4": False},
            f"{LONG}5": [{f"{LONG}6": "LeadEdge", f"{LONG}7": {f"{LONG}8": "Lead"}}],
        }


class TestNothingSelected:
    """@skip and @include may leave an object without fields: an empty object, not an error."""

    async def test_in_one_record(self, graphql, make_lead):
        assert await graphql(f"{{ lead(id: {make_lead()['id']}) {{ id @skip(if: true) }} }}") == {"lead": {}}

    async def test_in_a_list(self, graphql, make_lead):
        make_lead()
        assert await graphql("{ leads { id @include(if: false) } }") == {"leads": [{}]}

    async def test_in_a_page(self, graphql, make_lead):
        make_lead()
        query = "{ leadsConnection { nodes { id @skip(if: true) } edges { cursor @skip(if: true) } } }"
        assert await graphql(query) == {"leadsConnection": {"nodes": [{}], "edges": [{}]}}

    async def test_in_a_page_without_parts(self, graphql):
        assert await graphql("{ leadsConnection { nodes @skip(if: true) { id } } }") == {"leadsConnection": {}}

    async def test_at_the_root(self, graphql):
        assert await graphql("{ leads @skip(if: true) { id } }") == {}


class TestParts:
    """Each part of a page alone, over no rows and over several."""

    @pytest.mark.parametrize("count", [0, 3])
    @pytest.mark.parametrize(
        ("selected", "expected"),
        [
            ("totalCount", lambda count: count),
            ("__typename", lambda _: "LeadConnection"),
            ("pageInfo { hasPreviousPage }", lambda _: {"hasPreviousPage": False}),
            ("pageInfo { hasNextPage }", lambda count: {"hasNextPage": count > 2}),
            ("pageInfo { __typename }", lambda _: {"__typename": "PageInfo"}),
            ("nodes { __typename }", lambda count: [{"__typename": "Lead"}] * min(count, 2)),
        ],
    )
    async def test_alone(self, graphql, make_lead, count, selected, expected):
        for _ in range(count):
            make_lead()
        found = await graphql(f"{{ leadsConnection(first: 2) {{ {selected} }} }}")
        assert list(found["leadsConnection"].values()) == [expected(count)]


async def test_counts_on_a_page_are_of_each_lead_alone(graphql, make_lead, make_task, make_interaction):
    busy, idle = make_lead(), make_lead()
    make_task(lead_id=busy["id"])
    make_interaction(lead_id=busy["id"], occurred_at="2026-02-01T00:00:00Z")
    fields = "id openTaskCount lastInteractionAt"
    found = await graphql(f"{{ leadsConnection {{ nodes {{ {fields} }} edges {{ node {{ {fields} }} }} }} }}")
    expected = [
        {"id": str(idle["id"]), "openTaskCount": 0, "lastInteractionAt": None},
        {"id": str(busy["id"]), "openTaskCount": 1, "lastInteractionAt": "2026-02-01T00:00:00.000000Z"},
    ]
    assert found["leadsConnection"] == {"nodes": expected, "edges": [{"node": one} for one in expected]}


async def test_more_than_fifty_fields_keep_their_order(graphql, make_lead):
    make_lead()
    aliases = [f"f{number}" for number in range(29)]
    plain = ["firstName", "lastName", "email", "phone", "company", "jobTitle", "status", "source", "budget", "currency"]
    plain += ["location", "tags", "ownerId", "summary", "summaryGeneratedAt", "activityScore", "scoreCalculatedAt"]
    plain += ["version", "createdAt", "updatedAt", "deletedAt", "fullName", "openTaskCount", "__typename"]
    keys = [*aliases, *plain]
    found = await graphql(f"{{ leads {{ {' '.join(f'{one}: id' for one in aliases)} {' '.join(plain)} }} }}")
    assert len(keys) > 50
    assert list(found["leads"][0]) == keys


async def test_hundreds_of_fields_with_a_long_alias_among_them(engine, viewers, make_lead):
    make_lead()
    keys = [LONG, *(f"f{number}" for number in range(300))]
    found = await data(engine, viewers["viewer"], f"{{ leads {{ {' '.join(f'{one}: id' for one in keys)} }} }}")
    assert found == {"leads": [dict.fromkeys(keys, "1")]}


async def test_the_same_key_twice_merges(graphql, make_task):
    make_task(title="One")
    found = await graphql("{ leads { tasks { title } id tasks { id } ... on Lead { tasks { completed } } } }")
    assert found == {"leads": [{"tasks": [{"title": "One", "id": "1", "completed": False}], "id": "1"}]}
