"""Where the search begins: operations that once cost too much, and usual ones."""

from tests.attacks.genome import Genome


def _fragment_circle() -> str:
    names = [f"F{number}" for number in range(16)]
    spreads = " ".join(f"...{name}" for name in names)
    fragments = "\n".join(f"fragment {name} on Lead {{ id {spreads} }}" for name in names)
    return f"{{ leads {{ ...F0 }} }}\n{fragments}"


def _conditions(count: int) -> str:
    return ", ".join(f'{{company: {{contains: "a{number}"}}}}' for number in range(count))


def _across(levels: int) -> str:
    return "{tasks: {some: {lead: " * levels + '{company: {contains: "a"}}' + "}}}" * levels


SEEDS = [
    Genome("{ leads { id fullName tasks(limit: 5) { title } } }"),
    Genome(
        "{ lead(id: 1) { id fullName company tasks { id title } interactions { notes } timeline(limit: 50) { type } } }"
    ),
    Genome("{ leadsConnection(first: 50) { totalCount edges { cursor node { id } } pageInfo { endCursor } } }"),
    Genome("{ leads { interactions { notes lead { interactions { notes } } } } }"),
    Genome("{ leads { tasks { lead { tasks { lead { tasks { id } } } } } } }"),
    Genome("{ tasks { lead { tasks { lead { tasks { title } } } } } }"),
    Genome("{ lead(id: 1) { a: interactions { notes } b: interactions { notes } c: interactions { notes } } }"),
    Genome('{ search(text: "an", limit: 100) { score snippet lead { id } } }'),
    Genome('{ search(text: "ab\\n") { score } }'),
    Genome("{ leadStats(groupBy: [COMPANY, LOCATION, SOURCE]) { count } }"),
    Genome(_fragment_circle()),
    Genome(f"{{ leads(filter: {{or: [{_conditions(100)}]}}) {{ id }} }}"),
    Genome(f"{{ leads(filter: {_across(5)}) {{ id }} }}"),
    Genome(
        "query ($f: LeadFilter) { a: leads(filter: $f) { id } b: leads(filter: $f) { id } }",
        {"f": {"or": [{"company": {"contains": "a"}}] * 20}},
    ),
    Genome(
        "{ __schema { types { name fields { name args { name type { name ofType { name ofType { name } } } } } } } }"
    ),
    Genome(" ".join(f"query Q{number} {{ a{number}: __typename }}" for number in range(40))),
    Genome(
        "mutation ($i: [CreateLeadInput!]!) { createLeads(inputs: $i) { index } }",
        {"i": [{"firstName": "A", "lastName": "B"}] * 3},
    ),
    Genome("{ leads(orderBy: [{field: COMPANY}, {field: LOCATION}, {field: BUDGET}]) { id } }"),
    Genome("query ($ids: [Int!]) { leads(filter: {id: {in: $ids}}) { id } }", {"ids": [1, 2, 3]}),
]
