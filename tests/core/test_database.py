import psycopg
import pytest

from crm.core import errors
from crm.core.database import Database
from crm.core.states import translated
from crm.core.wire import Statement


class TestTranslated:
    @pytest.mark.parametrize(
        ("sql", "code"),
        [
            ("SELECT 1/0", "BAD_USER_INPUT"),
            ("SELECT 'x'::int", "BAD_USER_INPUT"),
            ("SELECT 10::int4 ^ 400", "BAD_USER_INPUT"),
            ("INSERT INTO leads (first_name) VALUES ('x')", "BAD_USER_INPUT"),
            ("INSERT INTO leads (first_name, last_name, budget) VALUES ('x', 'y', -1)", "BAD_USER_INPUT"),
            ("INSERT INTO tasks (title, lead_id) VALUES ('x', 99)", "NOT_FOUND"),
            ("SELECT crm_too_large('Too many.')", "TOO_LARGE"),
            ("SELECT nonsense", "INTERNAL"),
            ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57014'; END $$", "TIMEOUT"),
            ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53300'; END $$", "UNAVAILABLE"),
            ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '54001'; END $$", "TOO_COMPLEX"),
        ],
    )
    @pytest.mark.usefixtures("db")
    async def test_gives_every_error_its_code(self, database_url, sql, code):
        database = Database(database_url)
        with pytest.raises(psycopg.Error) as caught:
            await database.read(Statement(sql), ())
        assert translated(caught.value).code == code
        database.close()

    def test_names_the_column(self, db):
        with pytest.raises(psycopg.Error) as caught:
            db.execute("INSERT INTO leads (first_name) VALUES ('x')")
        assert translated(caught.value).details == {"field": "last_name"}


class TestDatabase:
    async def test_is_unavailable_once_closed(self, database_url):
        database = Database(database_url)
        database.close()
        with pytest.raises(errors.Unavailable):
            await database.read(Statement("SELECT 1"), ())
