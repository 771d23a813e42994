"""What is shown of AI tasks beyond what stands in their rows."""

import pytest

SHOWN = "id status waitMs runMs positionInQueue"
TASKS = f"{{ aiTasks(orderBy: [{{field: CREATED_AT}}]) {{ {SHOWN} }} }}"
QUEUE = "{ aiTaskQueueStatus { oldestWaitingMs costTodayUsd } }"
STATISTICS = """query($from: DateTime, $to: DateTime) {
  aiTaskStatistics(from: $from, to: $to) { total averageWaitMs averageRunMs costUsd tokens byDay { key } }
}"""
RETRY = f"mutation($id: ID!) {{ retryAiTask(id: $id) {{ {SHOWN} scheduledFor }} }}"
CANCEL = f"mutation($id: ID!) {{ cancelAiTask(id: $id) {{ {SHOWN} }} }}"
DAY_MS = 24 * 3600 * 1000
LARGEST = 2**31 - 1


@pytest.fixture
def put(db):
    """Put a task into the table whose times are seconds before now."""

    def into(status, *, due=0.0, started=None, stopped=None, finished=None, **values):
        columns = {"status": status, "task_type": "echo", **values}
        times = {
            "due_at": due,
            "created_at": due,
            "started_at": started,
            "stopped_at": stopped,
            "finished_at": finished,
        }
        shown = ", ".join("now() - make_interval(secs => %s)" for _ in times)
        return str(
            db.execute(
                f"INSERT INTO ai_tasks (id, created_by, {', '.join([*columns, *times])}) VALUES (gen_random_uuid(), "
                f"(SELECT id FROM users WHERE email = 'service-admin@crm.invalid'), "
                f"{', '.join('%s' for _ in columns)}, {shown}) RETURNING id",
                [*columns.values(), *times.values()],
            ).fetchone()["id"]
        )

    return into


@pytest.fixture
def of(graphql):
    async def one(key):
        return (await graphql(f"query($id: ID!) {{ aiTask(id: $id) {{ {SHOWN} }} }}", id=key))["aiTask"]

    return one


def about(milliseconds):
    return pytest.approx(milliseconds, abs=3000)


class TestTimes:
    async def test_of_one_that_waits(self, put, of):
        found = await of(put("queued", due=60))
        assert (found["waitMs"], found["runMs"]) == (about(60_000), None)

    async def test_of_one_that_is_not_due(self, put, of):
        found = await of(put("queued", due=-60))
        assert (found["waitMs"], found["runMs"], found["positionInQueue"]) == (None, None, None)

    async def test_of_one_that_runs(self, put, of):
        found = await of(put("running", due=100, started=40))
        assert (found["waitMs"], found["runMs"]) == (about(60_000), about(40_000))

    async def test_of_one_that_ended(self, put, of):
        found = await of(put("completed", due=100, started=40, stopped=39, finished=39))
        assert (found["waitMs"], found["runMs"]) == (60_000, 1000)

    async def test_of_one_that_waits_for_another_attempt(self, put, of):
        """What it ran is what its attempt took, not how long ago that was."""
        found = await of(put("retrying", due=30, started=40, stopped=39))
        assert (found["waitMs"], found["runMs"]) == (about(30_000), 1000)

    async def test_of_one_that_was_cancelled_while_it_waited(self, put, of):
        found = await of(put("cancelled", due=40, finished=39))
        assert (found["waitMs"], found["runMs"]) == (1000, None)
        found = await of(put("cancelled", due=40, started=50, stopped=49, finished=35))
        assert (found["waitMs"], found["runMs"]) == (5000, 1000)

    async def test_of_one_that_was_cancelled_before_it_was_due(self, put, of):
        assert (await of(put("cancelled", due=-3600, finished=39)))["waitMs"] is None

    @pytest.mark.parametrize("days", [24, 25, 40, 4000])
    async def test_however_long_ago(self, put, of, graphql, days):
        """GraphQL's Int ends after 24.8 days; a number as large as that is no error."""
        waiting = await of(put("queued", due=days * 24 * 3600))
        assert waiting["waitMs"] == about(min(days * DAY_MS, LARGEST))
        assert (await graphql(QUEUE))["aiTaskQueueStatus"]["oldestWaitingMs"] == about(min(days * DAY_MS, LARGEST))
        old = put("failed", due=2 * days * 24 * 3600, started=days * 24 * 3600, stopped=0, finished=0)
        assert (await graphql(RETRY, id=old))["retryAiTask"]["runMs"] == min(days * DAY_MS, LARGEST)
        assert (await graphql(CANCEL, id=old))["cancelAiTask"]["status"] == "CANCELLED"
        assert len((await graphql(TASKS))["aiTasks"]) == 2
        await graphql(STATISTICS)

    async def test_of_what_never_ran_do_not_lower_the_mean(self, put, graphql):
        put("completed", due=10, started=8, stopped=6, finished=6)
        put("cancelled", due=10, finished=8)
        found = (await graphql(STATISTICS))["aiTaskStatistics"]
        assert (found["total"], found["averageRunMs"], found["averageWaitMs"]) == (2, 2000, 2000)


