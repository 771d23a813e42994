"""`graph.extend`: a wing adds fields to a type that another wing declares."""

import pytest
import strawberry
from graphql import print_type
from sqlalchemy import func, select

from crm import graph
from crm.db.database import Database
from crm.graph.declare.scalars import CONFIG
from crm.graph.run.engine import Engine
from crm.sales.leads import model as lead_model
from crm.sales.tasks import model as task_model
from tests.graph.asking import data

Row = type[lead_model.Lead]


@graph.type(task_model.Task)
class Task:
    """What is to be done."""


@graph.type(lead_model.Lead)
class Lead:
    """Somebody who may buy, as the lower wing shows them."""

    @graph.computed(never_null=True)
    def full_name(lead: Row) -> str:  # noqa: N805
        """First and last name."""
        return func.concat(lead.first_name, lead.last_name)


@graph.extend(Lead)
class LeadTasks:
    """What the higher wing knows of a lead."""

    @graph.computed(never_null=True)
    def loud_name(lead: Row) -> str:  # noqa: N805
        """In capitals."""
        return func.upper(lead.first_name)

    @graph.edge
    def all_tasks(lead: Row) -> list[Task]:  # noqa: N805
        """Every task; which of them show is not said here."""
        return select(task_model.Task).where(task_model.Task.lead_id == lead.id).order_by(task_model.Task.id)


@strawberry.type
class Query:
    @graph.rows
    def leads() -> list[Lead]:
        """Leads."""
        return select(lead_model.Lead)


SCHEMA = strawberry.Schema(Query, config=CONFIG)


@pytest.fixture
async def extended(database_url, roomy):
    database = Database(database_url, size=2)
    yield Engine(SCHEMA, database, roomy)
    database.close()


class TestFields:
    def test_stand_in_the_schema_as_if_the_type_declared_them(self):
        shown = " ".join(print_type(SCHEMA._schema.type_map["Lead"]).split())  # noqa: SLF001
        assert '"""First and last name.""" fullName: String!' in shown
        assert '"""In capitals.""" loudName: String!' in shown
        assert "allTasks( " in shown
        assert "LeadTasks" not in SCHEMA._schema.type_map  # noqa: SLF001

    async def test_are_read_with_the_others_and_hide_what_policies_hide(self, extended, viewers, make_lead, make_task):
        lead = make_lead(first_name="Åsa", last_name="Ek")
        kept = make_task(lead_id=lead["id"])
        make_task(lead_id=lead["id"], deleted=True)
        found = await data(extended, viewers["viewer"], "{ leads { fullName loudName allTasks { id } } }")
        assert found == {"leads": [{"fullName": "ÅsaEk", "loudName": "ÅSA", "allTasks": [{"id": str(kept["id"])}]}]}


class TestRefusals:
    def test_a_name_that_is_taken(self):
        with pytest.raises(TypeError, match=r"Lead has a field `fullName` already \(by .*\.Lead\): LeadNames"):

            @graph.extend(Lead)
            class LeadNames:
                @graph.computed
                def full_name(lead: Row) -> str | None:  # noqa: N805
                    """Another."""
                    return lead.first_name

    def test_a_name_of_a_column(self):
        with pytest.raises(TypeError, match=r"Lead has a field `company` already"):

            @graph.extend(Lead)
            class LeadCompany:
                @graph.computed
                def company(lead: Row) -> str | None:  # noqa: N805
                    """Another."""
                    return lead.first_name

    def test_a_name_that_another_wing_added(self):
        with pytest.raises(TypeError, match=r"Lead has a field `loudName` already \(by .*\.LeadTasks\)"):

            @graph.extend(Lead)
            class LeadNoise:
                @graph.computed
                def loud_name(lead: Row) -> str | None:  # noqa: N805
                    """Another."""
                    return lead.first_name

    def test_a_plain_field(self):
        with pytest.raises(TypeError, match=r"LeadNote\.note is neither .*: a column of Lead is said in its model"):

            @graph.extend(Lead)
            class LeadNote:
                note: str | None = strawberry.field(description="A column?")

    @pytest.mark.parametrize("other", [Query, graph.Connection, LeadTasks, int])
    def test_what_is_made_of_no_model(self, other):
        with pytest.raises(TypeError, match=r"is not made of a model by `graph\.type`"):
            graph.extend(other)
