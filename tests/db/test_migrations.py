"""Migrations against a database of their own: both ways, and what the models say."""

import io
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import crm.models
from crm.db import migrations
from crm.db.embedded import create_database
from crm.db.table_statistics import NEVER_ANALYZED, names
from crm.demo.load import load
from tests.support.clusters import create_migrated_database

SCRIPTS = Path(migrations.__file__).resolve().parents[2] / "alembic"
_SECRETS = """
INSERT INTO events (type, entity, entity_id, lead_id, fields)
SELECT %s, 'interaction', n::text, n / 10, '[{"name": "notes", "before": null, "after": "Secret"}]'
FROM generate_series(1, %s) AS n
"""
# Models whose events keep their texts when rows are deleted for good.
UNBLANKED = {
    "User",  # is disabled, never deleted: who did what stays known
    "AiTask",  # its events are its owner's, and hold neither its input nor its result
}
BLANKING = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = %s AND tgrelid = %s::regclass"
EVENTFUL = [one for name in crm.models.__all__ if isinstance((one := getattr(crm.models, name)).entity, str)]
REVISIONS = sorted(SCRIPTS.glob("versions/*.py"))


@pytest.fixture
def empty_database(postgres):
    """A database without tables, on the tests' server."""
    base = postgres.url.replace("/crm?", "/postgres?")
    create_database(base, "migrated")
    yield postgres.url.replace("/crm?", "/migrated?")
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute("DROP DATABASE migrated WITH (FORCE)")


@pytest.fixture
def migrated_database(postgres):
    """A database with all tables and no rows, on the tests' server."""
    yield create_migrated_database(postgres.url, "migrated")
    with psycopg.connect(postgres.url.replace("/crm?", "/postgres?"), autocommit=True) as connection:
        connection.execute("DROP DATABASE migrated WITH (FORCE)")


def _config(url):
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("sqlalchemy.url", url)
    return config


def _left_over(url):
    """What is in the schema, other than Alembic's own table and what belongs to an extension."""
    with psycopg.connect(url) as connection:
        relations = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname !~ '^alembic_version'"
        ).fetchall()
        functions = connection.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'crm\\_%'").fetchall()
        collations = connection.execute("SELECT collname FROM pg_collation WHERE collname LIKE 'crm\\_%'").fetchall()
    return relations + functions + collations


