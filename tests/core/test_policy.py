"""Closed unless opened: every model names its policy, and a policy says what each role sees."""

from itertools import count

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, select
from sqlalchemy.orm import Mapped, mapped_column

from crm import graph, models
from crm.core.identity import Role
from crm.core.model import POLICY, Model
from crm.core.policy import ADMINS, EVERYBODY, INTERNAL, Policy, Scope, by_role
from crm.db.visibility import compiled

_NUMBERS = count()
SHOWN = {"Lead", "Task", "Interaction", "User", "Event", "AiTask", "AiTaskAttempt", "AiTaskDay"}


@pytest.fixture
def make_model():
    """Declare a model whose table is forgotten afterwards: the metadata is that of the migrations."""
    before = set(Model.metadata.tables)

    def make(**members):
        annotations = {"__module__": __name__, "__annotations__": {"id": Mapped[int]}}
        return type(f"Parcel{next(_NUMBERS)}", (Model,), {**annotations, **members})

    yield make
    for name in set(Model.metadata.tables) - before:
        Model.metadata.remove(Model.metadata.tables[name])


def sql(model) -> str:
    return str(compiled(select(model.id)))


class TestModels:
    def test_every_model_names_its_policy(self):
        tables = {mapper.class_.__tablename__: mapper.class_ for mapper in Model.registry.mappers}
        assert set(Model.metadata.tables) == set(tables)
        for name, model in tables.items():
            assert isinstance(model.__dict__["policy"], Policy), name
            assert model.__table__.info[POLICY] is model.policy

    def test_what_is_not_for_the_program_alone_is_on_a_list(self):
        assert {name for name in models.__all__ if name != "Model" and getattr(models, name).policy.public} == SHOWN

    def test_a_model_without_a_policy_does_not_import(self, make_model):
        with pytest.raises(TypeError, match=r"Parcel\d+ names no policy"):
            make_model(__tablename__="parcels", id=mapped_column(primary_key=True))
        assert "parcels" not in Model.metadata.tables

    def test_a_policy_is_not_inherited(self, make_model):
        parcel = make_model(__tablename__="parcels", id=mapped_column(primary_key=True), policy=EVERYBODY)
        with pytest.raises(TypeError, match="names no policy"):
            type("Letter", (parcel,), {"__module__": __name__, "__tablename__": "letters"})

    def test_no_type_of_the_api_is_made_of_an_internal_model(self, make_model):
        parcel = make_model(__tablename__="parcels", id=mapped_column(primary_key=True), policy=INTERNAL)
        with pytest.raises(TypeError, match="for the program alone"):
            graph.type(parcel)

    def test_a_table_without_a_model_is_closed(self):
        table = Table("strays", MetaData(), Column("id", Integer))
        with pytest.raises(TypeError, match="strays belongs to no model"):
            compiled(select(table.c.id))


class TestScopes:
    @pytest.mark.parametrize(
        ("scopes", "condition"),
        [
            ((Scope.ALL, Scope.ALL, Scope.ALL), None),
            ((Scope.ALL, Scope.NONE, Scope.NONE), "$1"),
            ((Scope.ALL, Scope.OWN, Scope.OWN), "parcels.id = $1::UUID OR $2"),
            ((Scope.ALL, Scope.OWN, Scope.NONE), "$1 AND parcels.id = $2::UUID OR $3"),
            ((Scope.NONE, Scope.NONE, Scope.NONE), "false"),
        ],
    )
    def test_become_a_condition(self, make_model, scopes, condition):
        policy = Policy(owner="id", scopes=by_role(**dict(zip(("admin", "member", "viewer"), scopes, strict=True))))
        found = sql(make_model(__tablename__="parcels", id=mapped_column(primary_key=True), policy=policy))
        assert found.partition("WHERE ")[2].replace("(", "").replace(")", "") == (condition or "")

    def test_of_a_parent_make_a_row_personal(self, make_model):
        mine = Policy(owner="id", scopes=by_role(admin=Scope.ALL, member=Scope.OWN, viewer=Scope.OWN))
        parent = make_model(__tablename__="parcels", id=mapped_column(primary_key=True), policy=mine)
        child = Policy(belongs_to=parent, by="id")
        assert child.is_personal(Role.MEMBER)
        assert not child.is_personal(Role.ADMIN)
        assert not ADMINS.is_personal(Role.ADMIN)

    def test_a_scope_of_own_rows_names_their_owner(self):
        with pytest.raises(TypeError, match="names the `owner` column"):
            Policy(scopes=by_role(admin=Scope.ALL, member=Scope.OWN, viewer=Scope.OWN))