class TestPlace:
    async def test_is_the_queues_order(self, put, graphql, db):
        urgencies = [
            ("low", False),
            ("high", False),
            ("normal", False),
            ("high", False),
            ("low", True),
            ("urgent", False),
        ]
        keys = [put("queued", due=5, priority=one, aged=aged, job_id=n) for n, (one, aged) in enumerate(urgencies)]
        put("queued", due=-60, priority="urgent", job_id=100)
        put("running", due=5, started=1, priority="urgent", job_id=101)
        db.execute("UPDATE ai_tasks SET created_by = NULL WHERE id = %s", (keys[1],))  # one queue, whosever they are
        found = {one["id"]: one["positionInQueue"] for one in (await graphql(TASKS))["aiTasks"]}
        assert [found[key] for key in keys] == [6, 3, 5, 4, 1, 2]
        assert sorted(value is None for value in found.values()) == [False] * 6 + [True] * 2

    async def test_of_many_is_read_once(self, db, graphql):
        db.execute(
            "INSERT INTO ai_tasks (id, task_type, due_at, job_id, created_by) "
            "SELECT gen_random_uuid(), 'echo', now(), n, users.id "
            "FROM users, generate_series(1, 5000) AS n WHERE email = 'service-admin@crm.invalid'"
        )
        found = (await graphql("{ aiTasks(limit: 500) { positionInQueue } }"))["aiTasks"]
        assert len({one["positionInQueue"] for one in found}) == 500


class TestCostToday:
    async def test_does_not_fall(self, put, graphql, db):
        """What was paid is paid, whatever becomes of the task."""
        key = put("failed", due=9, started=8, stopped=6, finished=6, cost_usd="1.5")
        attempt = db.execute(
            "INSERT INTO ai_task_attempts (id, task_id, number, worker) VALUES (gen_random_uuid(), %s, 1, 'w') "
            "RETURNING id",
            (key,),
        ).fetchone()["id"]
        for cost, about_it, days in (("1.5", attempt, 0), ("0.25", attempt, 2), ("4", None, 0)):
            db.execute(
                "INSERT INTO ai_calls (id, created_at, question_id, attempt, purpose, prompt_version, input_hash, "
                "provider, model, cost_usd, cost_source, ai_task_attempt_id) VALUES (gen_random_uuid(), "
                "now() - make_interval(days => %s), gen_random_uuid(), 1, 'p', 'v', 'h', 'o', 'm', %s, 'provider', %s)",
                (days, cost, about_it),
            )
        assert (await graphql(QUEUE))["aiTaskQueueStatus"]["costTodayUsd"] == "1.5"
        await graphql(RETRY, id=key)
        assert (await graphql(QUEUE))["aiTaskQueueStatus"]["costTodayUsd"] == "1.5"
        await graphql(CANCEL, id=key)
        await graphql("mutation { cleanupOldAiTasks(olderThanDays: 0) { count } }")
        assert (await graphql(QUEUE))["aiTaskQueueStatus"]["costTodayUsd"] == "1.5"


class TestManyDays:
    async def test_are_all_told(self, db, graphql):
        db.execute(
            "INSERT INTO ai_task_days (day, task_type, status, tasks, tokens) "
            "SELECT current_date - n, 'echo', 'completed', 1, 10000000 FROM generate_series(1, 1100) AS n"
        )
        found = (await graphql(STATISTICS))["aiTaskStatistics"]
        assert (found["total"], len(found["byDay"]), found["tokens"]) == (1100, 1100, 11_000_000_000)


class TestRetryOfOneForLater:
    async def test_keeps_its_time(self, put, graphql, db):
        key = put("cancelled", due=-3600, finished=1)
        db.execute("UPDATE ai_tasks SET scheduled_for = due_at WHERE id = %s", (key,))
        found = (await graphql(RETRY, id=key))["retryAiTask"]
        assert (found["status"], found["waitMs"], found["positionInQueue"]) == ("QUEUED", None, None)
        row = db.execute(
            "SELECT task.due_at = task.scheduled_for AND job.scheduled_at = task.due_at AS as_planned "
            "FROM ai_tasks AS task JOIN procrastinate_jobs AS job ON job.id = task.job_id"
        ).fetchone()
        assert row["as_planned"]
