"""A field is said once: what a column says becomes the type, its inputs, its filter and its order."""

from datetime import datetime
from itertools import count

import pytest
import strawberry
from graphql import print_type
from sqlalchemy import Identity, Table, text
from sqlalchemy.orm import Mapped, mapped_column

from crm import graph
from crm.access.users.graphql import UserFilter
from crm.access.users.model import User
from crm.core import errors, validate
from crm.core.choice import Choice
from crm.core.columns import column
from crm.core.labels import add_label
from crm.core.model import Model
from crm.core.policy import EVERYBODY
from crm.db.query import condition
from crm.graph.declare.filters import IntFilter, WhereInput
from crm.graph.declare.scalars import CONFIG

_NUMBERS = count()


class Size(Choice):
    """How large a parcel is."""

    SMALL = "small", "It fits into a letter box."
    LARGE = "large", "It does not."


def make_parcel() -> type[Model]:
    number = next(_NUMBERS)

    class Parcel(Model):
        __module__ = f"{__name__}_{number}"  # SQLAlchemy tells classes of one name apart by it
        __tablename__ = f"parcels_{number}"
        policy = EVERYBODY

        id: Mapped[int] = column("A number.", Identity(), by="By id.", order="By id.", served=True, key=True)
        label: Mapped[str] = column(
            "What is on it.",
            by="By label.",
            rule=validate.text(10, required=True),
            label=("Sign", "Skylt"),
            input_words="1 to 10 characters.",
        )
        size: Mapped[Size] = column(
            "How large.",
            by="By size.",
            order="By size.",
            rule=validate.given,
            label=("Size", "Storlek"),
            default=Size.SMALL,
        )
        weight: Mapped[int | None] = column(
            "In grams.", order="By weight.", rule=validate.between(0, 9), label=("Weight", "Vikt"), fixed=True
        )
        tags: Mapped[list[str]] = column(
            "Labels.", by="By tags.", rule=validate.tags, label=("Tags", "Taggar"), server_default=text("'{}'")
        )
        sent_at: Mapped[datetime | None] = column("When.", by="By when.", order="By when.", served="when descending")
        version: Mapped[int] = column("Goes up.", default=1)
        secret: Mapped[str | None] = mapped_column(default=None)

    return Parcel


@pytest.fixture
def parcel():
    """A model whose table is forgotten afterwards: the metadata is that of the migrations."""
    model = make_parcel()
    yield model
    Model.metadata.remove(model.__table__)


@pytest.fixture
def sdl(parcel):
    """The SDL of a type of the API that is made of the model."""

    @graph.filter(parcel)
    class ParcelFilter(WhereInput):
        """Which parcels."""

    @graph.order(parcel, age=("By age.", "size"))
    class ParcelOrder:
        """What parcels can be ordered by."""

    @graph.create_input(parcel)
    class CreateParcelInput:
        """A new parcel."""

    @graph.update_input(parcel)
    class UpdateParcelInput:
        """What changes."""

        sent_at: datetime | None = strawberry.field(description="When, if it was sent.", default=strawberry.UNSET)

    @graph.type(parcel)
    class Parcel:
        """Something to send."""

        @graph.computed
        def weight(row: parcel) -> str | None:  # noqa: N805
            """In words."""
            return row.label

    @strawberry.type
    class Query:
        @strawberry.field
        def parcel(
            self, where: ParcelFilter, order: ParcelOrder, create: CreateParcelInput, update: UpdateParcelInput
        ) -> Parcel: ...

    # `and`, `or` and `not` name the filter, which Strawberry looks for in the module.
    globals()["ParcelFilter"] = ParcelFilter
    schema = strawberry.Schema(Query, config=CONFIG)._schema  # noqa: SLF001
    return lambda name: " ".join(print_type(schema.type_map[name]).split())


