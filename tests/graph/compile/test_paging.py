"""Keyset paging: walking a connection gives exactly the plain list, in whatever order and either direction."""

import base64
import json
import random
import re

import psycopg
import pytest

from tests.graph.asking import answer, data
from tests.graph.data import fill
from tests.graph.generate import literal
from tests.graph.reference import EnumName, cursor_parts
from tests.support.plans import plan, statement
from tests.support.problems import brief

FIELDS = {
    "leads": ["ID", "FIRST_NAME", "EMAIL", "COMPANY", "STATUS", "BUDGET", "ACTIVITY_SCORE", "CREATED_AT", "SOURCE"],
    "tasks": ["ID", "TITLE", "DUE_DATE", "COMPLETED", "PRIORITY", "LEAD_ID", "COMPLETED_AT"],
    "interactions": ["ID", "TYPE", "SUBJECT", "OCCURRED_AT", "DURATION_MINUTES"],
}
PAGE = "{ nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }"


def order(dice: random.Random, field: str) -> str:
    keys = []
    for name in dice.sample(FIELDS[field], dice.randint(0, 3)):
        key = {"field": EnumName(name)}
        if dice.random() < 0.6:
            key["direction"] = EnumName(dice.choice(("ASC", "DESC")))
        if dice.random() < 0.6:
            key["nulls"] = EnumName(dice.choice(("FIRST", "LAST")))
        keys.append(key)
    return f"orderBy: {literal(keys)}"


# So many pages of a walk have their cursor in the text, each a new operation; those after them have it in a variable.
WRITTEN_PAGES = 2


class Walk:
    """Goes through a connection page by page."""

    def __init__(self, engine, viewer, field: str, arguments: str) -> None:
        self._engine, self._viewer = engine, viewer
        self._query = f"{field}Connection({arguments}, %s) {PAGE}"
        self._name = f"{field}Connection"

    async def page(self, size: int, cursor: str | None = None, *, backwards: bool = False, written: bool = True):
        count, end = ("last", "before") if backwards else ("first", "after")
        if written:
            given = f"{count}: {size}" + (f', {end}: "{cursor}"' if cursor else "")
            query, variables = f"{{ {self._query % given} }}", {}
        else:
            query = f"query($size: Int, $cursor: String) {{ {self._query % f'{count}: $size, {end}: $cursor'} }}"
            variables = {"size": size, "cursor": cursor}
        return (await data(self._engine, self._viewer, query, variables))[self._name]

    async def all(self, size: int, *, backwards: bool = False):
        more, other = ("hasPreviousPage", "hasNextPage") if backwards else ("hasNextPage", "hasPreviousPage")
        cursor, found, going = None, [], True
        while going:
            page = await self.page(size, cursor, backwards=backwards, written=len(found) < WRITTEN_PAGES * size)
            ids = [one["id"] for one in page["nodes"]]
            found = [*ids, *found] if backwards else [*found, *ids]
            info = page["pageInfo"]
            assert info[other] is (cursor is not None)
            going, cursor = info[more], info["startCursor" if backwards else "endCursor"]
            assert len(ids) == size or not going
        return found


