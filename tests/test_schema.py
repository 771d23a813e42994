import re
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    is_required_argument,
    parse,
    validate,
)

from crm.web.graphiql.page import examples
from tests.support import sdl

ROOT = Path(__file__).parents[1]
SCHEMA = sdl.schema()
OURS = [kind for name, kind in SCHEMA.type_map.items() if not name.startswith("__")]
BUILT_IN = {"ID", "Int", "String", "Boolean", "Float"}


def fields_of(name):
    """A type's fields as the SDL writes them: `lead(id: Int!): Lead` as ("Lead", {"id": "Int!"})."""
    fields = SCHEMA.get_type(name).fields.items()
    return {key: (str(field.type), {arg: str(one.type) for arg, one in field.args.items()}) for key, field in fields}


def words(text):
    return set(text.split())


class TestSchemaFile:
    def test_is_fresh(self):
        assert (ROOT / "schema.graphql").read_text() == sdl.text(), "run: crm schema > schema.graphql"


class TestDescriptions:
    @pytest.mark.parametrize("kind", OURS, ids=str)
    def test_everything_has_one(self, kind):
        missing = [] if kind.description or kind.name in BUILT_IN else [kind.name]
        if isinstance(kind, GraphQLEnumType):
            missing += [name for name, value in kind.values.items() if not value.description]
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            missing += [name for name, field in kind.fields.items() if not field.description]
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            missing += [
                f"{name}({argument})"
                for name, field in kind.fields.items()
                for argument, one in field.args.items()
                if not one.description
            ]
        assert missing == []


class TestDeprecations:
    def test_each_says_from_which_day_on_it_may_go(self):
        dateless = [
            f"{kind}.{name}"
            for kind in OURS
            for name, one in {**getattr(kind, "fields", {}), **getattr(kind, "values", {})}.items()
            if one.deprecation_reason and not re.search(r"\b20\d\d-\d\d-\d\d\b", one.deprecation_reason)
        ]
        assert dateless == []


class TestFixedNames:
    """Clients with generated types depend on these."""

    def test_of_a_task(self):
        found = {name: kind for name, (kind, _) in fields_of("Task").items()}
        assert (
            found.items()
            >= {
                "id": "ID!",
                "title": "String!",
                "description": "String",
                "dueDate": "DateTime",
                "completed": "Boolean!",
                "source": "TaskSource!",
                "aiReasoning": "String",
                "leadId": "Int!",
                "lead": "Lead",
                "createdAt": "DateTime!",
                "updatedAt": "DateTime!",
            }.items()
        )

    def test_of_the_sources_of_a_task(self):
        assert set(SCHEMA.get_type("TaskSource").values) == {"MANUAL", "AI_SUGGESTED", "DISMISSED"}

    @pytest.mark.parametrize(
        ("name", "kind", "needed"),
        [
            ("lead", "Lead", {"id": "Int!"}),
            ("leads", "[Lead!]!", {}),
            ("task", "Task", {"id": "Int!"}),
            ("tasksByLeadId", "[Task!]!", {"leadId": "Int!"}),
        ],
    )
    def test_of_queries(self, name, kind, needed):
        assert fields_of("Query")[name][0] == kind
        assert self._required("Query", name) == needed

    def test_of_update_task_source(self):
        assert fields_of("Mutation")["updateTaskSource"][0] == "Task!"
        assert self._required("Mutation", "updateTaskSource") == {"taskId": "Int!", "source": "TaskSource!"}

    def test_of_every_operation(self):
        assert set(fields_of("Query")) >= words(
            "lead leads leadsConnection leadBy leadStats task tasks tasksConnection tasksByLeadId "
            "interaction interactions interactionsConnection search me users"
        )
        assert set(fields_of("Mutation")) >= words(
            "createLead updateLead deleteLead restoreLead createLeads logInteraction updateInteraction "
            "deleteInteraction createTask updateTask completeTask deleteTask restoreTask updateTaskSource "
            "createUser updateUser disableUser"
        )
        assert set(fields_of("Subscription")) >= {"changes"}

    def test_of_a_lead(self):
        assert set(fields_of("Lead")) >= words(
            "id firstName lastName fullName email phone company jobTitle status source budget currency "
            "location tags ownerId owner summary summaryGeneratedAt activityScore scoreCalculatedAt version "
            "createdAt updatedAt deletedAt tasks interactions lastInteractionAt openTaskCount "
            "suggestedTaskCount summaryIsStale timeline"
        )
        assert set(fields_of("Lead")["timeline"][1]) >= {"limit", "before"}

    def test_of_lists_and_connections(self):
        for name in ("leads", "tasks", "interactions"):
            assert set(fields_of("Query")[name][1]) >= {"filter", "orderBy", "limit", "offset"}
            connection, arguments = fields_of("Query")[f"{name}Connection"]
            assert set(arguments) >= {"filter", "orderBy", "first", "after", "last", "before"}
            assert set(fields_of(connection.strip("!"))) == {"edges", "nodes", "pageInfo", "totalCount"}

    def test_of_changes(self):
        assert set(fields_of("Subscription")["changes"][1]) == {"leadId", "types", "after"}
        assert set(fields_of("Change")) >= words(
            "cursor type entity entityId actor occurredAt fields lead task interaction"
        )
        assert set(fields_of("FieldChange")) == {"name", "before", "after"}

    @staticmethod
    def _required(kind, name):
        """The arguments that a client must give: one more would break those who do not know it."""
        arguments = SCHEMA.get_type(kind).fields[name].args
        return {key: str(one.type) for key, one in arguments.items() if is_required_argument(one)}


class TestExamples:
    @pytest.mark.parametrize("query", [example.query for example in examples()], ids=lambda query: query.split("\n")[0])
    def test_are_valid(self, query):
        assert validate(SCHEMA, parse(query)) == []
