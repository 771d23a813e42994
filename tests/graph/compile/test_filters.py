"""Filters: generated ones against a Python predicate, and what each promise means for one hard row."""

import pytest

from tests.graph.asking import answer, data
from tests.graph.data import fill, pools
from tests.graph.generate import Generator
from tests.graph.reference import World, in_order, matches
from tests.support import sdl
from tests.support.examples import examples
from tests.support.problems import brief

FILTERS = examples(200)
KINDS = {"leads": "Lead", "tasks": "Task", "interactions": "Interaction", "users": "User"}


class TestGenerated:
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, database_url):
        fill(database_url, seed=2)
        return World.load(database_url)

    @pytest.mark.parametrize("field", KINDS)
    async def test_finds_what_the_predicate_finds(self, engine, world, viewers, field):
        kind = KINDS[field]
        known, hits = pools(world), 0
        for number in range(FILTERS // len(KINDS)):
            maker = Generator(sdl.schema(), known, f"{field} {number}", deleted=False)
            where = maker.filter(f"{kind}Filter", 3)
            query = f"query($where: {kind}Filter) {{ {field}(filter: $where) {{ id }} }}"
            found = [one["id"] for one in (await data(engine, viewers["viewer"], query, {"where": where}))[field]]
            rows = [one for one in world.shown(kind) if matches(world, kind, one, where)]
            expected = [str(one["id"]) for one in in_order(kind, rows, None)]
            if kind == "User":
                found, expected = sorted(found), sorted(expected)
            assert found == expected, where
            hits += 0 < len(found) < len(world.shown(kind))
        assert hits > FILTERS // len(KINDS) / 8  # the filters do tell rows apart


async def ids(graphql, where: str, **variables) -> list[int]:
    return [int(one["id"]) for one in (await graphql(f"{{ leads(filter: {where}) {{ id }} }}", **variables))["leads"]]


class TestNulls:
    @pytest.fixture
    def leads(self, make_lead):
        return {
            "none": make_lead()["id"],
            "acme": make_lead(company="Acme")["id"],
            "other": make_lead(company="X")["id"],
        }

    @pytest.mark.parametrize(
        ("where", "names"),
        [
            ('{company: {neq: "Acme"}}', ["other", "none"]),
            ('{company: {notIn: ["Acme"]}}', ["other", "none"]),
            ("{company: {notIn: []}}", ["other", "acme", "none"]),
            ("{company: {in: []}}", []),
            ('{not: {company: {eq: "Acme"}}}', ["other", "none"]),
            ('{not: {company: {contains: "c"}}}', ["other", "none"]),
            ('{not: {not: {company: {eq: "Acme"}}}}', ["acme"]),
            ("{company: {isNull: true}}", ["none"]),
            ("{company: {isNull: false}}", ["other", "acme"]),
            ("{and: []}", ["other", "acme", "none"]),
            ("{or: []}", []),
            ("{not: {or: []}}", ["other", "acme", "none"]),
            ("{not: {}}", []),
            ("{or: [{}]}", ["other", "acme", "none"]),
            ("{company: {}}", ["other", "acme", "none"]),
            ("{company: null, and: null, not: null}", ["other", "acme", "none"]),
            ("{tasks: {every: {completed: {eq: true}}}}", ["other", "acme", "none"]),
            ("{tasks: {some: {}}}", []),
            ("{tasks: {none: {}}}", ["other", "acme", "none"]),
            ("{tasks: {}}", ["other", "acme", "none"]),
            ("{owner: {}}", []),
        ],
    )
    async def test_have_one_meaning(self, graphql, leads, where, names):
        assert await ids(graphql, where) == [leads[name] for name in names]

    @pytest.mark.parametrize("operator", ["eq", "neq", "in", "gt", "contains"])
    async def test_comparing_with_null_is_an_error_that_names_is_null(self, graphql, operator):
        query = f"{{ leads(filter: {{company: {{{operator}: null}}}}) {{ id }} }}"
        [error] = (await graphql(query, expect_errors=True))["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["extensions"]["field"] == f"filter.company.{operator}"
        assert "isNull" in error["message"]

    async def test_comparing_with_a_null_variable_is_the_same_error(self, graphql):
        query = "query($x: String) { leads(filter: {company: {eq: $x}}) { id } }"
        [error] = (await graphql(query, expect_errors=True, x=None))["errors"]
        assert error["extensions"]["field"] == "filter.company.eq"

    async def test_a_variable_that_is_left_out_is_no_condition(self, graphql, leads):
        query = "query($x: String) { leads(filter: {company: {eq: $x}}) { id } }"
        assert len((await graphql(query))["leads"]) == len(leads)


class TestText:
    @pytest.mark.parametrize("special", ["%", "_", "\\", "\\%", "%%", "'", '"', "$1", ":v0", "{x}", "%(x)s"])
    @pytest.mark.parametrize("operator", ["contains", "startsWith", "endsWith", "eq"])
    async def test_every_character_stands_for_itself(self, graphql, make_lead, special, operator):
        lead = make_lead(company=special)
        make_lead(company="abc")
        query = f"query($x: String) {{ leads(filter: {{company: {{{operator}: $x}}}}) {{ id company }} }}"
        found = await graphql(query, x=special)
        assert found == {"leads": [{"id": str(lead["id"]), "company": special}]}

    @pytest.mark.parametrize(
        ("operator", "text"),
        [("contains", "ÅSA Ö"), ("contains", "åsa ö"), ("startsWith", "ås"), ("endsWith", "ÖBERG"), ("contains", "")],
    )
    async def test_case_does_not_matter_for_any_letter(self, graphql, make_lead, operator, text):
        lead = make_lead(company="Åsa Öberg")
        make_lead(company=None)
        query = f"query($x: String) {{ leads(filter: {{company: {{{operator}: $x}}}}) {{ id }} }}"
        assert await graphql(query, x=text) == {"leads": [{"id": str(lead["id"])}]}

    async def test_equality_is_letter_for_letter(self, graphql, make_lead):
        make_lead(company="åsa")
        assert await ids(graphql, '{company: {eq: "Åsa"}}') == []


class TestAcrossEdges:
    async def test_a_persons_id_can_be_one_of_several(self, graphql, make_lead, make_user):
        user = make_user()
        lead = make_lead(owner_id=user["id"])
        make_lead()
        assert await ids(graphql, f'{{ownerId: {{in: ["{user["id"]}"]}}}}') == [lead["id"]]
        assert await ids(graphql, f'{{owner: {{id: {{in: ["{user["id"]}"]}}}}}}') == [lead["id"]]

    async def test_what_is_not_an_id_is_named(self, graphql):
        answered = await graphql('{ leads(filter: {ownerId: {in: ["x"]}}) { id } }', expect_errors=True)
        assert brief(answered["errors"][0]["extensions"]) == {"code": "BAD_USER_INPUT", "field": "filter.ownerId.in"}

    async def test_some_none_and_every_look_at_each_row(self, graphql, make_task):
        done, mixed, undone = (make_task(completed=True)["lead_id"] for _ in range(3))
        make_task(lead_id=mixed, completed=False)
        for operator, expected in (("some", [mixed]), ("none", [undone, done]), ("every", [])):
            where = f"{{tasks: {{{operator}: {{completed: {{eq: false}}}}}}}}"
            assert await ids(graphql, where) == expected
        assert await ids(graphql, "{tasks: {every: {completed: {eq: true}}}}") == [undone, done]

    async def test_nested_across_several_edges(self, graphql, make_lead, make_task, make_interaction):
        lead = make_lead(company="Acme")
        make_task(lead_id=lead["id"])
        make_interaction(lead_id=lead["id"], subject="hello")
        make_task()
        where = (
            '{tasks: {some: {lead: {interactions: {some: {subject: {eq: "hello"}, lead: {company: {eq: "Acme"}}}}}}}}'
        )
        assert await ids(graphql, where) == [lead["id"]]


class TestTags:
    async def test_has(self, graphql, make_lead):
        both, one = make_lead(tags=["å", "b c"])["id"], make_lead(tags=["å"])["id"]
        make_lead()
        assert await ids(graphql, '{tags: {has: "å"}}') == [one, both]
        assert await ids(graphql, '{tags: {hasAll: ["å", "b c"]}}') == [both]
        assert await ids(graphql, '{tags: {hasAny: ["b c", "x"]}}') == [both]
        assert await ids(graphql, "{tags: {hasAny: []}}") == []
        assert len(await ids(graphql, "{tags: {hasAll: []}}")) == 3


class TestVariables:
    """A null where the schema wants a value is an error, and never a filter that is silently left out."""

    @pytest.mark.parametrize(
        "query",
        [
            "query($x: Int = 1) { lead(id: $x) { id } }",
            "query($x: Boolean = false) { leads(includeDeleted: $x) { id } }",
            "query($x: LeadFilter = {}) { leads(filter: {and: [$x]}) { id } }",
            "query($x: LeadOrderField = ID) { leads(orderBy: [{field: $x}]) { id } }",
            "query($x: LeadOrder = {field: ID}) { leads(orderBy: [$x]) { id } }",
            "query($x: Int = 1) { leads(filter: {id: {in: [$x]}}) { id } }",
            "query($x: Boolean = true) { leads { id @include(if: $x) } }",
        ],
    )
    async def test_null_for_what_must_not_be_null(self, engine, viewers, query):
        found = await answer(engine, viewers["admin"], query, {"x": None})
        assert [one["extensions"]["code"] for one in found["errors"]] == ["BAD_USER_INPUT"]
        await data(engine, viewers["admin"], query)  # the default is fine