class TestWalking:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def rows(cls, database_url):
        fill(database_url, seed=3)

    @pytest.mark.parametrize("seed", range(12))
    async def test_forwards_and_backwards_give_the_plain_list(self, engine, viewers, seed):
        dice = random.Random(seed)
        field = dice.choice(list(FIELDS))
        arguments = order(dice, field)
        plain = (await data(engine, viewers["viewer"], f"{{ {field}({arguments}) {{ id }} }}"))[field]
        expected = [one["id"] for one in plain]
        walk = Walk(engine, viewers["viewer"], field, arguments)
        assert await walk.all(dice.randint(1, 7)) == expected, arguments
        assert await walk.all(dice.randint(1, 7), backwards=True) == expected, arguments
        assert await walk.all(len(expected)) == expected

    async def test_a_window_between_two_cursors(self, engine, viewers):
        rows = (
            await data(engine, viewers["viewer"], "{ leadsConnection(first: 9) { edges { cursor node { id } } } }")
        )["leadsConnection"]["edges"]
        after, before = rows[1]["cursor"], rows[6]["cursor"]
        window = f'after: "{after}", before: "{before}"'
        for count, expected, ahead, behind in (
            ("first: 2", rows[2:4], True, True),
            ("last: 2", rows[4:6], True, True),
            ("first: 4", rows[2:6], True, True),
            ("last: 4", rows[2:6], True, True),
        ):
            page = (await data(engine, viewers["viewer"], f"{{ leadsConnection({count}, {window}) {PAGE} }}"))[
                "leadsConnection"
            ]
            assert [one["id"] for one in page["nodes"]] == [one["node"]["id"] for one in expected]
            assert (page["pageInfo"]["hasNextPage"], page["pageInfo"]["hasPreviousPage"]) == (ahead, behind), count

    async def test_a_page_of_nothing(self, engine, viewers):
        page = (await data(engine, viewers["viewer"], f"{{ leadsConnection(first: 0) {PAGE} }}"))["leadsConnection"]
        info = {"hasNextPage": True, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
        assert page == {"nodes": [], "pageInfo": info}


SCORED = [
    f"{{field: ACTIVITY_SCORE{direction}{nulls}}}"
    for direction in ("", ", direction: DESC")
    for nulls in ("", ", nulls: FIRST")
]


class TestAnOrderWithNulls:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def rows(cls, database_url):
        fill(database_url, seed=7)

    @pytest.mark.parametrize("key", SCORED)
    @pytest.mark.parametrize("then", ["", ", {field: ID, direction: DESC}", ", {field: BUDGET}", ", {field: STATUS}"])
    async def test_gives_the_plain_list_both_ways(self, engine, viewers, key, then):
        arguments = f"orderBy: [{key}{then}]"
        plain = (await data(engine, viewers["admin"], f"{{ leads({arguments}) {{ id }} }}"))["leads"]
        walk = Walk(engine, viewers["admin"], "leads", arguments)
        for size in (1, 4):
            for backwards in (False, True):
                assert await walk.all(size, backwards=backwards) == [one["id"] for one in plain]


class TestAPageOfAnOrderWithNulls:
    """By a column that may be null, which an index serves: a page is read from where the cursor is."""

    @pytest.mark.parametrize("depth", [4000, 8000])
    @pytest.mark.parametrize("backwards", [False, True])
    async def test_reads_no_row_before_the_cursor(self, database_url, db, engine, viewers, depth, backwards):
        """Of 9,000 leads 6,000 have a score, a hundred or so each of them."""
        db.execute(
            "INSERT INTO leads (first_name, last_name, activity_score) "
            "SELECT 'A', 'B', CASE WHEN n % 3 > 0 THEN n % 101 END FROM generate_series(1, 9000) AS n"
        )
        db.execute("VACUUM ANALYZE leads")
        arguments = "orderBy: [{field: ACTIVITY_SCORE, direction: DESC}]"
        walk = Walk(engine, viewers["admin"], "leads", arguments)
        place = "ASC NULLS FIRST, id ASC" if backwards else "DESC NULLS LAST, id DESC"
        wanted = f"SELECT id FROM leads ORDER BY activity_score {place} OFFSET %s LIMIT 51"
        before, *following = [str(row["id"]) for row in db.execute(wanted, [depth]).fetchall()]
        cursor = await self._cursor(engine, viewers, before, arguments)
        page = await walk.page(50, cursor, backwards=backwards)
        ids = [one["id"] for one in page["nodes"]]
        assert (ids[::-1] if backwards else ids) == following
        count, end = ("last", "before") if backwards else ("first", "after")
        query = f'{{ leadsConnection({arguments}, {count}: 50, {end}: "{cursor}") {{ nodes {{ id }} }} }}'
        assert await self._rows_removed(database_url, query) < 10

    async def test_reads_no_hidden_row_beyond_a_full_page(self, database_url, db, engine, viewers):
        """Of 6,000 leads half have no score, and are deleted."""
        db.execute(
            "INSERT INTO leads (first_name, last_name, activity_score, deleted_at) "
            "SELECT 'A', 'B', CASE WHEN n > 3000 THEN n % 101 END, CASE WHEN n <= 3000 THEN now() END "
            "FROM generate_series(1, 6000) AS n"
        )
        db.execute("VACUUM ANALYZE leads")
        arguments = "orderBy: [{field: ACTIVITY_SCORE, direction: DESC}]"
        cursor = await self._cursor(engine, viewers, "4000", arguments)
        query = f'{{ leadsConnection({arguments}, first: 50, after: "{cursor}") {{ nodes {{ id }} }} }}'
        assert await self._rows_removed(database_url, query) < 10

    async def test_a_range_of_names_is_read_from_their_index(self, db, database_url):
        db.execute("INSERT INTO leads (first_name, last_name) SELECT 'F', 'E' || i FROM generate_series(1, 5000) i")
        db.execute("INSERT INTO leads (first_name, last_name) VALUES ('Å', 'Åberg')")
        db.execute("VACUUM ANALYZE leads")
        query = '{ leads(filter: {lastName: {gte: "Å"}}, orderBy: [{field: LAST_NAME}], limit: 50) { id } }'
        assert await self._rows_removed(database_url, query) == 0

    @staticmethod
    async def _rows_removed(database_url, query):
        """How many rows a query's statement looks at and leaves out."""
        text, params = await statement(database_url, query, {})
        with psycopg.connect(database_url) as connection:
            told = plan(connection, text, params)
        assert "Seq Scan" not in told
        return sum(int(rows) for rows in re.findall(r"Rows Removed by Filter: (\d+)", told))

    @staticmethod
    async def _cursor(engine, viewers, lead, arguments):
        """The cursor of a lead, wherever it stands."""
        query = f"{{ leadsConnection({arguments}, first: 1) {{ edges {{ cursor }} }} }}"
        first = (await data(engine, viewers["admin"], query))["leadsConnection"]["edges"][0]["cursor"]
        found = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
        query = f"{{ lead(id: {lead}) {{ activityScore }} }}"
        score = (await data(engine, viewers["admin"], query))["lead"]["activityScore"]
        parts = [*found[:2], None if score is None else str(score), lead]
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


class TestWhileOthersWrite:
    @pytest.mark.parametrize("backwards", [False, True])
    @pytest.mark.parametrize("seed", range(3))
    async def test_no_other_row_is_lost_or_shown_twice(self, engine, viewers, db, make_lead, seed, backwards):
        dice = random.Random(seed)
        companies = [None, "a", "b", "c"]
        steady = {str(make_lead(company=dice.choice(companies))["id"]) for _ in range(25)}
        doomed = [make_lead(company=dice.choice(companies))["id"] for _ in range(10)]
        nulls = dice.choice(("FIRST", "LAST"))
        walk = Walk(engine, viewers["viewer"], "leads", f"orderBy: [{{field: COMPANY, nulls: {nulls}}}]")
        cursor, found, going = None, [], True
        while going:
            page = await walk.page(3, cursor, backwards=backwards)
            found += [one["id"] for one in page["nodes"]]
            info = page["pageInfo"]
            going = info["hasPreviousPage" if backwards else "hasNextPage"]
            cursor = info["startCursor" if backwards else "endCursor"]
            make_lead(company=dice.choice(companies))
            if doomed:  # perhaps the very row that the cursor points at
                gone = int(found[-1]) if int(found[-1]) in doomed else doomed[-1]
                doomed.remove(gone)
                db.execute("UPDATE leads SET deleted_at = now() WHERE id = %s", [gone])
            assert len(found) < 200
        assert len(found) == len(set(found))
        assert steady <= set(found)


class TestForeignCursors:
    @pytest.fixture
    async def cursor(self, graphql, make_lead):
        for _ in range(3):
            make_lead()
        query = '{ leadsConnection(first: 1, filter: {lastName: {contains: "a"}}) { pageInfo { endCursor } } }'
        return (await graphql(query))["leadsConnection"]["pageInfo"]["endCursor"]

    @pytest.mark.parametrize("end", ["after", "before"])
    @pytest.mark.parametrize(
        "other",
        [
            "",
            'filter: {lastName: {contains: "b"}}',
            'filter: {lastName: {startsWith: "a"}}',
            'filter: {firstName: {contains: "a"}}',
            'filter: {lastName: {contains: "a"}}, orderBy: [{field: ID}]',
            'filter: {lastName: {contains: "a"}}, includeDeleted: true',
        ],
    )
    async def test_belong_to_their_filter_and_order(self, graphql, cursor, end, other):
        query = f'{{ leadsConnection({other} {end}: "{cursor}") {{ nodes {{ id }} }} }}'
        [error] = (await graphql(query, expect_errors=True))["errors"]
        assert brief(error["extensions"]) == {"code": "BAD_USER_INPUT", "field": end}
        assert "another filter or order" in error["message"]

    async def test_a_cursor_fits_any_page_size(self, graphql, cursor):
        query = (
            'query($c: String, $n: Int) { leadsConnection(first: $n, filter: {lastName: {contains: "a"}}, after: $c)'
        )
        for size in (1, 2, None):
            found = await graphql(f"{query} {{ nodes {{ id }} }} }}", c=cursor, n=size)
            assert [one["id"] for one in found["leadsConnection"]["nodes"]] == ["2", "1"][: size or 50]

    @pytest.mark.parametrize("text", ["", "x", "e30", "WzFd", "WzEsIngiXQ", "é", "A" * 5000, "W1tdXQ=="])
    async def test_what_is_no_cursor_is_named(self, graphql, text):
        query = "query($c: String) { leadsConnection(after: $c) { nodes { id } } }"
        [error] = (await graphql(query, expect_errors=True, c=text))["errors"]
        assert brief(error["extensions"]) == {"code": "BAD_USER_INPUT", "field": "after"}

    @pytest.mark.parametrize(
        "keys", [[], ["1", "2"], [None], ["x"], ["1\x00"], ["99999999999999"], [""], ["1.5"], [["1"]], [1]]
    )
    async def test_a_forged_one_is_refused(self, graphql, make_lead, keys):
        make_lead()
        made = (await graphql("{ leadsConnection { pageInfo { endCursor } } }"))["leadsConnection"]["pageInfo"]
        parts = cursor_parts(made["endCursor"])
        assert parts is not None
        version, bound_to, *_ = parts
        forged = base64.urlsafe_b64encode(json.dumps([version, bound_to, *keys]).encode()).decode().rstrip("=")
        query = "query($c: String) { leadsConnection(after: $c) { nodes { id } } }"
        [error] = (await graphql(query, expect_errors=True, c=forged))["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["extensions"].get("field", "after") == "after"

    async def test_first_and_last_exclude_each_other(self, engine, viewers):
        found = await answer(engine, viewers["viewer"], "{ leadsConnection(first: 1, last: 1) { totalCount } }")
        assert found["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "last"}
