"""Followers of the event stream, run by real worker processes: every event once, in order, whatever happens."""

import os
import signal
import time

import psycopg
import pytest

pytestmark = pytest.mark.waits(20)


@pytest.fixture
def write(jobs_db):
    """Write events; `types` of nobody's interest too."""
    numbers = iter(range(1, 1_000_000))

    def some(count, kind="note.created", connection=jobs_db):
        keys = [str(next(numbers)) for _ in range(count)]
        connection.cursor().executemany(
            "INSERT INTO events (type, entity, entity_id) VALUES (%s, 'note', %s)", [(kind, key) for key in keys]
        )
        return keys

    return some


@pytest.fixture
def followed(journal):
    return lambda: [row["about"] for row in journal("followed")]


class TestFollower:
    def test_begins_with_the_oldest_event(self, write, crew, followed, eventually):
        keys = write(5)
        crew(follow=True)
        eventually(lambda: followed() == keys)

    def test_gets_events_of_its_types_only_in_order_and_none_of_demo_data(
        self, write, crew, followed, eventually, jobs_db
    ):
        crew(follow=True, batch=7)
        keys = []
        for _ in range(10):
            keys += write(5)
            write(5, "other.created")
            jobs_db.execute(
                "INSERT INTO events (type, entity, entity_id, via) VALUES ('note.created', 'note', '0', 'demo')"
            )
        eventually(lambda: len(followed()) >= 50)
        assert followed() == keys, list(zip(followed(), keys, strict=False))

    def test_is_quick(self, write, crew, followed, journal, jobs_db, eventually):
        crew(follow=True)
        keys = write(1)
        eventually(lambda: followed() == keys)
        jobs_db.execute("NOTIFY crm_events")
        keys += write(1)
        eventually(lambda: followed() == keys, 2)
        waits = []
        for _ in range(10):
            time.sleep(0.15)
            with jobs_db.transaction():
                keys += write(1)
                jobs_db.execute("NOTIFY crm_events")
                now = jobs_db.execute("SELECT clock_timestamp() AS now").fetchone()["now"]
            eventually(lambda: followed() == keys, 3)  # noqa: B023  (called at once)
            waits.append((journal("followed")[-1]["at"] - now).total_seconds())
        assert sorted(waits)[5] < 0.2, waits

    def test_does_not_need_the_notification(self, write, crew, followed, eventually):
        crew(follow=True)
        time.sleep(0.3)
        keys = write(1)  # nobody notifies
        eventually(lambda: followed() == keys, 2)

    def test_waits_for_a_transaction_that_is_still_open(self, write, crew, followed, jobs_url, eventually):
        """Ids are given at the write, rows appear at the commit: nothing is passed over."""
        crew(follow=True)
        with psycopg.connect(jobs_url) as open_one:
            early = write(1, connection=open_one)
            late = write(3)
            time.sleep(1.5)
            assert followed() == []
            open_one.commit()
        eventually(lambda: len(followed()) == 4)
        assert followed() == early + late

    def test_goes_on_where_it_was(self, write, crew, followed, eventually):
        one = crew(follow=True)
        keys = write(3)
        eventually(lambda: followed() == keys)
        assert one.stop() == 0
        keys += write(3)
        crew(follow=True)
        eventually(lambda: len(followed()) >= 6)
        assert followed() == keys, list(zip(followed(), keys, strict=False))

    def test_of_two_workers_one_at_a_time_works(self, write, crew, followed, eventually):
        crew(follow=True, batch=3, think=0.01)
        crew(follow=True, batch=3, think=0.01)
        keys = []
        for _ in range(40):
            keys += write(5)
        eventually(lambda: len(followed()) >= 200)
        assert followed() == keys, list(zip(followed(), keys, strict=False))
        time.sleep(0.5)
        assert len(followed()) == 200

    def test_another_takes_over_at_once(self, write, crew, followed, journal, eventually):
        first, second = crew(follow=True), crew(follow=True)
        keys = write(1)
        eventually(lambda: followed() == keys)
        working = journal("followed")[0]["process"]
        (first if first.process.pid == working else second).kill()
        keys += write(1)
        eventually(lambda: followed() == keys, 3)


class TestKilledFollower:
    def test_does_every_event_once(self, write, crew, followed, eventually):
        """`kill -9` in the middle of batches: the work and the place are one transaction."""
        keys = []
        for _ in range(int(os.environ.get("CRM_FAULT_ROUNDS", "3"))):
            keys += write(60)
            one = crew(follow=True, batch=10, think=0.1)
            before = len(followed())
            eventually(lambda before=before: len(followed()) > before)
            one.kill()
        crew(follow=True)
        eventually(lambda: len(followed()) >= len(keys))
        assert followed() == keys, list(zip(followed(), keys, strict=False))

    def test_frozen_in_its_transaction_is_waited_for_and_not_doubled(self, write, crew, followed, eventually):
        keys = write(20)
        first = crew(follow=True, batch=5, think=0.5)
        time.sleep(0.2)
        os.kill(first.process.pid, signal.SIGSTOP)
        crew(follow=True)
        time.sleep(1)
        os.kill(first.process.pid, signal.SIGCONT)
        eventually(lambda: len(followed()) >= 20)
        time.sleep(0.7)
        assert followed() == keys, list(zip(followed(), keys, strict=False))


class TestFailingFollower:
    def test_passes_over_only_the_event_that_fails_and_says_so(self, write, crew, followed, jobs_db, eventually):
        keys = write(50)
        poison = keys[20]
        one = crew(follow=True, batch=25, poison=poison)
        rest = [key for key in keys if key != poison]
        eventually(lambda: followed() == rest, 20)
        log = one.log()
        assert log.count('"follower.skipped"') == 1
        assert f'"entity_id": "{poison}"' in log
        assert log.count('"follower.failed"') >= 7
        row = jobs_db.execute("SELECT skipped, failures, error FROM event_followers").fetchone()
        assert row == {"skipped": 1, "failures": 0, "error": None}

    def test_tries_a_passing_trouble_again_and_skips_nothing(self, write, crew, followed, jobs_db, eventually):
        jobs_db.execute("ALTER TABLE journal RENAME TO away")
        one = crew(follow=True)
        keys = write(3)
        one.wait_for('"follower.failed"')
        jobs_db.execute("ALTER TABLE away RENAME TO journal")
        eventually(lambda: followed() == keys)
        assert jobs_db.execute("SELECT skipped FROM event_followers").fetchone()["skipped"] == 0

    def test_does_not_count_a_database_that_is_away(self, write, crew, followed, jobs_db, eventually):
        crew(follow=True, batch=5, think=0.2)
        keys = write(30)
        for _ in range(12):
            time.sleep(0.1)
            jobs_db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        eventually(lambda: len(followed()) >= 30)
        assert followed() == keys, list(zip(followed(), keys, strict=False))
        assert jobs_db.execute("SELECT skipped, failures FROM event_followers").fetchone() == {
            "skipped": 0,
            "failures": 0,
        }
