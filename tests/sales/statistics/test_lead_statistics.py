"""Statistics of leads, against the same numbers worked out in Python."""

import random
from collections import defaultdict
from datetime import UTC
from decimal import ROUND_HALF_UP, Decimal
from itertools import combinations

import pytest

STATS = """
query($groupBy: [LeadGroup!], $filter: LeadFilter, $limit: Int) {
  leadStats(groupBy: $groupBy, filter: $filter, limit: $limit) {
    status source ownerId owner { id name } company location createdMonth
    count averageScore won lost conversion budgets { currency sum average }
  }
}
"""
PIPELINE = ["NEW", "CONTACTED", "QUALIFIED", "PROPOSAL", "WON", "LOST"]
KEYS = ("STATUS", "SOURCE", "OWNER", "COMPANY", "LOCATION", "CREATED_MONTH")
STATUSES = ("new", "contacted", "qualified", "proposal", "won", "lost")
EMPTY = {"count": 0, "averageScore": None, "won": 0, "lost": 0, "conversion": None, "budgets": []}


@pytest.fixture
def stats(graphql):
    async def run(*group_by, **variables):
        return (await graphql(STATS, groupBy=list(group_by), **variables))["leadStats"]

    return run


@pytest.fixture
def many_leads(db, make_user):
    """Leads of every sort, deleted ones and gaps included."""
    dice = random.Random(7)
    owners = [make_user()["id"] for _ in range(3)]
    leads = [
        {
            "first_name": "First",
            "last_name": "Last",
            "status": dice.choice(STATUSES),
            "source": dice.choice([None, "web", "Mässa"]),
            "owner_id": dice.choice([None, *owners]),
            "company": dice.choice([None, "Åkesson", "Volvo", "volvo"]),
            "location": dice.choice([None, "Malmö", "Leeds"]),
            "budget": dice.choice([None, Decimal(0), Decimal(dice.randrange(100_000_000)) / 100]),
            "currency": dice.choice([None, "SEK", "EUR", "GBP"]),
            "activity_score": dice.choice([None, dice.randrange(101)]),
            "created_at": dice.choice(["2026-01-01T00:30:00+01:00", "2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"]),
            "deleted_at": "2026-03-01T00:00:00Z" if dice.random() < 0.1 else None,
        }
        for _ in range(300)
    ]
    names = ", ".join(leads[0])
    places = ", ".join(f"%({name})s" for name in leads[0])
    with db.cursor() as cursor:
        cursor.executemany(f"INSERT INTO leads ({names}) VALUES ({places})", leads)
        return cursor.execute("SELECT * FROM leads ORDER BY id").fetchall()


def key_of(lead, group_by):
    """The keys of a lead's group, as the API shows them."""
    shown = {
        "status": lead["status"].upper(),
        "source": lead["source"],
        "ownerId": lead["owner_id"] and str(lead["owner_id"]),
        "company": lead["company"],
        "location": lead["location"],
        "createdMonth": lead["created_at"].astimezone(tz=UTC).strftime("%Y-%m"),
    }
    return tuple(value if group in group_by else None for group, value in zip(KEYS, shown.values(), strict=True))


