"""A database whose rows PostgreSQL never analyzed, as after an import: its plans cost what they cost afterwards."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from crm.core.identity import Role, Viewer
from crm.core.policy import viewer_values
from crm.db.statement import Statement, encode
from crm.db.table_statistics import NEVER_ANALYZED, names
from crm.db.visibility import compiled
from crm.sales.leads.facts import facts_statement
from crm.sales.scoring import statements
from tests.bench import operations
from tests.support.clusters import create_migrated_database
from tests.support.plans import pages, statement

LEADS = 20_000
SOME = LEADS // 2
TABLES = "leads", "interactions", "tasks", "events"
# As an import makes them: one after the other, with events.
FILL = (
    """
    INSERT INTO leads (first_name, last_name, email, phone, company, status, budget, currency, deleted_at)
    SELECT 'First' || i % 300, 'Last' || i * 7919 % 5000, 'lead' || i || '@example.com', '+46 70 ' || 1000000 + i,
      'Company ' || i % 500, (ARRAY['new', 'contacted', 'qualified', 'proposal', 'won', 'lost'])[1 + i % 6],
      i * 7919::bigint % 2000000, 'SEK', CASE WHEN i % 60 = 0 THEN now() END
    FROM generate_series(1, {leads}) AS i
    """,
    """
    INSERT INTO interactions (type, notes, occurred_at, lead_id)
    SELECT (ARRAY['call', 'email', 'meeting', 'message', 'note'])[1 + (i + j) % 5], 'What was said ' || i,
      now() - make_interval(days => (i * 31 + j * j * 7) % 200, hours => i % 24), i
    FROM generate_series(1, {leads}) AS i, generate_series(1, 4) AS j
    """,
    """
    INSERT INTO tasks (title, lead_id, completed, source, due_date)
    SELECT 'Task ' || j || ' of ' || i, i, (i + j) % 2 = 0 OR i % 10 = 0,
      CASE WHEN (i + j) % 4 = 0 THEN 'ai_suggested' ELSE 'manual' END, now() + make_interval(days => i % 40 - 20)
    FROM generate_series(1, {leads}) AS i, generate_series(1, 3) AS j
    """,
    """
    INSERT INTO events (type, entity, entity_id, lead_id)
    SELECT (ARRAY['lead.created', 'lead.updated', 'lead.updated'])[j], 'lead', i::text, i
    FROM generate_series(1, {leads}) AS i, generate_series(1, 3) AS j
    """,
)
ORDER = {"order": [{"field": "ID", "direction": "DESC"}]}
OPERATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "a lead with all of it": (
        "query($id: Int!) { lead(id: $id) { id tasks { id } interactions { id } timeline(limit: 20) { id } } }",
        {"id": SOME},
    ),
    "one": (operations.ONE, {"id": SOME}),
    "leads with tasks": ("{ leads(limit: 50) { id tasks { id title } } }", {}),
    "leads with open tasks": ("{ leads(limit: 50) { id tasks(filter: {completed: {eq: false}}) { id } } }", {}),
    "leads with tasks and interactions": (operations.LIST50, {"n": 50}),
    "200 leads": (operations.WIDE200, {"n": 200}),
    "leads of a status": ("{ leads(limit: 50, filter: {status: {eq: QUALIFIED}}) { id tasks { id } } }", {}),
    "hottest leads": ("{ leads(limit: 50, orderBy: [{field: ACTIVITY_SCORE, direction: DESC}]) { id } }", {}),
    "leads that changed last": ("{ leads(limit: 50, orderBy: [{field: UPDATED_AT, direction: DESC}]) { id } }", {}),
    "leads by last name": (operations.PAGE, {"order": [{"field": "LAST_NAME"}]}),
    "first page": (operations.PAGE, ORDER),
    "a count": (operations.COUNT, {}),
    "leads with some open task": ("{ leads(limit: 50, filter: {tasks: {some: {completed: {eq: false}}}}) { id } }", {}),
    "leads with no open task": ("{ leads(limit: 50, filter: {tasks: {none: {completed: {eq: false}}}}) { id } }", {}),
    "leads with some meeting": (
        "{ leads(limit: 50, filter: {interactions: {some: {type: {eq: MEETING}}}}) { id } }",
        {},
    ),
    "open tasks": ("{ tasks(limit: 50, filter: {completed: {eq: false}}) { id lead { id fullName } } }", {}),
    "suggested tasks": ("{ tasks(limit: 50, filter: {source: {eq: AI_SUGGESTED}}) { id lead { id } } }", {}),
    "next tasks": (
        "{ tasks(limit: 50, filter: {completed: {eq: false}}, orderBy: [{field: DUE_DATE}]) { id lead { id } } }",
        {},
    ),
    "interactions": (
        "{ interactions(limit: 50, orderBy: [{field: OCCURRED_AT, direction: DESC}]) { id lead { id } } }",
        {},
    ),
    "search for two words": (operations.SEARCH, {"text": "first17 last1234"}),
    "search for two letters": (operations.SEARCH, {"text": "fi"}),
    "search for what is not there": (operations.SEARCH, {"text": "zzzz no such thing"}),
    "statistics": (operations.STATS, {}),
}
AT = encode(datetime.now(UTC))
SCORING = {
    "the score of one lead": (statements.SHOW, [AT, encode([SOME])]),
    "scores that follow": (statements.FOLLOW, [AT, encode(list(range(SOME, SOME + 20)))]),
    "a batch of demo data": (Statement(statements.QUIET_BATCH), [AT, encode(list(range(1001, 2001)))]),
    "a batch of scores": (statements.BATCH, [AT, encode(list(range(1, 1001))), encode("run"), None]),
}
FORGET = "DELETE FROM pg_statistic WHERE starelid = ANY(%s::regclass[])"


@pytest.fixture(scope="module")
def new_database(postgres):
    """A connection to a database into which 20,000 leads have just come."""
    base = postgres.url.replace("/crm?", "/postgres?")
    name = f"new{time.monotonic_ns()}"
    url = create_migrated_database(postgres.url, name)
    with psycopg.connect(url, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        connection.execute("SET session_replication_role = replica")  # references are right, and not looked up
        for fill in FILL:
            connection.execute(fill.format(leads=LEADS))
        connection.execute("RESET session_replication_role")
        for index in ("leads_search_idx", "tasks_search_idx", "interactions_search_idx"):
            connection.execute("SELECT gin_clean_pending_list(%s)", [index])
        yield connection
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def cases(new_database):
    """Statements with their parameters."""
    found = {name: asyncio.run(statement(new_database.info.dsn, *one)) for name, one in OPERATIONS.items()}
    facts = compiled(facts_statement(SOME))
    given = {**facts.params, **viewer_values(Viewer(None, Role.ADMIN))}
    found["facts"] = (str(facts), [encode(given[name]) for name in facts.positiontup or ()])
    return found | {name: (one.text.decode(), params) for name, (one, params) in SCORING.items()}


@pytest.fixture(scope="module")
def measured(new_database, cases):
    """Pages touched by statements: without statistics at all, as new, and once PostgreSQL has analyzed the rows.

    Twice where something is written: at any moment a full-text index may put in order what waits.
    """

    def measure(chosen):
        return {
            (name, generic): min(
                pages(new_database, *cases[name], generic=generic) for _ in range(1 + (name in SCORING))
            )
            for name in chosen
            for generic in (False, True)
        }

    assert set(names(new_database, NEVER_ANALYZED)) >= set(TABLES)
    new = measure(cases)
    with new_database.transaction(force_rollback=True):
        new_database.execute(FORGET, [list(TABLES)])
        bare = measure(SCORING)
    new_database.execute("SET default_statistics_target = 1000")  # all rows: a sample of them may be a lucky one
    new_database.execute("ANALYZE " + ", ".join(TABLES))
    return bare, new, measure(cases)


def _worse(found, than):
    """The statements that touch more than twice the pages, and a few."""
    return {
        f"{name}, {'any parameters' if generic else 'these parameters'}": (count, than[name, generic])
        for (name, generic), count in found.items()
        if count > 2 * than[name, generic] + 50
    }


class TestANewDatabase:
    def test_touches_no_more_pages_than_an_analyzed_one(self, measured):
        _, new, analyzed = measured
        assert _worse(new, analyzed) == {}

    def test_scores_as_well_without_any_statistics(self, measured):
        """As after a restore."""
        bare, _, analyzed = measured
        assert _worse(bare, analyzed) == {}
