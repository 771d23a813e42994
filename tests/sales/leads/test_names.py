"""Names sort as people expect them to."""

import random

import pytest

# In this order, as a Swedish directory has them.
LAST_NAMES = [
    "Ahl",
    "al-Masri",
    "Berg",
    "Berg-Larsson",
    "Bergman",
    "von Bergsson",
    "Édouard",
    "Ek",
    "von Essen",
    "De la Gardie",
    "af Klint",
    "Łukasz",
    "Müller",
    "Nordin",
    "Nuñez",
    "O'Brien",
    "Ohlin",
    "Strauß",
    "Strausz",
    "Von",
    "Wik",
    "Zorn",
    "Åberg",
    "ÅKESSON",
    "Ängström",
    "Öberg",
    "øhman",
    "Özil",
    "Иванов",
]
PAGE = """query($order: [LeadOrder!], $first: Int, $after: String, $last: Int, $before: String) {
  leadsConnection(orderBy: $order, first: $first, after: $after, last: $last, before: $before) {
    nodes { lastName } pageInfo { hasNextPage hasPreviousPage endCursor startCursor }
  }
}"""
BY_LAST_NAME = "{ leads(orderBy: [{field: LAST_NAME}]) { lastName } }"


@pytest.fixture
def swedish(make_lead):
    """Leads with these last names, made in no order."""
    names = random.Random(1).sample(LAST_NAMES, len(LAST_NAMES))
    return [make_lead(last_name=name)["id"] for name in names]


@pytest.mark.usefixtures("swedish")
class TestASwedishList:
    async def test_is_in_order(self, graphql):
        assert [lead["lastName"] for lead in (await graphql(BY_LAST_NAME))["leads"]] == LAST_NAMES

    @pytest.mark.parametrize("direction", ["ASC", "DESC"])
    async def test_is_in_order_page_by_page(self, graphql, direction):
        order = [{"field": "LAST_NAME", "direction": direction}]
        there, position = [], {"first": 7}
        while True:
            page = (await graphql(PAGE, order=order, **position))["leadsConnection"]
            there += [lead["lastName"] for lead in page["nodes"]]
            if not page["pageInfo"]["hasNextPage"]:
                break
            position = {"first": 7, "after": page["pageInfo"]["endCursor"]}
        back, position = [], {"last": 7}
        while True:
            page = (await graphql(PAGE, order=order, **position))["leadsConnection"]
            back = [lead["lastName"] for lead in page["nodes"]] + back
            if not page["pageInfo"]["hasPreviousPage"]:
                break
            position = {"last": 7, "before": page["pageInfo"]["startCursor"]}
        assert there == back == (LAST_NAMES if direction == "ASC" else LAST_NAMES[::-1])