def _shape(url):
    """Every table, column, index and constraint, as PostgreSQL describes them."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns "
            "WHERE table_schema = 'public'"
        ).fetchall()
        indexes = connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'").fetchall()
        constraints = connection.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace"
        ).fetchall()
    return sorted(map(str, columns)) + sorted(map(str, indexes)) + sorted(map(str, constraints))


def _in_order():
    """The revisions, oldest first."""
    return list(reversed(list(ScriptDirectory(str(SCRIPTS)).walk_revisions())))


class TestMigrations:
    def test_go_up_and_down_and_up_again_one_by_one(self, empty_database):
        """Down and up again is the same as up, at each revision."""
        config = _config(empty_database)
        for revision in _in_order():
            command.upgrade(config, revision.revision)
            there = _shape(empty_database)
            migrations.downgrade(empty_database, revision.down_revision or "base")
            command.upgrade(config, revision.revision)
            assert _shape(empty_database) == there, revision.revision
        assert migrations.pending(empty_database) == []

    def test_go_down_one_by_one_with_data(self, migrated_database):
        with psycopg.connect(migrated_database) as connection:
            load(connection, 50)
        for revision in reversed(_in_order()):
            migrations.downgrade(migrated_database, revision.down_revision or "base")
        assert _left_over(migrated_database) == []
        migrations.upgrade(migrated_database)
        assert migrations.pending(migrated_database) == []

    def test_make_what_the_models_say(self, migrated_database):
        command.check(_config(migrated_database))

    @pytest.mark.parametrize("model", EVENTFUL, ids=lambda model: model.__name__)
    def test_blank_the_events_of_what_is_deleted_for_good(self, connected, model):
        """By a trigger for each model that has events; see docs/decisions/0020."""
        table = model.__tablename__
        found = connected().execute(BLANKING, [f"{table}_blank_events", table]).fetchone()
        if model.__name__ in UNBLANKED:
            assert found is None
        else:
            assert found, f"no revision creates the trigger {table}_blank_events"
            called = found["pg_get_triggerdef"].partition(" AFTER DELETE ")[2].partition(" REFERENCING ")
            assert called[0] == f"ON public.{table}"
            assert called[2] == (
                "OLD TABLE AS gone FOR EACH STATEMENT "
                f"EXECUTE FUNCTION crm_blank_events('{model.entity}', '{model.timeline}')"
            )

    def test_have_one_head(self):
        assert len(ScriptDirectory(str(SCRIPTS)).get_heads()) == 1

    @pytest.mark.parametrize("revision", REVISIONS, ids=lambda path: path.stem)
    def test_do_not_wait_long_for_locks(self, revision):
        upgrade, downgrade = revision.read_text().split("def downgrade")
        assert "SET LOCAL lock_timeout = '1s'" in upgrade.split("def upgrade")[1]
        assert "SET LOCAL lock_timeout = '1s'" in downgrade

    def test_blank_what_was_deleted_before_in_short_transactions(self, migrated_database):
        """Whoever follows the events waits while one that writes them is open."""
        migrations.downgrade(migrated_database, "0012_blank_deleted_texts")
        with psycopg.connect(migrated_database) as connection:
            for kind in ("created", "deleted"):
                connection.execute(_SECRETS, [f"interaction.{kind}", 2500])
            connection.execute(_SECRETS, ["interaction.updated", 2501])
        migrations.upgrade(migrated_database)
        with psycopg.connect(migrated_database) as connection:
            left = connection.execute("SELECT entity_id FROM events WHERE fields::text ~ 'Secret'").fetchall()
            written = connection.execute("SELECT max(n) FROM (SELECT count(*) n FROM events GROUP BY xmin) AS _")
            assert written.fetchone()[0] < 4000
        assert left == [("2501",)]

    def test_fill_the_sort_keys_of_leads_in_short_transactions(self, migrated_database):
        """Whoever changes one of these leads waits meanwhile."""
        migrations.downgrade(migrated_database, "0019_origin_of_events")
        with psycopg.connect(migrated_database) as connection:
            connection.execute(
                "INSERT INTO leads (first_name, last_name) SELECT 'Åsa', 'von Öberg' FROM generate_series(1, 2500)"
            )
        migrations.upgrade(migrated_database)
        with psycopg.connect(migrated_database) as connection:
            keys = "SELECT DISTINCT first_name_key, last_name_key, company_key FROM leads"
            assert connection.execute(keys).fetchall() == [("{sa", "}berg", None)]
            written = connection.execute("SELECT max(n) FROM (SELECT count(*) n FROM leads GROUP BY xmin) AS _")
            assert written.fetchone()[0] == 1000

    def test_leave_no_table_without_statistics(self, migrated_database):
        head = _in_order()[-1]
        migrations.upgrade(migrated_database)
        with psycopg.connect(migrated_database) as connection:
            connection.execute("INSERT INTO leads (first_name, last_name) VALUES ('Åsa', 'Ek')")
        migrations.downgrade(migrated_database, head.down_revision)
        migrations.upgrade(migrated_database)
        with psycopg.connect(migrated_database) as connection:
            assert names(connection, NEVER_ANALYZED) == []
            assert connection.execute("SELECT reltuples FROM pg_class WHERE relname = 'leads'").fetchone() == (1,)


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A copy of the revisions, to add one to."""
    copy = tmp_path / "alembic"
    shutil.copytree(SCRIPTS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrations, "_SCRIPTS", copy)

    def add(upgrade, *, concurrently=False):
        config = Config(stdout=io.StringIO())
        config.set_main_option("script_location", str(copy))
        command.revision(config, message="Add one more", rev_id="9999_test")
        (path,) = copy.glob("versions/9999_test*.py")
        text = path.read_text()
        if concurrently:
            upgrade = "\n".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#     "))
            upgrade = upgrade.replace("city", "location").strip()
        path.write_text(text.replace("    pass", f"    {upgrade}", 1))

    return add


@contextmanager
def transaction(url, statement):
    """Somebody's open transaction."""
    with psycopg.connect(url, application_name="a long report") as connection:
        connection.execute(statement)
        yield connection


READ = "SELECT count(*) FROM leads"
WRITE = "INSERT INTO leads (first_name, last_name) VALUES ('Åsa', 'Ek')"
ADD_COLUMN = 'op.add_column("leads", sa.Column("city", sa.Text()))'

LEADS_WITH_TASKS = """
WITH added AS (INSERT INTO leads (first_name, last_name) SELECT 'Åsa', 'Ek' FROM generate_series(1, 2500) RETURNING id)
INSERT INTO tasks (lead_id, title, due_date) SELECT id, 'Call', '2026-11-02' FROM added
"""


