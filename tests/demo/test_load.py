"""Loading demo data into a real PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from crm.advice.recommendations.playbook import playbook
from crm.demo.load import Loaded, load
from crm.demo.tasks import RULES
from crm.demo.team import TEAM

NOW = datetime(2026, 3, 18, 13, 37, tzinfo=UTC)
NIGHTS_AND_WEEKENDS = [
    datetime(2026, 3, 16, 2, 0, tzinfo=UTC),
    datetime(2026, 3, 20, 23, 59, tzinfo=UTC),
    datetime(2026, 3, 22, 12, 0, tzinfo=UTC),
    datetime(2026, 3, 23, 7, 0, tzinfo=UTC),
]

EVENT = "type, entity, entity_id, lead_id, actor_id, occurred_at, version, fields"

Connection = psycopg.Connection[Any]
Filled = Callable[[int, datetime], Connection]


def count(connection: Connection, query: LiteralString, **values: object) -> int:
    """The one number that a query answers with."""
    row = connection.execute(query, values or None).fetchone()
    assert row is not None
    return int(row[0])


def everything(connection: Connection) -> list[list[tuple[Any, ...]]]:
    """All that was loaded."""
    return [
        connection.execute("SELECT * FROM users ORDER BY email").fetchall(),
        connection.execute("SELECT * FROM leads ORDER BY id").fetchall(),
        connection.execute("SELECT * FROM interactions ORDER BY id").fetchall(),
        connection.execute("SELECT * FROM tasks ORDER BY id").fetchall(),
        connection.execute("SELECT * FROM ai_tasks ORDER BY id").fetchall(),
        connection.execute("SELECT * FROM ai_task_attempts ORDER BY id").fetchall(),
        connection.execute("SELECT * FROM ai_calls ORDER BY id").fetchall(),
        connection.execute(f"SELECT {EVENT} FROM events ORDER BY id").fetchall(),
    ]


def wipe(connection: Connection) -> None:
    """As before the first load."""
    connection.execute("TRUNCATE leads, interactions, tasks, events, ai_tasks, ai_calls RESTART IDENTITY CASCADE")


class TestLoad:
    """What is there afterwards."""

    @pytest.fixture(autouse=True)
    def _small_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A few hundred leads are several chunks, as many thousands are."""
        monkeypatch.setattr("crm.demo.load.CHUNK", 200)

    def test_says_what_it_added(self, connection: Connection) -> None:
        loaded = load(connection, 500, now=NOW)

        assert loaded.leads == count(connection, "SELECT count(*) FROM leads") == 500
        assert loaded.interactions == count(connection, "SELECT count(*) FROM interactions")
        assert loaded.tasks == count(connection, "SELECT count(*) FROM tasks")
        assert loaded.ai_tasks == count(connection, "SELECT count(*) FROM ai_tasks")
        assert loaded.users == len(TEAM) == count(connection, "SELECT count(*) FROM users WHERE email LIKE '%.example'")
        assert 4 < loaded.interactions / loaded.leads < 6.5
        assert 2.5 < loaded.tasks / loaded.leads < 4

    def test_is_the_same_for_the_same_seed_and_now(self, connection: Connection) -> None:
        load(connection, 300, seed=7, now=NOW)
        first = everything(connection)
        wipe(connection)
        load(connection, 300, seed=7, now=NOW)

        assert everything(connection) == first

    def test_is_another_for_another_seed(self, connection: Connection) -> None:
        load(connection, 100, seed=7, now=NOW)
        first = everything(connection)
        wipe(connection)
        load(connection, 100, seed=8, now=NOW)

        assert everything(connection) != first

    def test_writes_the_events_of_its_histories(self, connection: Connection) -> None:
        loaded = load(connection, 400, now=NOW)

        assert loaded.events == count(connection, "SELECT count(*) FROM events WHERE via = 'demo'") > 10 * 400
        # Each record's events lead to its present version, one by one, and each lead's are in order.
        for table, entity in (("leads", "lead"), ("tasks", "task"), ("interactions", "interaction")):
            gaps = connection.execute(
                f"""SELECT id, version, array_agg(event_version ORDER BY event_id) FROM (
                  SELECT {table}.id, {table}.version, events.version AS event_version, events.id AS event_id
                  FROM {table} LEFT JOIN events ON entity = %s AND entity_id = {table}.id::text) AS each
                GROUP BY id, version
                HAVING array_agg(event_version ORDER BY event_id) <> ARRAY(SELECT generate_series(1, version))""",
                [entity],
            ).fetchall()
            assert gaps == [], entity
        disorder = "lag(occurred_at) OVER (PARTITION BY lead_id ORDER BY id) > occurred_at"
        assert count(connection, f"SELECT count(*) FROM (SELECT {disorder} AS wrong FROM events) AS e WHERE wrong") == 0
        assert count(connection, "SELECT count(*) FROM events WHERE occurred_at > %(now)s", now=NOW) == 0
        last = """SELECT count(*) FROM leads WHERE upper(status) <> (
          SELECT field->>'after' FROM events, jsonb_array_elements(fields) AS field
          WHERE lead_id = leads.id AND entity = 'lead' AND field->>'name' = 'status' ORDER BY events.id DESC LIMIT 1)"""
        assert count(connection, last) == 0

    def test_writes_no_events_of_a_large_load(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("crm.demo.events.MOST_LEADS", 100)
        assert load(connection, 101, now=NOW).events == 0
        assert count(connection, "SELECT count(*) FROM events") == 0

    def test_gathers_statistics_as_it_grows(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or the plans of its last leads would rest on what was there with the first."""
        monkeypatch.setattr("crm.demo.load.CHUNK", 100)
        known = []

        def note(done: int) -> None:
            known.append((done, count(connection, "SELECT reltuples FROM pg_class WHERE relname = 'leads'")))

        load(connection, 600, now=NOW, on_progress=note)

        assert [done for done, _ in known] == list(range(100, 601, 100))
        assert all(rows > done / 2 for done, rows in known)

    def test_comes_on_top_of_what_is_there(self, connection: Connection) -> None:
        connection.execute("INSERT INTO leads (first_name, last_name, email) VALUES ('Ann', 'Own', 'ann@own.example')")
        load(connection, 500, now=NOW)
        again = load(connection, 500, now=NOW)

        assert again.users == 0
        assert count(connection, "SELECT count(*) FROM leads") == 1_001
        assert count(connection, "SELECT count(DISTINCT lower(email)) FROM leads") == 1_001

    def test_two_loads_do_not_repeat_the_same_histories(self, connection: Connection) -> None:
        load(connection, 300, now=NOW)
        load(connection, 300, now=NOW)
        statuses = [row[0] for row in connection.execute("SELECT status FROM leads ORDER BY id")]

        assert statuses[:300] != statuses[300:]

    def test_leaves_the_sequences_right(self, connection: Connection) -> None:
        load(connection, 50, now=NOW)
        row = connection.execute(
            "INSERT INTO leads (first_name, last_name) VALUES ('Ann', 'Own') RETURNING id"
        ).fetchone()
        assert row is not None
        connection.execute("INSERT INTO interactions (lead_id, type) VALUES (%s, 'call')", row)
        connection.execute("INSERT INTO tasks (lead_id, title) VALUES (%s, 'Call back')", row)

        assert row[0] == 51

    def test_a_load_that_breaks_off_leaves_nothing(self, connection: Connection) -> None:
        def break_off(done: int) -> None:
            assert done < 300, "broken off"

        with pytest.raises(AssertionError, match="broken off"):
            load(connection, 600, now=NOW, on_progress=break_off)

        assert count(connection, "SELECT count(*) FROM leads") == 0
        assert count(connection, "SELECT count(*) FROM users WHERE email LIKE '%.example'") == 0
        assert load(connection, 600, now=NOW).leads == 600

    def test_tells_how_far_it_is(self, connection: Connection) -> None:
        progress: list[int] = []
        load(connection, 500, now=NOW, on_progress=progress.append)

        assert progress[-1] == 500
        assert progress == sorted(set(progress))
        assert len(progress) > 1

    def test_without_leads_adds_the_team(self, connection: Connection) -> None:
        assert load(connection, 0, now=NOW) == Loaded(users=len(TEAM))

    def test_commits_on_a_connection_that_does_not_by_itself(self, demo_database: str, connection: Connection) -> None:
        with psycopg.connect(demo_database) as another:
            load(another, 10, now=NOW)

            assert count(connection, "SELECT count(*) FROM leads") == 10

    def test_gathers_statistics(self, connection: Connection) -> None:
        load(connection, 400, now=NOW)

        assert count(connection, "SELECT reltuples FROM pg_class WHERE relname = 'leads'") == 400


class TestTeam:
    """Who the leads belong to."""

    def test_a_colleague_who_changed_address_is_not_added_twice(self, connection: Connection) -> None:
        load(connection, 0, now=NOW)
        connection.execute("UPDATE users SET email = 'new@nordvik.example' WHERE email = %s", (TEAM[2].email,))

        assert load(connection, 100, now=NOW).users == 0

    def test_a_colleague_who_was_there_before_keeps_their_id(self, connection: Connection) -> None:
        row = connection.execute(
            "INSERT INTO users (email, name) VALUES (%s, 'Åsa') RETURNING id", (TEAM[2].email.upper(),)
        ).fetchone()
        assert row is not None

        assert load(connection, 200, now=NOW).users == len(TEAM) - 1
        assert count(connection, "SELECT count(*) FROM leads WHERE owner_id = %(id)s", id=row[0]) > 0

    def test_viewers_own_nothing(self, connection: Connection) -> None:
        load(connection, 500, now=NOW)

        assert count(connection, "SELECT count(DISTINCT role) FROM users WHERE email LIKE '%.example'") == 3
        owners = connection.execute("SELECT DISTINCT role FROM users JOIN leads ON owner_id = users.id").fetchall()
        assert {role for (role,) in owners} == {"admin", "member"}


class TestLeads:
    """What a lead looks like."""

    def test_has_a_score_with_its_reasons_unless_deleted(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)

        assert (
            count(connection, "SELECT count(*) FROM leads WHERE (score_factors IS NULL) <> (deleted_at IS NOT NULL)")
            == 0
        )
        assert count(connection, "SELECT count(DISTINCT activity_score) FROM leads") > 30
        assert count(connection, "SELECT count(*) FROM events WHERE type = 'lead.scored'") == 0

    def test_has_swedish_letters(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        text = "".join(row[0] for row in connection.execute("SELECT first_name || last_name || company FROM leads"))

        assert set("åäöÅÄÖ") <= set(text)

    def test_the_address_fits_the_person_and_reaches_nobody(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)

        assert count(connection, r"SELECT count(*) FROM leads WHERE email !~ '^[a-z.-]+@[a-z-]+\.example$'") == 0
        assert (
            count(connection, "SELECT count(*) FROM leads WHERE first_name = 'Anna' AND email NOT LIKE 'anna.%'") == 0
        )

    def test_the_currency_fits_the_country(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        pairs = connection.execute(
            "SELECT DISTINCT currency, left(phone, 4) FROM leads WHERE budget IS NOT NULL AND phone IS NOT NULL"
        ).fetchall()

        assert set(pairs) == {("SEK", "+46 "), ("GBP", "+44 "), ("EUR", "+353")}
        assert count(connection, "SELECT count(*) FROM leads WHERE (budget IS NULL) <> (currency IS NULL)") == 0

    def test_has_every_status_and_source_and_some_deleted(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)

        assert count(connection, "SELECT count(DISTINCT status) FROM leads") == 6
        assert count(connection, "SELECT count(DISTINCT source) FROM leads") == 6
        assert 10 <= count(connection, "SELECT count(*) FROM leads WHERE deleted_at IS NOT NULL") <= 60
        assert count(connection, "SELECT count(*) FROM leads WHERE deleted_at < created_at") == 0

    @pytest.mark.parametrize("now", [NOW, *NIGHTS_AND_WEEKENDS], ids=str)
    def test_came_in_during_the_last_year_and_a_half(self, filled: Filled, now: datetime) -> None:
        connection = filled(2_000 if now == NOW else 400, now)
        row = connection.execute("SELECT min(created_at), max(created_at), max(updated_at) FROM leads").fetchone()
        assert row is not None
        first, last, updated = row

        assert now - timedelta(days=549) < first < now - timedelta(days=400)
        assert now - timedelta(days=5) < last <= updated <= now
        assert count(connection, "SELECT count(*) FROM leads WHERE updated_at < created_at") == 0


class TestHistories:
    """What happened to the leads."""

    @pytest.mark.parametrize("now", [NOW, *NIGHTS_AND_WEEKENDS], ids=str)
    def test_nothing_happens_before_the_lead_or_in_the_future(self, filled: Filled, now: datetime) -> None:
        connection = filled(2_000 if now == NOW else 400, now)
        interactions = """
            SELECT count(*) FROM interactions i JOIN leads l ON l.id = lead_id
            WHERE occurred_at NOT BETWEEN l.created_at AND %(now)s OR i.created_at NOT BETWEEN occurred_at AND %(now)s
        """
        tasks = """
            SELECT count(*) FROM tasks t JOIN leads l ON l.id = lead_id
            WHERE t.created_at NOT BETWEEN l.created_at AND %(now)s OR t.updated_at NOT BETWEEN t.created_at AND %(now)s
               OR completed_at NOT BETWEEN t.created_at AND %(now)s
        """

        assert count(connection, interactions, now=now) == 0
        assert count(connection, tasks, now=now) == 0

    def test_nobody_works_at_night_or_on_sundays(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        query = """
            WITH local AS (SELECT occurred_at AT TIME ZONE 'Europe/Stockholm' AS at FROM interactions)
            SELECT count(*) FROM local WHERE extract(isodow FROM at) > 5 OR extract(hour FROM at) NOT BETWEEN 8 AND 17
        """

        assert count(connection, query) == 0

    def test_contacts_fit_the_status(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        query = """
            WITH contacts AS (
              SELECT status, count(i.id) AS number, count(*) FILTER (WHERE type = 'meeting') AS meetings,
                     count(*) FILTER (WHERE type = 'email' AND concat(subject, notes) ~* 'offert|proposal') AS proposals
              FROM leads l LEFT JOIN interactions i ON i.lead_id = l.id GROUP BY l.id
            )
            SELECT status, min(number), max(number), min(meetings), min(proposals) FROM contacts GROUP BY status
        """
        extremes = {status: numbers for status, *numbers in connection.execute(query)}

        assert extremes["new"][:2] == [0, 2]
        assert extremes["contacted"][0] >= 2
        for status in ("proposal", "won"):
            fewest, most, meetings, proposals = extremes[status]
            assert fewest >= 5
            assert most <= 12
            assert meetings >= 1
            assert proposals >= 1

    def test_are_told_in_the_leads_language(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        query = """
            SELECT DISTINCT left(phone, 3) FROM leads JOIN interactions ON lead_id = leads.id
            WHERE subject LIKE 'Inget %' AND phone IS NOT NULL
        """

        assert connection.execute(query).fetchall() == [("+46",)]

    def test_name_the_leads_own_facts(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        strangers = r"""
            SELECT count(*) FROM interactions JOIN leads ON leads.id = lead_id
            WHERE notes LIKE 'Hej %' AND notes NOT LIKE 'Hej ' || first_name || E',\n\n%'
        """

        assert count(connection, "SELECT count(*) FROM interactions WHERE concat(subject, notes) ~ '[{}]|None'") == 0
        assert (
            count(connection, "SELECT count(*) FROM tasks WHERE concat(title, description, ai_reasoning) ~ '[{}]'") == 0
        )
        assert count(connection, strangers) == 0
        assert count(connection, strangers.replace("NOT LIKE 'Hej ' ||", "LIKE 'Hej ' ||")) > 0

    def test_calls_and_meetings_take_time(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        timed = connection.execute("SELECT type, bool_and(duration_minutes IS NOT NULL) FROM interactions GROUP BY 1")

        assert dict(timed.fetchall()) == {
            "call": True,
            "meeting": True,
            "email": False,
            "message": False,
            "note": False,
        }

    def test_mostly_the_owner_is_in_touch(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        share = count(
            connection,
            "SELECT 100 * count(*) FILTER (WHERE created_by = owner_id) / count(*) "
            "FROM interactions JOIN leads ON leads.id = lead_id WHERE owner_id IS NOT NULL",
        )

        assert 80 < share < 100


class TestTasks:
    """What was and is to be done."""

    def test_completed_ones_say_when(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)

        assert count(connection, "SELECT count(*) FROM tasks WHERE completed") > 0
        assert count(connection, "SELECT count(*) FROM tasks WHERE completed <> (completed_at IS NOT NULL)") == 0
        assert count(connection, "SELECT count(*) FROM tasks WHERE completed_at < created_at") == 0

    def test_suggestions_say_where_they_came_from_and_who_decided(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)

        assert set(RULES.values()) <= {rule.name for rule in playbook().rule}
        assert count(connection, "SELECT count(DISTINCT rule) FROM tasks") > 5
        by_playbook = "coalesce(generated_by = 'playbook', false)"
        assert count(connection, f"SELECT count(*) FROM tasks WHERE {by_playbook} <> (rule IS NOT NULL)") == 0
        decided = "source <> 'ai_suggested' AND generated_by IS NOT NULL"
        assert count(connection, f"SELECT count(*) FROM tasks WHERE ({decided}) <> (decided_at IS NOT NULL)") == 0

    def test_suggestions_give_their_reasons(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)

        assert count(connection, "SELECT count(*) FROM tasks WHERE source = 'ai_suggested'") > 100
        assert count(connection, "SELECT count(*) FROM tasks WHERE source = 'dismissed'") > 50
        assert (
            count(connection, "SELECT count(*) FROM tasks WHERE (source = 'dismissed') = (dismissed_reason IS NULL)")
            == 0
        )
        assert (
            count(connection, "SELECT count(*) FROM tasks WHERE (generated_by IS NULL) <> (ai_reasoning IS NULL)") == 0
        )
        assert (
            count(connection, "SELECT count(*) FROM tasks WHERE source = 'dismissed' AND generated_by <> 'playbook'")
            == 0
        )
        assert (
            count(connection, "SELECT count(*) FROM tasks WHERE source = 'manual' AND generated_by = 'playbook'") > 20
        )

    def test_open_ones_are_due_around_now(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        query = """
            SELECT count(*) FILTER (WHERE due_date < %(now)s), count(*) FILTER (WHERE due_date >= %(now)s),
                   max(due_date), min(due_date)
            FROM tasks WHERE NOT completed AND source = 'manual' AND generated_by IS NULL
        """
        row = connection.execute(query, {"now": NOW}).fetchone()
        assert row is not None
        overdue, coming, last, first = row

        assert overdue > 20
        assert coming > overdue
        assert NOW - timedelta(days=20) < first
        assert last < NOW + timedelta(days=30)
        assert count(connection, "SELECT count(*) FROM tasks WHERE due_date < created_at") == 0

    def test_at_most_six_for_a_lead(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)

        assert count(connection, "SELECT max(n) FROM (SELECT count(*) n FROM tasks GROUP BY lead_id) AS tasks") <= 6


class TestAiTasks:
    """What a model did of late."""

    @pytest.mark.parametrize("now", [NOW, *NIGHTS_AND_WEEKENDS], ids=str)
    def test_ended_within_the_days_that_they_are_kept_and_not_today(self, filled: Filled, now: datetime) -> None:
        connection = filled(2_000 if now == NOW else 400, now)
        midnight = now.replace(hour=0, minute=0)

        assert count(connection, "SELECT count(*) FROM ai_tasks") == 10
        assert count(connection, "SELECT count(*) FROM ai_tasks WHERE finished_at IS NULL") == 0
        early = "SELECT count(*) FROM ai_tasks WHERE created_at < %(first)s"
        assert count(connection, early, first=now - timedelta(days=6, hours=12)) == 0
        late = "SELECT count(*) FROM {} WHERE greatest(created_at, {}) >= %(midnight)s"
        assert count(connection, late.format("ai_tasks", "finished_at"), midnight=midnight) == 0
        assert count(connection, late.format("ai_calls", "created_at"), midnight=midnight) == 0

    def test_show_how_it_may_go(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        ends = connection.execute("SELECT status, attempt > 1, count(*) FROM ai_tasks GROUP BY 1, 2 ORDER BY 1, 2")

        assert ends.fetchall() == [
            ("cancelled", False, 1),
            ("completed", False, 6),
            ("completed", True, 2),
            ("failed", True, 1),
        ]
        assert count(connection, "SELECT count(*) FROM ai_tasks WHERE quality_score < 1") == 2
        assert count(connection, "SELECT count(*) FROM ai_tasks WHERE (error IS NULL) = (status = 'failed')") == 0

    def test_their_bills_add_up(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        bills = """
            SELECT count(*) FROM ai_tasks LEFT JOIN LATERAL (
              SELECT count(*) AS attempts, sum(a.cost_usd) AS cost, sum(a.tokens) AS tokens,
                bool_or(a.cost_source = 'unknown') AS unknown, sum(called.cost) AS called,
                count(*) FILTER (WHERE outcome <> 'completed') AS failures
              FROM ai_task_attempts AS a LEFT JOIN LATERAL (
                SELECT sum(coalesce(cost_usd, 0)) AS cost FROM ai_calls WHERE ai_task_attempt_id = a.id
              ) AS called ON true WHERE task_id = ai_tasks.id
            ) AS a ON true
            WHERE (attempt, ai_tasks.failures, ai_tasks.tokens, ai_tasks.cost_usd)
              IS DISTINCT FROM (attempts, a.failures, coalesce(a.tokens, 0), coalesce(cost, 0))
              OR unknown IS DISTINCT FROM (cost_source = 'unknown') OR coalesce(called, 0) <> coalesce(cost, 0)
        """

        assert count(connection, bills) == 0
        assert count(connection, "SELECT count(*) FROM ai_tasks WHERE cost_source = 'estimated' AND cost_usd > 0") > 4
        assert count(connection, "SELECT count(*) FROM ai_task_attempts WHERE error IS NOT NULL AND cost_usd > 0") == 1

    def test_attempts_follow_each_other(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        overlaps = """
            SELECT count(*) FROM (
              SELECT started_at > a.finished_at OR a.finished_at > t.finished_at AS late,
                started_at < lag(a.finished_at, 1, created_at) OVER (PARTITION BY task_id ORDER BY number) AS early
              FROM ai_task_attempts AS a JOIN (SELECT id AS task_id, created_at, finished_at FROM ai_tasks) AS t
                USING (task_id)
            ) AS attempts WHERE early OR late
        """

        assert count(connection, overlaps) == 0
        assert count(connection, "SELECT count(*) FROM ai_tasks WHERE started_at < due_at OR due_at < created_at") == 0
        assert count(connection, "SELECT count(*) FROM ai_tasks WHERE stopped_at <> finished_at") == 0

    def test_what_came_of_them_is_there(self, filled: Filled) -> None:
        connection = filled(2_000, NOW)
        suggestions = """
            SELECT count(*) FROM ai_tasks JOIN tasks ON tasks.id = (result->'taskIds'->>0)::integer
            WHERE tasks.lead_id = ai_tasks.lead_id AND tasks.created_at = finished_at AND source = 'ai_suggested'
              AND generated_by = 'llm' AND tasks.model = ai_tasks.model
        """
        summaries = """
            SELECT count(*) FROM ai_tasks JOIN leads ON leads.id = (result->>'leadId')::integer
            WHERE summary_generated_at = finished_at AND summary_source = 'llm' AND summary !~ '[{}]'
        """

        assert count(connection, suggestions) == 4
        assert count(connection, summaries) == 3
        assert count(connection, "SELECT count(*) FROM tasks WHERE generated_by = 'llm'") == 4
        assert count(connection, "SELECT count(*) FROM leads WHERE summary IS NOT NULL") == 3
        owners = "SELECT count(*) FROM ai_tasks JOIN leads ON leads.id = lead_id WHERE created_by <> owner_id"
        assert count(connection, owners) == 0

    @pytest.mark.parametrize("leads", [1, 5, 30])
    def test_are_fewer_when_there_are_few_leads(self, connection: Connection, leads: int) -> None:
        assert 1 <= load(connection, leads, now=NOW).ai_tasks <= 10
