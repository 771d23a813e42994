"""Migrations against a database of their own: both ways, and what the models say."""

import io
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from crm.core import migrations
from crm.core.embedded import create_database

SCRIPTS = Path(migrations.__file__).resolve().parents[2] / "alembic"
REVISIONS = sorted(SCRIPTS.glob("versions/*.py"))


@pytest.fixture
def empty_database(postgres):
    """A database without tables, on the tests' server."""
    base = postgres.url.replace("/crm?", "/postgres?")
    create_database(base, "migrated")
    yield postgres.url.replace("/crm?", "/migrated?")
    with psycopg.connect(base, autocommit=True) as connection:
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


class TestMigrations:
    def test_go_up_down_to_nothing_and_up_again(self, empty_database):
        migrations.upgrade(empty_database)
        migrations.downgrade(empty_database, "base")
        assert _left_over(empty_database) == []
        migrations.upgrade(empty_database)
        assert migrations.pending(empty_database) == []

    def test_make_what_the_models_say(self, empty_database):
        migrations.upgrade(empty_database)
        command.check(_config(empty_database))

    def test_have_one_head(self):
        assert len(ScriptDirectory(str(SCRIPTS)).get_heads()) == 1

    @pytest.mark.parametrize("revision", REVISIONS, ids=lambda path: path.stem)
    def test_do_not_wait_long_for_locks(self, revision):
        upgrade, downgrade = revision.read_text().split("def downgrade")
        assert "SET LOCAL lock_timeout" in upgrade.split("def upgrade")[1]
        assert "SET LOCAL lock_timeout" in downgrade