class TestAMigrationThatOthersHoldUp:
    def test_gives_way_and_tries_again_until_they_are_done(self, migrated_database, scripts):
        scripts(ADD_COLUMN)
        reasons, longest = [], []
        with transaction(migrated_database, READ) as report:
            migrating = threading.Thread(
                target=migrations.upgrade, args=(migrated_database,), kwargs={"on_wait": reasons.append}
            )
            migrating.start()
            while len(reasons) < 2:  # each time it gives way, others get through
                before = time.monotonic()
                with psycopg.connect(migrated_database, autocommit=True) as other:
                    other.execute(READ)
                longest.append(time.monotonic() - before)
                time.sleep(0.05)
            report.rollback()
        migrating.join(60)
        assert migrations.pending(migrated_database) == []
        assert "a long report" in reasons[-1]
        assert max(longest) < 5  # a second, were it not for a slow machine

    @pytest.mark.parametrize(
        ("before", "row", "filled"),
        [
            ("0020_sort_keys", "leads WHERE id", "SELECT xmin::text FROM leads WHERE id = 1 AND last_name_key = 'ek'"),
            (
                "0023_lead_rollups",
                "lead_rollups WHERE lead_id",
                "SELECT xmin::text FROM lead_rollups WHERE lead_id = 1 AND next_due_at IS NOT NULL",
            ),
        ],
    )
    def test_goes_on_where_it_was(self, migrated_database, before, row, filled):
        """A row of the second batch is held for longer than a revision waits; the first is written once."""
        migrations.downgrade(migrated_database, before)
        with psycopg.connect(migrated_database, autocommit=True) as connection:
            triggers = "ALTER TABLE {} {} TRIGGER USER"
            for table in ("leads", "tasks"):  # as it was before there were any
                connection.execute(triggers.format(table, "DISABLE"))
            connection.execute(LEADS_WITH_TASKS)
            for table in ("leads", "tasks"):
                connection.execute(triggers.format(table, "ENABLE"))
            if before == "0023_lead_rollups":
                connection.execute("INSERT INTO lead_rollups (lead_id) VALUES (1500)")
            migrating = threading.Thread(target=migrations.upgrade, args=(migrated_database,))
            with transaction(migrated_database, f"SELECT FROM {row} = 1500 FOR UPDATE"):
                migrating.start()
                while not (written := connection.execute(filled).fetchone()):
                    time.sleep(0.05)
                time.sleep(1.5)
            migrating.join(60)
            assert connection.execute(filled).fetchone() == written
        assert migrations.pending(migrated_database) == []

    def test_says_in_the_end_who_was_in_the_way(self, migrated_database, scripts):
        scripts(ADD_COLUMN)
        with (
            transaction(migrated_database, READ),
            pytest.raises(migrations.Blocked, match=r"2 s: process \d+ \(a long rep"),
        ):
            migrations.upgrade(migrated_database, patience=2)
        assert migrations.pending(migrated_database) == ["9999_test"]

    def test_may_take_longer_than_a_request(self, migrated_database, scripts):
        with psycopg.connect(migrated_database, autocommit=True) as connection:
            connection.execute("ALTER ROLE CURRENT_USER IN DATABASE migrated SET statement_timeout = '500ms'")
        scripts('op.execute("SELECT pg_sleep(1)")')
        migrations.upgrade(migrated_database)
        assert migrations.pending(migrated_database) == []

    def test_builds_an_index_beside_a_writer(self, migrated_database, scripts):
        """As the template says how; what an earlier try left behind goes."""
        scripts(None, concurrently=True)
        with psycopg.connect(migrated_database, autocommit=True) as connection:
            connection.execute("CREATE INDEX leads_location_idx ON leads (location)")
            connection.execute(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'leads_location_idx'::regclass"
            )
        migrating = threading.Thread(target=migrations.upgrade, args=(migrated_database,))
        with transaction(migrated_database, WRITE) as writer:
            migrating.start()
            for _ in range(20):
                with psycopg.connect(migrated_database, autocommit=True) as other:
                    other.execute("SET lock_timeout = '5s'")
                    other.execute(WRITE)
                time.sleep(0.1)
            assert migrating.is_alive()
            writer.rollback()
        migrating.join(60)
        with psycopg.connect(migrated_database) as connection:
            valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'leads_location_idx'::regclass"
            assert connection.execute(valid).fetchone() == (True,)
