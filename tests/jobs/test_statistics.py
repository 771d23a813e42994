"""The worker gathers statistics where PostgreSQL has none."""

import pytest

from crm.db.table_statistics import NEVER_ANALYZED


@pytest.fixture
def restored(jobs_db):
    """Leads, and nothing known about them: as after a restore, with autovacuum off."""
    jobs_db.execute("ALTER TABLE leads SET (autovacuum_enabled = false)")
    jobs_db.execute("INSERT INTO leads (first_name, last_name) SELECT 'First', 'Last' FROM generate_series(1, 100)")
    jobs_db.execute("ANALYZE leads")  # or the next statement would have nothing to delete
    jobs_db.execute("DELETE FROM pg_statistic WHERE starelid = 'leads'::regclass")
    yield jobs_db
    jobs_db.execute("DELETE FROM leads")
    jobs_db.execute("ALTER TABLE leads RESET (autovacuum_enabled)")


class TestTheChore:
    def test_analyzes_a_table_without_statistics(self, restored, crew, eventually):
        def is_unknown():
            return "leads" in [row["relname"] for row in restored.execute(NEVER_ANALYZED).fetchall()]

        assert is_unknown()
        worker = crew(analyze=True)
        eventually(lambda: not is_unknown())
        eventually(lambda: '"table.analyzed"' in worker.log())
