"""Loads demo data: `crm demo` and `crm dev`."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from crm.demo import events
from crm.demo.ai_tasks import AiTaskWriter
from crm.demo.cases import Seller, Sellers
from crm.demo.dice import Dice
from crm.demo.history import Chapter, Historian
from crm.demo.languages import LANGUAGES
from crm.demo.rows import INTERACTION_COLUMNS, LEAD_COLUMNS
from crm.demo.tasks import TASK_COLUMNS
from crm.demo.team import TEAM
from crm.demo.worktime import WorkTime
from crm.sales.scoring.statements import QUIET_BATCH

CHUNK = 1_000

INSERT_USER = """
INSERT INTO users (id, email, name, role, created_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
# Ids are taken from the sequence, so that neither a plain INSERT nor another load gets the same ids.
TAKE_LEAD_IDS = "SELECT nextval(pg_get_serial_sequence('leads', 'id')) FROM generate_series(1, %s)"
COPY_LEADS = f"COPY leads ({LEAD_COLUMNS}) FROM STDIN"
COPY_INTERACTIONS = f"COPY interactions ({INTERACTION_COLUMNS}) FROM STDIN"
COPY_TASKS = f"COPY tasks ({TASK_COLUMNS}) FROM STDIN"
# The columns by which scores look rows up. Autovacuum cannot gather statistics of rows that are not committed yet.
ANALYZE_HISTORIES = """
ANALYZE (SKIP_LOCKED) leads (id, status, deleted_at), interactions (lead_id, type), tasks (lead_id, source, deleted_at)
"""
# Lets full-text indexes sort new rows by the tens of thousands rather than by the thousand: a tenth less work.
PATIENT_INDEXES = "SET LOCAL gin_pending_list_limit = '64MB'; SET LOCAL work_mem = '64MB'"


@dataclass(slots=True)
class Loaded:
    """How many rows were added."""

    users: int = 0
    leads: int = 0
    interactions: int = 0
    tasks: int = 0
    ai_tasks: int = 0
    events: int = 0


def load(
    connection: psycopg.Connection[Any],
    leads: int,
    *,
    seed: int = 1,
    now: datetime | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Loaded:
    """Add leads with their histories and scores, and the sales team if missing, in one transaction.

    Up to 10,000 leads have the events of their histories; larger loads write none.
    A few AI tasks of the last days are about the first of these leads.

    The same seed and `now` in the same database give the same data. `on_progress` is called with the number of leads
    done.
    """
    now = now or datetime.now(UTC)
    loaded = Loaded()
    with connection.transaction():
        connection.execute(PATIENT_INDEXES)
        sellers = _add_team(connection, now, loaded)
        historian = Historian(seed, WorkTime(now), sellers)
        analyzed = 0
        for chapter in _chapters(connection, historian, leads):
            _copy(connection, chapter, loaded)
            if loaded.leads >= 2 * analyzed:
                connection.execute(ANALYZE_HISTORIES)
                analyzed = loaded.leads
            if leads <= events.MOST_LEADS:
                loaded.events += events.write(connection, chapter.lead_ids, chapter.steps)
            _score(connection, chapter, now)
            if not loaded.ai_tasks:
                dice = Dice(f"{seed}:{chapter.lead_ids[0]}:ai")
                loaded.ai_tasks = AiTaskWriter(connection, dice, now).write(chapter.lead_ids)
            if on_progress is not None:
                on_progress(loaded.leads)
    with connection.transaction():
        connection.execute("ANALYZE users, leads, interactions, tasks, events, ai_tasks, ai_task_attempts, ai_calls")
    return loaded


def _add_team(connection: psycopg.Connection[Any], now: datetime, loaded: Loaded) -> Sellers:
    joined = now - timedelta(days=730)
    for colleague in TEAM:
        values = (colleague.id, colleague.email, colleague.name, colleague.role.value, joined)
        loaded.users += connection.execute(INSERT_USER, values).rowcount
    ids = dict(connection.execute("SELECT lower(email), id FROM users").fetchall())
    # If an address is missing, its user has another address now: the insert found the id taken.
    return {
        code: [
            Seller(str(ids.get(colleague.email, colleague.id)), colleague.name.split()[0])
            for colleague in TEAM
            if colleague.sells_in == code
        ]
        for code in LANGUAGES
    }


def _chapters(connection: psycopg.Connection[Any], historian: Historian, leads: int) -> Iterator[Chapter]:
    """The data chunk by chunk; the next is prepared in a thread while the server loads the one before."""
    with ThreadPoolExecutor(1, "demo") as writer:
        upcoming = None
        for done in range(0, leads, CHUNK):
            ids = _take_lead_ids(connection, min(CHUNK, leads - done))
            ready, upcoming = upcoming, writer.submit(historian.write, ids)
            if ready is not None:
                yield ready.result()
        if upcoming is not None:
            yield upcoming.result()


def _take_lead_ids(connection: psycopg.Connection[Any], count: int) -> Sequence[int]:
    return [row[0] for row in connection.execute(TAKE_LEAD_IDS, (count,))]


def _copy(connection: psycopg.Connection[Any], chapter: Chapter, loaded: Loaded) -> None:
    with connection.cursor() as cursor:
        for statement, rows in (
            (COPY_LEADS, chapter.leads),
            (COPY_INTERACTIONS, chapter.interactions),
            (COPY_TASKS, chapter.tasks),
        ):
            with cursor.copy(statement) as copy:
                copy.write(rows.data)
    loaded.leads += chapter.leads.count
    loaded.interactions += chapter.interactions.count
    loaded.tasks += chapter.tasks.count


def _score(connection: psycopg.Connection[Any], chapter: Chapter, now: datetime) -> None:
    psycopg.RawCursor(connection).execute(QUIET_BATCH.encode(), (now, chapter.lead_ids))
