"""Whatever a client sends, it gets a clear error with a code and the field at fault; nothing is saved; never a 500."""

import base64
import json
from typing import Any, NamedTuple

import psycopg
import pytest

from crm.core.errors import ErrorCode
from tests.support.http_client import Client

MODERN = "application/graphql-response+json"
TABLES = ("users", "leads", "tasks", "interactions", "events")
# What no client may read: stack traces, SQL, and what we are made of.
SECRETS = ("Traceback", 'File "', "psycopg", "sqlalchemy", "asyncpg", "SELECT ", "INSERT INTO", "::", "$1", "pgconn")

CREATE = "mutation($i: CreateLeadInput!) { createLead(input: $i) { id } }"
UPDATE = "mutation($i: UpdateLeadInput!) { updateLead(id: 1, input: $i) { id } }"
TASK = "mutation($i: CreateTaskInput!) { createTask(input: $i) { id } }"
LOG = "mutation($i: LogInteractionInput!) { logInteraction(input: $i) { id } }"
MOVE = "mutation($f: LeadFilter) { updateTask(id: 1, input: {}) { lead { tasks(filter: {lead: $f}) { id } } } }"
LEAD = "query($id: Int!) { lead(id: $id) { id } }"
PAGE = "query($c: String) { leadsConnection(after: $c) { nodes { id } } }"
ADA = {"firstName": "Ada", "lastName": "Berg"}


# What is wrong with these is not the input.
CODES_OF = {405: "METHOD_NOT_ALLOWED", 406: "NOT_ACCEPTABLE", 415: "UNSUPPORTED_MEDIA_TYPE"}


class Case(NamedTuple):
    """What is sent, and what must come back. Executed operations (a mutation's own refusal) have status 294."""

    name: str
    query: Any
    variables: Any = None
    field: str | None = None
    code: str = "BAD_USER_INPUT"
    status: int = 422
    role: str = "admin"


class Raw(NamedTuple):
    """A request that never becomes a GraphQL operation."""

    name: str
    body: bytes
    status: int = 400
    code: str = "BAD_USER_INPUT"
    content_type: str | None = "application/json"
    accept: str = MODERN
    method: str = "POST"
    url: str = "/graphql"


def lead(**values: Any) -> dict[str, Any]:
    return {"i": {**ADA, **values}}


def task(**values: Any) -> dict[str, Any]:
    return {"i": {"leadId": 1, "title": "Call", **values}}


def log(**values: Any) -> dict[str, Any]:
    return {"i": {"leadId": 1, "type": "CALL", **values}}