class TestAName:
    """A change of it moves the lead."""

    async def test_moves_its_lead_when_it_changes(self, graphql, db):
        create = 'mutation { createLead(input: {firstName: "Åsa", lastName: "Ek", company: "Öst"}) { id } }'
        key = int((await graphql(create))["createLead"]["id"])
        update = 'mutation($id: Int!) { updateLead(id: $id, input: {lastName: "von Örn", company: null}) { version } }'
        await graphql(update, id=key)
        keys = "SELECT first_name_key, last_name_key, company_key FROM leads WHERE id = %s"
        assert list(db.execute(keys, [key]).fetchone().values()) == ["{sa", "}rn", None]

    async def test_has_a_key_that_its_events_do_not_tell(self, graphql, events):
        await graphql('mutation { createLead(input: {firstName: "Åsa", lastName: "Ek"}) { id } }')
        await graphql('mutation { createUser(input: {name: "Åsa Ek", email: "a@example.com"}) { id } }')
        assert not [field for event in events() for field in event["fields"] if field["name"].endswith("Key")]

    @pytest.mark.parametrize("field", ["FIRST_NAME", "COMPANY"])
    async def test_sorts_so_in_each_order_by_a_name(self, graphql, make_lead, field):
        names = ["anna & co", "Ek", "Érik", "Zeta", "Åke", "Ärla", "Örn"]
        for name in reversed(names):
            make_lead(first_name=name, company=name)
        made = (await graphql(f"{{ leads(orderBy: [{{field: {field}}}]) {{ firstName company }} }}"))["leads"]
        assert [lead["firstName"] for lead in made] == names

    async def test_sorts_users(self, graphql, make_user):
        names = ["anna Berg", "Ödla", "Åsa Ek", "Zoe", "Émile"]
        made = {str(make_user(name=name)["id"]) for name in names}
        users = (await graphql("{ users { id name } }"))["users"]
        assert [user["name"] for user in users if user["id"] in made] == ["anna Berg", "Émile", "Zoe", "Åsa Ek", "Ödla"]

    @pytest.mark.parametrize("name", ["\ufdfa" * 200, "🙂" * 200, "!", "von", "' '", "{|}"])
    async def test_may_be_anything(self, graphql, name):
        create = "mutation($input: CreateLeadInput!) { createLead(input: $input) { lastName } }"
        made = await graphql(create, input={"firstName": name, "lastName": name, "company": name})
        assert made["createLead"]["lastName"] == name
        assert (await graphql(BY_LAST_NAME))["leads"] == [{"lastName": name}]


class TestARange:
    """`gt` and the like of a name are where it stands in the order."""

    @pytest.mark.usefixtures("swedish")
    @pytest.mark.parametrize("bound", ["Å", "von Essen", "ek", "edouard", "Bergman", "Z", "!", "Ыы"])
    async def test_of_last_names_is_a_part_of_their_order(self, graphql, bound):
        query = "query($where: LeadFilter) { leads(filter: $where, orderBy: [{field: LAST_NAME}]) { lastName } }"

        async def names(**operators):
            found = await graphql(query, where={"lastName": operators})
            return [lead["lastName"] for lead in found["leads"]]

        assert await names(lt=bound) + await names(gte=bound) == LAST_NAMES
        assert await names(lte=bound) + await names(gt=bound) == LAST_NAMES
        assert await names(gte=bound, lte=bound) == [
            name for name in await names(gte=bound) if name not in await names(gt=bound)
        ]

    @pytest.mark.usefixtures("swedish")
    async def test_begins_with_a_letter_that_comes_last(self, graphql):
        query = '{ leads(filter: {lastName: {gte: "å"}}, orderBy: [{field: LAST_NAME}]) { lastName } }'
        names = [lead["lastName"] for lead in (await graphql(query))["leads"]]
        assert names == LAST_NAMES[LAST_NAMES.index("Åberg") :]

    async def test_holds_of_each_name(self, graphql, make_lead, make_user):
        owner = make_user(name="Östen")["id"]
        mine = make_lead(first_name="örjan", last_name="Ek", company="Öhman & co", owner_id=owner)
        make_lead(first_name="Zoë", last_name="Ek", company="Zeta", owner_id=make_user(name="Zoe")["id"])
        make_lead(first_name="Zoë", last_name="Ek", company=None)
        for condition in (
            {"firstName": {"gt": "Zz"}},
            {"fullName": {"gt": "Zz"}},
            {"company": {"gte": "öhman co", "lte": "ÖHMAN CO"}},
            {"owner": {"name": {"gte": "Ö"}}},
        ):
            found = await graphql("query($where: LeadFilter) { leads(filter: $where) { id } }", where=condition)
            assert [lead["id"] for lead in found["leads"]] == [str(mine["id"])], condition

    async def test_leaves_equality_to_the_letters(self, graphql, make_lead):
        make_lead(last_name="Ek")
        query = "query($where: LeadFilter) { leads(filter: $where) { lastName } }"
        assert not (await graphql(query, where={"lastName": {"eq": "EK"}}))["leads"]
        assert (await graphql(query, where={"lastName": {"gte": "EK", "in": ["Ek"]}}))["leads"]