def rounded(value, digits):
    return float(value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def expected(leads, group_by):
    """What the API should say, group by group."""
    groups = defaultdict(list)
    for lead in leads:
        if lead["deleted_at"] is None:
            groups[key_of(lead, group_by)].append(lead)
    return {key: _numbers(members) for key, members in groups.items()}


def _numbers(leads):
    scores = [lead["activity_score"] for lead in leads if lead["activity_score"] is not None]
    won, lost = (sum(lead["status"] == status for lead in leads) for status in ("won", "lost"))
    amounts = defaultdict(list)
    for lead in leads:
        if lead["budget"] is not None:
            amounts[lead["currency"]].append(lead["budget"])
    return {
        "count": len(leads),
        "averageScore": rounded(Decimal(sum(scores)) / len(scores), 2) if scores else None,
        "won": won,
        "lost": lost,
        "conversion": rounded(Decimal(won) / (won + lost), 4) if won + lost else None,
        "budgets": [
            {
                "currency": currency,
                "sum": f"{sum(found):.2f}",
                "average": f"{(sum(found) / len(found)).quantize(Decimal('0.01'), ROUND_HALF_UP)}",
            }
            for currency, found in sorted(amounts.items(), key=lambda one: (one[0] is None, one[0]))
        ],
    }


def by_key(rows):
    """The API's rows by their keys; each key once."""
    names = ("status", "source", "ownerId", "company", "location", "createdMonth")
    found = {tuple(row[name] for name in names): {name: row[name] for name in EMPTY} for row in rows}
    assert len(found) == len(rows)
    return found


class TestNumbers:
    @pytest.mark.parametrize("group_by", [(), *((key,) for key in KEYS), *combinations(KEYS, 2), KEYS])
    async def test_are_what_python_makes_them(self, stats, many_leads, group_by):
        rows = [row for row in await stats(*group_by) if row["count"]]
        assert by_key(rows) == expected(many_leads, group_by)

    async def test_with_a_filter(self, stats, many_leads):
        where = {"budget": {"gte": "1000.00"}, "or": [{"company": {"contains": "VOLVO"}}, {"source": {"isNull": True}}]}
        kept = [
            lead
            for lead in many_leads
            if (lead["budget"] or 0) >= 1000 and ((lead["company"] or "").lower() == "volvo" or lead["source"] is None)
        ]
        assert kept
        rows = [row for row in await stats("STATUS", filter=where) if row["count"]]
        assert by_key(rows) == expected(kept, ("STATUS",))

    async def test_with_a_filter_across_an_edge(self, stats, make_lead, make_task):
        busy = make_lead()
        make_lead()
        make_task(lead_id=busy["id"])
        make_task(lead_id=busy["id"])
        (row,) = await stats(filter={"tasks": {"some": {"completed": {"eq": False}}}})
        assert row["count"] == 1

    async def test_of_nothing_are_zero(self, stats, make_lead):
        (row,) = await stats()
        assert {name: row[name] for name in EMPTY} == EMPTY
        make_lead(deleted=True, budget=5, currency="SEK")
        (row,) = await stats(filter={"id": {"lt": 0}})
        assert {name: row[name] for name in EMPTY} == EMPTY
        assert [(row["status"], row["count"], row["budgets"]) for row in await stats("STATUS")] == [
            (status, 0, []) for status in PIPELINE
        ]

    async def test_large_amounts_stay_exact(self, stats, make_lead):
        for _ in range(3):
            make_lead(budget="999999999999.99", currency="SEK")
        (row,) = await stats()
        assert row["budgets"] == [{"currency": "SEK", "sum": "2999999999999.97", "average": "999999999999.99"}]


class TestThePipeline:
    async def test_is_in_its_order_with_the_empty_ones(self, stats, make_lead):
        for status in ("won", "new", "won", "proposal"):
            make_lead(status=status)
        rows = await stats("STATUS")
        assert [row["status"] for row in rows] == PIPELINE
        assert [row["count"] for row in rows] == [1, 0, 0, 1, 2, 0]
        assert [row["won"] for row in rows] == [0, 0, 0, 0, 2, 0]
        assert [row["status"] for row in await stats("STATUS", limit=2)] == PIPELINE[:2]

    async def test_by_more_keys_has_what_is_there(self, stats, make_lead):
        make_lead(status="won", source="web")
        assert [(row["status"], row["source"]) for row in await stats("STATUS", "SOURCE")] == [("WON", "web")]

    async def test_having_chooses_groups_by_their_numbers(self, graphql, make_lead):
        for status, source in (("won", "web"), ("won", "fair"), ("lost", "web")):
            make_lead(status=status, source=source)
        query = """query($by: [LeadGroup!], $having: LeadStatsHaving) {
          leadStats(groupBy: $by, having: $having) { status source count }
        }"""
        for by, having, found in (
            (["STATUS"], {"count": {"gt": 1}}, [("WON", None, 2)]),
            (["STATUS"], {"count": {"eq": 0}, "won": {"lt": 1}}, [(status, None, 0) for status in PIPELINE[:4]]),
            (["SOURCE"], {"lost": {"gte": 1}}, [(None, "web", 2)]),
            (None, {"count": {"gt": 5}}, []),
        ):
            rows = (await graphql(query, by=by, having=having))["leadStats"]
            assert [tuple(row.values()) for row in rows] == found


class TestGroups:
    async def test_the_largest_comes_first_then_by_key(self, stats, make_lead):
        for company in ("Beta", None, "Alfa", "Beta"):
            make_lead(company=company)
        rows = await stats("COMPANY")
        assert [(row["company"], row["count"]) for row in rows] == [("Beta", 2), ("Alfa", 1), (None, 1)]
        assert [row["company"] for row in await stats("COMPANY", limit=1)] == ["Beta"]
        assert await stats("COMPANY", limit=0) == []

    async def test_a_key_twice_is_the_key_once(self, stats, make_lead):
        make_lead(company="Alfa", source="web")
        once = await stats("COMPANY", "SOURCE")
        assert await stats("COMPANY", "SOURCE", "COMPANY") == once
        assert await stats("SOURCE", "COMPANY") == once

    async def test_owners_are_people(self, stats, make_lead, make_user):
        owner = make_user(name="Åsa")
        make_lead(owner_id=owner["id"])
        make_lead(owner_id=owner["id"])
        make_lead()
        mine, nobodys = await stats("OWNER")
        assert (mine["owner"], mine["count"]) == ({"id": str(owner["id"]), "name": "Åsa"}, 2)
        assert (nobodys["owner"], nobodys["ownerId"], nobodys["count"]) == (None, None, 1)

    async def test_months_are_utc(self, stats, make_lead):
        make_lead(created_at="2026-02-01T00:30:00+01:00")
        (row,) = await stats("CREATED_MONTH")
        assert row["createdMonth"] == "2026-01"

    async def test_more_than_a_thousand_are_an_error_that_names_limit(self, graphql, db, stats):
        db.execute(
            "INSERT INTO leads (first_name, last_name, company) SELECT 'A', 'B', n FROM generate_series(1, 1001) n"
        )
        answer = await graphql(STATS, groupBy=["COMPANY"], expect_errors=True)
        assert answer["errors"][0]["extensions"]["code"] == "TOO_LARGE"
        assert "limit" in answer["errors"][0]["message"]
        assert len(await stats("COMPANY", limit=1000)) == 1000

    async def test_the_group_is_checked(self, graphql):
        answer = await graphql("{ leadStats(groupBy: [BUDGET]) { count } }", expect_errors=True)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"

    async def test_without_arguments_and_with_null(self, graphql, make_lead):
        make_lead()
        data = await graphql("{ a: leadStats { count } b: leadStats(groupBy: null, filter: null) { count status } }")
        assert data == {"a": [{"count": 1}], "b": [{"count": 1, "status": None}]}

    async def test_viewers_may_look(self, graphql, make_lead):
        make_lead()
        data = await graphql("{ leadStats(groupBy: STATUS) { status count } }", role="viewer")
        assert data["leadStats"][0] == {"status": "NEW", "count": 1}

    async def test_too_many_at_once_are_too_complex(self, graphql):
        operation = "{" + " ".join(f"s{n}: leadStats {{ count }}" for n in range(11)) + "}"
        answer = await graphql(operation, expect_errors=True)
        assert answer["errors"][0]["extensions"]["code"] == "TOO_COMPLEX"