def cursor(*payload: Any) -> dict[str, str]:
    return {"c": base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")}


def nested(levels: int) -> str:
    """A selection of so many levels below the root."""
    inner = "id"
    for level in range(levels - 2):
        inner = f"lead {{ {inner} }}" if level % 2 == 0 else f"tasks(limit: 1) {{ {inner} }}"
    return f"{{ {'task(id: 1)' if levels % 2 == 1 else 'lead(id: 1)'} {{ {inner} }} }}"


def executed(name: str, query: str, variables: Any, field: str | None, code: str = "BAD_USER_INPUT") -> Case:
    return Case(name, query, variables, field, code, status=294)


def unparsed(name: str, query: str) -> Case:
    return Case(name, query, status=400)


def too_much(name: str, query: str, variables: Any = None) -> Case:
    return Case(name, query, variables, None, "TOO_COMPLEX")


def creating(fields: str) -> str:
    return f'mutation {{ createLead(input: {{firstName: "Ada", {fields}}}) {{ id }} }}'


def fragments(most: int, each: str) -> str:
    """Fragments that each spread the one below."""
    more = [f"fragment F{n} on Lead {{ {each.replace('{below}', str(n - 1))} }}" for n in range(1, most + 1)]
    return " ".join(["fragment F0 on Lead { id }", *more])


DEEP = "... {" * 30 + "...F{below}" + "}" * 30
COLUMNS = ("firstName", "lastName", "email", "phone", "company", "source", "summary", "location", "currency")
FLAGGED = [f"{name} @skip(if: $f{number})" for number, name in enumerate(COLUMNS)]

DOCUMENTS = [
    unparsed("a document of spaces", "   "),
    unparsed("a document of commas", ",,,,"),
    unparsed("a document of comments", "# nothing here\n# nor here"),
    unparsed("half a document", "{ leads { id"),
    unparsed("not GraphQL", "SELECT * FROM leads"),
    unparsed("an unterminated string", '{ leadBy(input: {email: "x}) { id } }'),
    unparsed("a bad escape", r'{ leadBy(input: {email: "\q"}) { id } }'),
    unparsed("an empty selection", "{ leads { } }"),
    Case("a type definition", "type Query { a: Int }"),
    Case("only a fragment", "fragment F on Lead { id }"),
    Case("an unknown root field", "{ customers { id } }", None, "customers"),
    Case("an unknown field", "{ leads { nope } }", None, "nope"),
    Case("a list without a selection", "{ leads }", None, "leads"),
    Case("a selection of a scalar", "{ leads { firstName { length } } }"),
    Case("an unknown argument", "{ leads(nope: 1) { id } }", None, "nope"),
    Case("a missing argument", "{ lead { id } }", None, "id"),
    Case("an argument twice", "{ leads(limit: 1, limit: 2) { id } }"),
    Case("an unknown type", "query($x: Nope) { leads(limit: $x) { id } }"),
    Case("an output type as a variable", "query($x: Lead) { leads(limit: $x) { id } }"),
    Case("an undefined variable", "{ lead(id: $x) { id } }", None, "id"),
    Case("an unused variable", "query($x: Int) { leads { id } }", None, "x"),
    Case("a nullable variable for a non-null argument", "query($x: Int) { lead(id: $x) { id } }", {"x": 1}, "id"),
    Case("a variable of another type", "query($x: String) { leads(limit: $x) { id } }", {"x": "1"}, "limit"),
    Case("a variable twice", "query($x: Int, $x: Int) { leads(limit: $x) { id } }"),
    Case("an unknown directive", "{ leads @fast { id } }"),
    Case("a directive without its argument", "{ leads @skip { id } }", None, "if"),
    Case("a flag that is text", '{ leads @skip(if: "no") { id } }', None, "if"),
    Case("an unknown fragment", "{ leads { ...Nope } }"),
    Case("an unused fragment", "{ leads { id } } fragment F on Lead { id }"),
    Case("a fragment of another type", "{ leads { ...F } } fragment F on Task { id }"),
    Case("a fragment of an unknown type", "{ leads { ...F } } fragment F on Nope { id }"),
    Case("a fragment within itself", "{ leads { ...F } } fragment F on Lead { id ...F }"),
    Case(
        "two fragments within each other", "{ leads { ...A } } fragment A on Lead { ...B } fragment B on Lead { ...A }"
    ),
    Case("one key, two fields", "{ leads { x: firstName x: lastName } }", None, "lastName"),
    Case("one key, two arguments", "{ leads(limit: 1) { id } leads(limit: 2) { id } }", None, "leads"),
    Case("operations of one name", "query A { leads { id } } query A { tasks { id } }"),
    Case("two operations without a name", "{ leads { id } } { tasks { id } }"),
    Case("several operations, none chosen", "query A { leads { id } } query B { tasks { id } }", None, "operationName"),
    Case("a subscription over HTTP", "subscription { changes { cursor } }"),
    unparsed("half a surrogate pair for a name", "{ leads { \ud800 } }"),
    unparsed("a NUL between fields", "{ leads { id \x00 } }"),
]

LITERALS = [
    Case("an id that is text", '{ lead(id: "x") { id } }', None, "id"),
    Case("an id beyond 2^31", "{ lead(id: 2147483648) { id } }", None, "id"),
    Case("an id of 5,000 digits", f"{{ lead(id: {'9' * 5000}) {{ id }} }}", None, "id"),
    Case("a null id", "{ lead(id: null) { id } }", None, "id"),
    Case("an id with a point", "{ lead(id: 1.5) { id } }", None, "id"),
    Case("a limit below 0", "{ leads(limit: -1) { id } }", None, "limit"),
    Case("a limit above 1,000", "{ leads(limit: 1001) { id } }", None, "limit"),
    Case("a limit of 2^31", "{ leads(limit: 2147483648) { id } }", None, "limit"),
    Case("an offset below 0", "{ leads(offset: -1) { id } }", None, "offset"),
    Case("a huge offset", "{ leads(offset: 2147483647) { id } }", None, "offset"),
    Case("a nested limit below 0", "{ leads { tasks(limit: -1) { id } } }", None, "limit"),
    Case("first and last", "{ leadsConnection(first: 1, last: 1) { nodes { id } } }", None, "last"),
    Case("first below 0", "{ leadsConnection(first: -1) { nodes { id } } }", None, "first"),
    Case("last above 1,000", "{ leadsConnection(last: 1001) { nodes { id } } }", None, "last"),
    Case("an unknown enum value", "{ leads(filter: {status: {eq: SLEEPING}}) { id } }", None, "filter.status.eq"),
    Case("an enum value as text", '{ leads(filter: {status: {eq: "NEW"}}) { id } }', None, "filter.status.eq"),
    Case("an unknown order", "{ leads(orderBy: [{field: SHOE_SIZE}]) { id } }", None, "orderBy.0.field"),
    Case("an order without a field", "{ leads(orderBy: [{direction: ASC}]) { id } }", None, "orderBy.0.field"),
    Case("an unknown filter", "{ leads(filter: {shoeSize: {eq: 1}}) { id } }", None, "filter.shoeSize"),
    Case("an unknown operator", '{ leads(filter: {email: {regex: ".*"}}) { id } }', None, "filter.email.regex"),
    Case("a filter that is a list", "{ leads(filter: []) { id } }", None, "filter"),
    Case("numbers among texts", '{ leads(filter: {email: {in: ["a", 2]}}) { id } }', None, "filter.email.in.1"),
    Case("eq null", "{ leads(filter: {email: {eq: null}}) { id } }", None, "filter.email.eq"),
    Case(
        "a date without an offset",
        '{ tasks(filter: {dueDate: {gt: "2026-01-31T10:00:00"}}) { id } }',
        None,
        "filter.dueDate.gt",
    ),
    Case("30 February", '{ tasks(filter: {dueDate: {gt: "2026-02-30T10:00:00Z"}}) { id } }', None, "filter.dueDate.gt"),
    Case("a date that is a number", "{ tasks(filter: {dueDate: {gt: 20260131}}) { id } }", None, "filter.dueDate.gt"),
    Case("two keys of one", '{ leadBy(input: {id: 1, email: "a@b.se"}) { id } }', None, "input"),
    Case("no key of one", "{ leadBy(input: {}) { id } }", None, "input"),
    Case("a null key", "{ leadBy(input: {id: null}) { id } }", None, "input"),
    Case("a NUL in a filter", r'{ leads(filter: {email: {eq: "a\u0000"}}) { id } }', None, "filter.email.eq"),
    unparsed("half a surrogate pair in a filter", '{ leads(filter: {email: {eq: "a\ud800"}}) { id } }'),
    unparsed("half an escaped surrogate pair", r'{ leads(filter: {email: {eq: "a\ud800"}}) { id } }'),
    Case("a missing member", creating(""), None, "lastName"),
    Case("a null member", creating("lastName: null"), None, "lastName"),
    Case("an unknown member", creating('lastName: "b", id: 1'), None, "id"),
    Case("money that is 1e400", creating('lastName: "b", budget: 1e400'), None, "budget"),
    Case("money that is a list", creating('lastName: "b", budget: [1]'), None, "budget"),
    Case(
        "an unknown priority of many",
        'mutation { createTask(input: {leadId: 1, title: "a", priority: NOW}) { id } }',
        None,
        "priority",
    ),
    executed("a NUL in a literal", creating(r'lastName: "\u0000"'), None, "lastName"),
    executed("a NUL in a list", creating(r'lastName: "b", tags: ["\u0000"]'), None, "tags.0"),
]

VARIABLES = [
    Case("a missing variable", LEAD, {}, "id"),
    Case("a null variable", LEAD, {"id": None}, "id"),
    Case("an id that is text ", LEAD, {"id": "1"}, "id"),
    Case("an id that is a flag", LEAD, {"id": True}, "id"),
    Case("an id that is half", LEAD, {"id": 1.5}, "id"),
    Case("an id that is a list", LEAD, {"id": [1]}, "id"),
    Case("an id that is an object", LEAD, {"id": {"eq": 1}}, "id"),
    Case("an id of 2^31", LEAD, {"id": 2**31}, "id"),
    Case("an id of -2^31 - 1", LEAD, {"id": -(2**31) - 1}, "id"),
    Case("an id of 2^64", LEAD, {"id": 2**64}, "id"),
    Case("an id of 1e400", LEAD, {"id": 10**400}, "id"),
    Case("text with quotes for an id", LEAD, {"id": "it's at 'x'; DROP TABLE leads"}, "id"),
    Case("long text for an id", LEAD, {"id": "x" * 100_000}, "id"),
    Case(
        "text that is a number",
        "query($s: String) { leads(filter: {email: {eq: $s}}) { id } }",
        {"s": 5},
        "filter.email.eq",
    ),
    Case("a deep list for an id", LEAD, {"id": json.loads("[" * 500 + "]" * 500)}, "id"),
    Case(
        "a filter within filters",
        "query($f: LeadFilter) { leads(filter: $f) { id } }",
        {"f": json.loads('{"not":' * 300 + "{}" + "}" * 300)},
        None,
        "TOO_COMPLEX",
    ),
    Case(
        "a filter of thousands",
        "query($f: LeadFilter) { leads(filter: $f) { id } }",
        {"f": {"or": [{"id": {"eq": number}} for number in range(5000)]}},
        None,
        "TOO_COMPLEX",
    ),
    Case("a list for a member", CREATE, lead(firstName=["a"]), "firstName"),
    Case("a null member ", CREATE, lead(lastName=None), "lastName"),
    Case("a missing member ", CREATE, {"i": {"firstName": "Ada"}}, "lastName"),
    Case("an unknown member ", CREATE, lead(isAdmin=True), "isAdmin"),
    Case("an unknown status", CREATE, lead(status="SLEEPING"), "status"),
    Case("a status in lower case", CREATE, lead(status="new"), "status"),
    Case("money with 3 decimals", CREATE, lead(budget="1.005"), "budget"),
    Case("money of 13 digits", CREATE, lead(budget="1000000000000"), "budget"),
    Case("money that is NaN", CREATE, lead(budget="NaN"), "budget"),
    Case("money that is Infinity", CREATE, lead(budget="Infinity"), "budget"),
    Case("money that is text", CREATE, lead(budget="a lot"), "budget"),
    Case("money with underscores", CREATE, lead(budget="1_000"), "budget"),
    Case("money with a blank", CREATE, lead(budget=" 1"), "budget"),
    Case("money in other digits", CREATE, lead(budget="\u0661\u0662"), "budget"),
    Case("money that is a flag", CREATE, lead(budget=True), "budget"),
    Case("tags that are numbers", CREATE, lead(tags=["a", 1]), "tags.1"),
    Case(
        "a bad one among many",
        "mutation($i: [CreateLeadInput!]!) { createLeads(inputs: $i) { index } }",
        {"i": [ADA, {**ADA, "email": 5}]},
        "inputs.1.email",
    ),
    Case("a due date without an offset", TASK, task(dueDate="2026-01-31T10:00:00"), "dueDate"),
    Case("a due date without a time", TASK, task(dueDate="2026-01-31"), "dueDate"),
    Case("a due date on 30 February", TASK, task(dueDate="2026-02-30T10:00:00Z"), "dueDate"),
    Case("a due date in year 1", TASK, task(dueDate="0001-01-01T00:00:00+14:00"), "dueDate"),
    Case("a due date in year 9999", TASK, task(dueDate="9999-12-31T23:59:59-14:00"), "dueDate"),
    Case("a due date with a far offset", TASK, task(dueDate="2026-01-31T10:00:00+25:00"), "dueDate"),
    Case("a due date at 25 o'clock", TASK, task(dueDate="2026-01-31T25:00:00Z"), "dueDate"),
    Case("a due date in other digits", TASK, task(dueDate="\u0662026-01-31T10:00:00Z"), "dueDate"),
    Case("a due date that is a number", TASK, task(dueDate=1_700_000_000), "dueDate"),
    Case("half a surrogate pair for a date", TASK, task(dueDate="\ud800"), "dueDate"),
    executed("a lead id that is text", TASK, task(leadId="x"), "leadId"),
    Case("minutes beyond 2^31", LOG, log(durationMinutes=2**31), "durationMinutes"),
    Case(
        "two keys of one ", "query($k: LeadKey!) { leadBy(input: $k) { id } }", {"k": {"id": 1, "phone": "1"}}, "input"
    ),
    Case("no key of one ", "query($k: LeadKey!) { leadBy(input: $k) { id } }", {"k": {}}, "input"),
    Case("a null key ", "query($k: LeadKey!) { leadBy(input: $k) { id } }", {"k": {"id": None}}, "input"),
    Case("an owner that is no id", 'query { leads(filter: {ownerId: {eq: "me"}}) { id } }', None, "filter.ownerId.eq"),
    Case(
        "a NUL in a filter's variable",
        "query($s: String) { leads(filter: {email: {contains: $s}}) { id } }",
        {"s": "\x00"},
        "filter.email.contains",
    ),
    Case(
        "half a surrogate pair in a variable",
        "query($s: String) { leads(filter: {email: {eq: $s}}) { id } }",
        {"s": "\udfff"},
        "filter.email.eq",
    ),
]

CURSORS = [
    Case("a cursor that is text", PAGE, {"c": "not a cursor"}, "after"),
    Case("an empty cursor", PAGE, {"c": ""}, "after"),
    Case("a cursor in Å Ä Ö", PAGE, {"c": "ÅÄÖ"}, "after"),
    Case("a cursor of another version", PAGE, cursor(2, "x", "1"), "after"),
    Case("a cursor of another filter", PAGE, cursor(1, "0123456789abcdef", "1"), "after"),
    Case("a cursor without values", PAGE, cursor(1, "x"), "after"),
    Case("a cursor with a number", PAGE, cursor(1, "x", 1), "after"),
    Case("a cursor that is an object", PAGE, {"c": base64.urlsafe_b64encode(b'{"a":1}').decode()}, "after"),
    Case("half a cursor", PAGE, {"c": cursor(1, "0123456789abcdef", "1")["c"][:-5]}, "after"),
    Case("a huge cursor", PAGE, {"c": "A" * 200_000}, "after"),
    Case("a deep cursor", PAGE, {"c": base64.urlsafe_b64encode(b"[" * 2900).decode()}, "after"),
    Case("a NUL in a cursor", PAGE, cursor(1, "\x00", "\x00"), "after"),
    Case("half a surrogate pair for a cursor", PAGE, {"c": "\ud800"}, "after"),
    Case("a cursor before", '{ leadsConnection(last: 1, before: "x") { nodes { id } } }', None, "before"),
    Case("a timeline's cursor", '{ lead(id: 1) { timeline(before: "x.y.z") { cursor } } }', None, "before"),
    Case(
        "a timeline's huge cursor",
        '{ lead(id: 1) { timeline(before: "a.1.99999999999999999999") { cursor } } }',
        None,
        "before",
    ),
]

WRITES = [
    executed("a blank first name", CREATE, lead(firstName="  "), "firstName"),
    executed("a blank last name in other blanks", CREATE, lead(lastName="\u2003\u00a0"), "lastName"),
    executed("a first name of 201", CREATE, lead(firstName="x" * 201), "firstName"),
    executed("a NUL in a name", CREATE, lead(firstName="a\x00b"), "firstName"),
    executed("nothing but an invisible character for a name", CREATE, lead(firstName="\u200b"), "firstName"),
    executed("nothing but a byte order mark for a name", CREATE, lead(lastName=" \ufeff\u200d "), "lastName"),
    executed("a bell in a name", CREATE, lead(firstName="a\x07b"), "firstName"),
    executed("a C1 control in a name", CREATE, lead(firstName="a\x85b"), "firstName"),
    executed("a line break in a name", CREATE, lead(firstName="Ada\nBerg"), "firstName"),
    executed("a carriage return in a phone number", CREATE, lead(phone="1\r2"), "phone"),
    executed("a line separator in a company", CREATE, lead(company="A\u2028B"), "company"),
    executed("a paragraph separator in a job title", CREATE, lead(jobTitle="A\u2029B"), "jobTitle"),
    executed("an override of direction in a name", CREATE, lead(lastName="\u202egreB"), "lastName"),
    executed("an isolate of direction in an address", CREATE, lead(email="a\u2066@b.se"), "email"),
    executed("a line break in a tag", CREATE, lead(tags=["ok", "a\nb"]), "tags.1"),
    executed("half a surrogate pair in a tag", CREATE, lead(tags=["\udfff"]), "tags.0"),
    executed("a line break in a title", TASK, task(title="a\nb"), "title"),
    executed("a control character in a description", TASK, task(description="a\x1bb"), "description"),
    executed("a control character in notes", LOG, log(notes="a\x0cb"), "notes"),
    executed("a line break in a subject", LOG, log(subject="a\nb"), "subject"),
    executed("half a surrogate pair in a name", CREATE, lead(lastName="\ud83d"), "lastName"),
    executed("an e-mail without an @", CREATE, lead(email="ada.example.com"), "email"),
    executed("an e-mail without a host", CREATE, lead(email="ada@"), "email"),
    executed("an e-mail without a dot", CREATE, lead(email="ada@localhost"), "email"),
    executed("two e-mails", CREATE, lead(email="a@b.se,c@d.se"), "email"),
    executed("an e-mail with a line break", CREATE, lead(email="a@b.se\nBcc: c@d.se"), "email"),
    executed("an e-mail of 300", CREATE, lead(email="a" * 60 + "@" + "b" * 236 + ".se"), "email"),
    executed("a negative budget", CREATE, lead(budget="-0.01"), "budget"),
    executed("a currency in words", CREATE, lead(currency="kronor"), "currency"),
    executed("a currency of digits", CREATE, lead(currency="123"), "currency"),
    executed("51 tags", CREATE, lead(tags=[str(number) for number in range(51)]), "tags"),
    executed("a tag of 101", CREATE, lead(tags=["x" * 101]), "tags"),
    executed("a NUL in a tag", CREATE, lead(tags=["ok", "\x00"]), "tags.1"),
    executed("an owner that is no id ", CREATE, lead(ownerId="me"), "ownerId"),
    executed("an owner who is not there", CREATE, lead(ownerId="00000000-0000-7000-8000-000000000000"), "ownerId"),
    executed("a first name of null", UPDATE, {"i": {"firstName": None}}, "firstName"),
    executed("a status of null", UPDATE, {"i": {"status": None}}, "status"),
    executed(
        "a stale version", UPDATE, {"i": {"firstName": "Bo", "expectedVersion": 99}}, "expectedVersion", "CONFLICT"
    ),
    executed("a lead that is not there", "mutation { deleteLead(id: 404) { id } }", None, None, "NOT_FOUND"),
    executed("a lead with a negative id", "mutation { deleteLead(id: -1) { id } }", None, None, "NOT_FOUND"),
    executed("a living lead brought back", "mutation { restoreLead(id: 1) { id } }", None, None, "NOT_FOUND"),
    Case(
        "1,001 leads at once",
        "mutation($i: [CreateLeadInput!]!) { createLeads(inputs: $i) { index } }",
        {"i": [ADA] * 1001},
        "inputs",
    ),
    Case("too many conditions in a mutation", MOVE, {"f": {"or": [{}] * 40_000}}, None, "TOO_COMPLEX"),
    executed("a title of 256", TASK, task(title="x" * 256), "title"),
    executed("a blank title", TASK, task(title="\t\n"), "title"),
    executed("a description of 20,001", TASK, task(description="x" * 20_001), "description"),
    executed("a task of no lead", TASK, task(leadId=404), "leadId", "NOT_FOUND"),
    executed("a task of lead -1", TASK, task(leadId=-1), "leadId"),
    executed("an assignee who is no id", TASK, task(assigneeId="x"), "assigneeId"),
    executed(
        "a person's task as a suggestion",
        "mutation { updateTaskSource(taskId: 1, source: AI_SUGGESTED) { id } }",
        None,
        "source",
    ),
    executed(
        "a null flag", "mutation($c: Boolean) { completeTask(id: 1, completed: $c) { id } }", {"c": None}, "completed"
    ),
    executed("an interaction in the future", LOG, log(occurredAt="2199-01-01T00:00:00Z"), "occurredAt"),
    executed("an interaction of -1 minutes", LOG, log(durationMinutes=-1), "durationMinutes"),
    executed("an interaction of two days", LOG, log(durationMinutes=2881), "durationMinutes"),
    executed(
        "a user without a name", 'mutation { createUser(input: {email: "a@b.se", name: " "}) { id } }', None, "name"
    ),
    executed(
        "a user without an address", 'mutation { createUser(input: {email: "", name: "A"}) { id } }', None, "email"
    ),
    executed("a user that is no id", 'mutation { disableUser(id: "me") { id } }', None, "id"),
]

TOO_MUCH = [
    too_much("13 levels", nested(13)),
    too_much("150 levels", nested(150)),
    too_much("1,000 levels", "{ lead " * 1000 + "}" * 1000),
    too_much("lists in lists in lists", f"{{ leads(filter: {'[' * 1500}{']' * 1500}) {{ id }} }}"),
    too_much("a type of lists in lists", f"query($x: {'[' * 900}Int{']' * 900}) {{ leads {{ id }} }}"),
    too_much("13 levels of filters", f"{{ leads(filter: {'{not: ' * 12}{{}}{'}' * 12}) {{ id }} }}"),
    too_much("4,001 tokens", f"{{ leads {{ {'id ' * 4000} }} }}"),
    too_much("5,000 lines of comments", "#\n" * 5000 + "{ leads { id } }"),
    too_much("501 fields", f"{{ leads {{ {'id ' * 501} }} }}"),
    too_much("31 aliases", f"{{ {' '.join(f'a{n}: lead(id: {n}) {{ id }}' for n in range(31))} }}"),
    too_much("51 directives", f"{{ leads {{ {'id @skip(if: true) ' * 51} }} }}"),
    too_much("2,000 directives", f"{{ leads {{ id {'@skip(if:true)' * 2000} }} }}"),
    too_much("51 fragments", "{ leads { ...F0 } } " + " ".join(f"fragment F{n} on Lead {{ id }}" for n in range(51))),
    too_much("a fragment that doubles 30 times", "{ leads { ...F30 } } " + fragments(30, "...F{below} ...F{below}")),
    too_much("deep fragments in deep fragments", "{ leads { ...F39 } } " + fragments(39, DEEP)),
    too_much(
        "nine flags",
        f"query({' '.join(f'$f{n}: Boolean!' for n in range(9))}) {{ leads {{ {' '.join(FLAGGED)} }} }}",
        {f"f{n}": False for n in range(9)},
    ),
    too_much("circular introspection", f"{{ __schema {{ types {'{ fields { type ' * 12}{{ name }}{' } }' * 12} }} }}"),
    too_much("more than 10,000 points", "{ leads(limit: 1000) { tasks(limit: 100) { id } } }"),
]

OPERATIONS = [*DOCUMENTS, *LITERALS, *VARIABLES, *CURSORS, *WRITES, *TOO_MUCH]

GOOD = b'{"query":"{ leads { id } }"}'
REQUESTS = [
    Raw("nothing", b""),
    Raw("null", b"null", 422),
    Raw("a number", b"5", 422),
    Raw("text", b'"text"', 422),
    Raw("a flag", b"true", 422),
    Raw("an empty list", b"[]", 422),
    Raw("a batch", b"[{},{}]", 422),
    Raw("a batch of one", b"[" + GOOD + b"]", 422),
    Raw("an empty object", b"{}", 422),
    Raw("a null query", b'{"query":null}', 422),
    Raw("an empty query", b'{"query":""}', 422),
    Raw("a query that is a number", b'{"query":5}', 422),
    Raw("a query that is a list", b'{"query":["{ leads { id } }"]}', 422),
    Raw("variables that are a list", b'{"query":"{ leads { id } }","variables":[1]}', 422),
    Raw("variables that are text", b'{"query":"{ leads { id } }","variables":"{}"}', 422),
    Raw("an operationName that is a number", b'{"query":"{ leads { id } }","operationName":1}', 422),
    Raw("a wrong operationName", b'{"query":"query A { leads { id } }","operationName":"B"}', 422),
    Raw("extensions that are text", b'{"query":"{ leads { id } }","extensions":"x"}', 422),
    Raw("half a JSON", GOOD[:-3]),
    Raw("JSON and more", GOOD + b"x"),
    Raw("JSON with a comment", b"/* hi */" + GOOD),
    Raw("single quotes", b"{'query':'{ leads { id } }'}"),
    Raw("a BOM", b"\xef\xbb\xbf" + GOOD),
    Raw("UTF-16", GOOD.decode().encode("utf-16")),
    Raw("invalid UTF-8", b'{"query":"{ leads(filter: {email: {eq: \\"\xff\xfe\\"}}) { id } }"}'),
    Raw("invalid UTF-8 for a name", b'{"\xc3\x28":1}'),
    Raw("bytes", bytes(range(256))),
    Raw("100,000 nested arrays", b"[" * 100_000 + b"]" * 100_000),
    Raw("100,000 nested objects", b'{"query":' * 10_000 + b"1" + b"}" * 10_000),
    Raw("a number of 5,000 digits", b'{"query":"{ leads { id } }","variables":{"x":' + b"9" * 5000 + b"}}"),
    Raw("NaN", b'{"query":"{ leads { id } }","variables":{"x":NaN}}'),
    Raw("Infinity", b'{"query":"{ leads { id } }","variables":{"x":-Infinity}}'),
    Raw("text/plain", GOOD, 415, content_type="text/plain"),
    Raw("text/application/json", GOOD, 415, content_type="text/application/json"),
    Raw("application/jsonx", GOOD, 415, content_type="application/jsonx"),
    Raw("application/json in a parameter", GOOD, 415, content_type="text/plain; a=application/json"),
    Raw("two content types", GOOD, 415, content_type="application/json, text/plain"),
    Raw("a form", b"query={leads{id}}", 415, content_type="application/x-www-form-urlencoded"),
    Raw("multipart", b"--x\r\n\r\n--x--", 415, content_type="multipart/form-data; boundary=x"),
    Raw("application/graphql", b"{ leads { id } }", 415, content_type="application/graphql"),
    Raw("no content type", GOOD, 415, content_type=None),
    Raw("an empty content type", GOOD, 415, content_type=""),
    Raw("latin-1", GOOD, 415, content_type="application/json; charset=latin-1"),
    Raw("UTF-16 that says so", GOOD, 415, content_type="application/json; charset=utf-16"),
    Raw("a charset like UTF-8", GOOD, 415, content_type="application/json; charset=utf-8x"),
    Raw("an answer as CSV", GOOD, 406, accept="text/csv"),
    Raw("no answer in JSON", GOOD, 406, accept="application/json;q=0"),
    Raw("256 KiB and one", GOOD[:-1] + b" " * (256 * 1024 - len(GOOD)) + b" }", 413, "TOO_LARGE"),
    Raw("3 MiB", b'{"query":"mutation { createLeads' + b" " * 3 * 1024 * 1024 + b'"}', 413, "TOO_LARGE"),
    Raw("PUT", GOOD, 405, method="PUT"),
    Raw("PATCH", GOOD, 405, method="PATCH"),
    Raw("DELETE", b"", 405, method="DELETE"),
    Raw("OPTIONS", b"", 405, method="OPTIONS"),
    Raw("GET of nothing", b"", 422, method="GET"),
    Raw("GET of an empty query", b"", 422, method="GET", url="/graphql?query="),
    Raw("GET of a mutation", b"", 405, method="GET", url="/graphql?query=mutation{deleteLead(id:1){id}}"),
    Raw(
        "GET of a chosen mutation",
        b"",
        405,
        method="GET",
        url="/graphql?query=query A{leads{id}} mutation B{deleteLead(id:1){id}}&operationName=B",
    ),
    Raw("GET with variables that are no JSON", b"", 422, method="GET", url="/graphql?query={leads{id}}&variables={x"),
    Raw("GET with variables that are a list", b"", 422, method="GET", url="/graphql?query={leads{id}}&variables=[1]"),
    Raw("GET with extensions that are a number", b"", 422, method="GET", url="/graphql?query={leads{id}}&extensions=5"),
    Raw("GET of invalid UTF-8", b"", method="GET", url="/graphql?query=%ff%fe"),
    Raw("GET of a hundred parameters", b"", method="GET", url="/graphql?" + "a=1&" * 100 + "query={leads{id}}"),
]


@pytest.fixture(scope="module")
def world(database_url):
    """A lead and a task, both with id 1."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(TABLES[1:])} RESTART IDENTITY CASCADE")
        connection.execute("INSERT INTO leads (first_name, last_name) VALUES ('Ada', 'Berg')")
        connection.execute("INSERT INTO tasks (lead_id, title) VALUES (1, 'Call')")
        yield connection


@pytest.fixture(scope="module")
def http(server, world):  # noqa: ARG001
    headers = {"Authorization": f"Bearer {server.token()}"}
    with Client(base_url=server.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def unchanged(server, world):
    """At the end the database and the log are as they were."""
    counts = f"SELECT {', '.join(f'(SELECT count(*) FROM {table})' for table in TABLES)}, (SELECT xmin FROM leads)"
    before, logged = world.execute(counts).fetchone(), len(server.log())
    yield
    assert world.execute(counts).fetchone() == before
    assert server.log()[logged:] == ""


def check_errors(response: Any, code: str) -> dict[str, Any]:
    """The first error, after a look at all of them."""
    answer = response.json()
    assert answer["errors"], answer
    for error in answer["errors"]:
        assert error["message"]
        assert len(error["message"]) < 1000
        assert error["extensions"]["code"] in ErrorCode.__members__
    assert answer["errors"][0]["extensions"]["code"] == code, answer
    assert not [secret for secret in SECRETS if secret in response.text], response.text
    return answer["errors"][0]


def dumped(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.usefixtures("unchanged")
class TestOperations:
    @pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: case.name)
    def test_gets_a_clear_error(self, http, case):
        response = http.post(
            "/graphql",
            content=dumped({"query": case.query, "variables": case.variables}),
            headers={"Accept": MODERN, "Content-Type": "application/json"},
        )
        assert response.status_code == case.status, response.text
        assert response.headers["content-type"] == f"{MODERN}; charset=utf-8"
        error = check_errors(response, case.code)
        assert error["extensions"].get("field") == case.field, response.text
        assert (response.json().get("data", "absent") == "absent") == (case.status != 294)

    @pytest.mark.parametrize("case", [DOCUMENTS[0], LITERALS[0], VARIABLES[0], TOO_MUCH[0]], ids=lambda case: case.name)
    def test_plain_json_keeps_200(self, http, case):
        response = http.post("/graphql", json={"query": case.query, "variables": case.variables})
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        check_errors(response, case.code)

    def test_at_most_five_errors_are_shown(self, http):
        response = http.post("/graphql", json={"query": "{ " + " ".join(f"f{n}" for n in range(100)) + " }"})
        assert len(response.json()["errors"]) == 5


@pytest.mark.usefixtures("unchanged")
class TestRequests:
    @pytest.mark.parametrize("accept", [MODERN, "application/json", "*/*"])
    @pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
    def test_gets_a_clear_error(self, http, case, accept):
        accept = accept if case.accept == MODERN else case.accept
        headers = {"Accept": accept}
        if case.content_type is not None:
            headers["Content-Type"] = case.content_type
        response = http.request(case.method, case.url, content=case.body, headers=headers)
        malformed = case.name != "a wrong operationName"
        assert response.status_code == (case.status if malformed or accept == MODERN else 200), response.text
        check_errors(response, CODES_OF.get(case.status, case.code))
        assert "data" not in response.json()
        if accept == "*/*":
            assert response.headers["content-type"] == "application/json; charset=utf-8"
        if response.status_code == 405:
            assert response.headers["allow"] == "GET, HEAD, POST, QUERY"

    @pytest.mark.parametrize("size", [300_000, 3_000_000])
    def test_a_chunked_body_is_measured_as_it_comes(self, http, size):
        def chunks():
            yield b'{"query":"{ leads { id } }","x":"'
            for _ in range(size // 10_000):
                yield b"x" * 10_000
            yield b'"}'

        response = http.post("/graphql", content=chunks(), headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        check_errors(response, "TOO_LARGE")