class TestType:
    def test_shows_columns_with_words_and_what_its_body_says(self, sdl):
        shown = sdl("Parcel")
        assert '"""A number.""" id: ID!' in shown
        assert '"""How large.""" size: Size!' in shown
        assert '"""Labels.""" tags: [String!]!' in shown
        assert '"""In words.""" weight: String' in shown
        assert "In grams" not in shown
        assert "secret" not in shown

    def test_enums_bring_their_words(self, sdl):
        assert '"""It fits into a letter box.""" SMALL' in sdl("Size")


class TestInputs:
    def test_a_new_record_needs_what_nothing_else_can_stand_for(self, sdl):
        new = sdl("CreateParcelInput")
        assert '"""1 to 10 characters.""" label: String!' in new
        assert "size: Size! = SMALL" in new
        assert "weight: Int " in new
        assert "tags: [String!] " in new
        for name in ("id", "version", "sentAt", "secret"):
            assert f" {name}:" not in new

    def test_a_change_may_leave_out_everything_but_not_touch_what_is_fixed(self, sdl):
        change = sdl("UpdateParcelInput")
        assert "label: String " in change
        assert "size: Size " in change
        assert "expectedVersion: Int" in change
        assert "weight" not in change
        assert '"""When, if it was sent.""" sentAt: DateTime' in change

    def test_rules_clean_what_is_given(self, parcel):
        assert set(parcel.rules) == {"label", "size", "weight", "tags"}
        with pytest.raises(errors.BadUserInput, match="Sign must not be blank"):
            validate.clean({"label": " "}, parcel.rules)

    def test_a_rule_needs_a_label_for_its_messages(self):
        with pytest.raises(TypeError, match="label"):
            column("In metres.", rule=validate.anything)

    def test_one_name_has_one_label(self):
        with pytest.raises(TypeError, match="`leadId` is labelled"):
            add_label("leadId", ("Customer", "Kund"))


class TestFilter:
    def test_has_columns_that_say_by(self, sdl):
        found = sdl("ParcelFilter")
        assert '"""By size.""" size: SizeFilter' in found
        assert "tags: StringListFilter" in found
        assert "and: [ParcelFilter!]" in found
        assert "not: ParcelFilter" in found
        assert "weight" not in found

    def test_may_have_written_fields_beside_edges(self, parcel):
        @graph.filter(parcel)
        class HeavyParcelFilter(WhereInput):
            """Which heavy parcels."""

            weight: IntFilter | None = strawberry.field(description="By weight.", default=strawberry.UNSET)
            sender: UserFilter | None = graph.across("By who sent it.", User, lambda row, user: row.label == user.name)

        assert set(HeavyParcelFilter.relations) == {"sender"}
        [weight] = [one for one in HeavyParcelFilter.__strawberry_definition__.fields if one.name == "weight"]
        assert weight.description == "By weight."
        said = condition(parcel.__table__.c, HeavyParcelFilter(weight=IntFilter(gt=5)))
        assert f"{parcel.__tablename__}.weight > " in str(said)


class TestOrder:
    def test_has_columns_that_say_order_and_computed_ones_in_their_place(self, sdl):
        found = sdl("ParcelOrderField")
        names = [word for word in found.split() if word.isupper()]
        assert names == ["ID", "SIZE", "AGE", "WEIGHT", "SENT_AT"]
        assert "By id. Served by an index." in found
        assert "By when. Served by an index when descending." in found

    def test_what_an_index_serves_costs_nothing(self, parcel):
        price = graph.order_cost(parcel)
        fields = {name: type("Key", (), {"value": name}) for name in ("id", "size", "sent_at")}
        costs = {name: price({"order_by": [{"field": key}]}) for name, key in fields.items()}
        assert costs == {"id": 0, "size": 1000, "sent_at": 0}


class TestDatabase:
    def test_an_enum_is_kept_to_its_values(self, parcel):
        assert isinstance(parcel.__table__, Table)
        [check] = [one for one in parcel.__table__.constraints if str(one.name).endswith("size_known")]
        assert str(check.sqltext) == "size IN ('small', 'large')"
        assert parcel.__table__.c.size.server_default.arg == "small"
