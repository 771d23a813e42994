"""A list that is too long names the pages that its own API has."""

import pytest
import strawberry

from crm import graph
from crm.core.settings import Settings
from crm.db.database import Database
from crm.graph.declare.scalars import CONFIG
from crm.graph.run.engine import Engine
from crm.sales.leads import model
from crm.sales.leads.service import LeadService
from tests.graph.asking import answer


@graph.type(model.Lead)
class Parcel:
    """A noun that the program does not have."""


@strawberry.type
class Query:
    """Two lists, and pages of one of them."""

    @graph.rows
    def parcels() -> list[Parcel]:
        """All."""
        return LeadService.matching()

    @graph.rows
    def parcels_connection() -> graph.Connection[Parcel]:
        """All, page by page."""
        return LeadService.matching()

    @graph.rows
    def strays() -> list[Parcel]:
        """All."""
        return LeadService.matching()


@pytest.mark.parametrize(
    ("root", "advice"), [("parcels", "`limit` or page with `parcelsConnection`"), ("strays", "`limit`")]
)
async def test_advice(database_url, viewers, db, root, advice):
    db.execute("INSERT INTO leads (first_name, last_name) SELECT 'Åsa', 'Ek' FROM generate_series(1, 1001)")
    database = Database(database_url, size=1)
    engine = Engine(strawberry.Schema(Query, config=CONFIG), database, Settings())
    found = await answer(engine, viewers["viewer"], f"{{ {root} {{ id }} }}")
    database.close()
    assert found["errors"][0]["message"] == f"`{root}` has more than 1,000 rows here: pass {advice}."
