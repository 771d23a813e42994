"""Statistics are gathered whatever a table is called."""

import psycopg
import pytest

from crm.db.table_statistics import USED, analysis, analyze, names, quoted

ODD = 'Odd "name"; DROP TABLE leads; %s {} Å'


@pytest.fixture
def odd(database_url):
    with psycopg.connect(database_url) as connection:
        connection.execute(f"CREATE TABLE {quoted(ODD)} (id int)".encode())
        connection.execute(f"INSERT INTO {quoted(ODD)} VALUES (1)".encode())
        yield connection
        connection.rollback()


def test_a_name_is_quoted_as_postgresql_does_it(odd):
    (found,) = odd.execute("SELECT quote_ident(%s)", [ODD]).fetchone()
    assert quoted(ODD) == found


def test_a_table_of_any_name_is_analyzed(odd):
    assert ODD in names(odd, USED)
    analyze(odd, ODD)
    (rows,) = odd.execute("SELECT reltuples FROM pg_class WHERE relname = %s", [ODD]).fetchone()
    assert rows == 1
    assert analysis("order") == 'ANALYZE (SKIP_LOCKED) "order"'
