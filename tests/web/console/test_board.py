"""The board, as the server draws it for whoever looks."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.rest_client import ECHO, TASKS

from .conftest import HOSTILE, Elements


def ahead(**by):
    return (datetime.now(UTC) + timedelta(**by)).isoformat()


class TestQueue:
    async def test_is_shown_by_status_and_priority(self, look, put):
        put("queued", count=2, priority="urgent")
        put("queued", priority="low")
        board = await look()
        assert "Waiting for the first attempt 3 " in board.says("queue")
        assert "Urgent 2 High 0 Normal 0 Low 1" in board.says("queue")

    async def test_says_that_no_worker_is_there(self, look, put, db):
        db.execute("DELETE FROM procrastinate_workers")
        assert "No worker is alive" not in (await look()).text
        put("queued")
        assert "No worker is alive: nothing runs until one is started ( crm worker )." in (await look()).text
        db.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
        assert "No worker is alive" not in (await look()).text


class TestOrder:
    async def test_next_in_line_is_whoever_runs_next_and_the_others_come_later(self, look, put):
        put("queued", count=22, priority="urgent", due=-30 * 24 * 3600)
        normal, low = put("queued"), put("queued", priority="low")
        again = put("retrying", due=-90, error="The provider was busy.", attempt=2)
        aged = put("queued", priority="low", aged=True)
        board = await look()
        assert board.rows("waiting") == [aged, normal, low]
        assert [f"No. {number} " in board.row(key) for number, key in enumerate([aged, normal, low], 1)] == [True] * 3
        assert (len(board.rows("later")), board.rows("later")[0]) == (20, again)
        assert re.search(r"in 1 min 2\d s .* Retrying Last time: The provider was busy\.", board.row(again))
        assert "Later 20 of 23" in board.says("later")

    async def test_what_runs_has_the_latest_first(self, look, api, db):
        keys = [(await api.post(TASKS, json=ECHO)).json()["id"] for _ in range(3)]
        db.execute("UPDATE ai_tasks SET status = 'running', started_at = now()")
        assert (await look()).rows("running") == keys[::-1]


class TestLength:
    async def test_shows_some_and_says_of_how_many(self, look, put):
        put("running", count=60, started=5)
        board = await look()
        assert (len(board.rows("running")), "Running 50 of 60" in board.says("running")) == (50, True)
        (link,) = [one["href"] for one in board.elements.of("a") if one.get("id") == "running-more"]
        assert link == "/console/ai-tasks?running=100"
        board = await look(running="100")
        assert len(board.rows("running")) == 60
        assert "Show more" not in board.says("running")
        assert "Show fewer" in board.says("running")

    async def test_says_no_number_that_is_others(self, look, put):
        put("running", count=60, started=5)
        put("running", count=51, started=5, role="member")
        assert "50 of yours; there are more" in (await look("member")).says("running")

    async def test_ends_at_two_hundred(self, look, put):
        for status in ("running", "queued", "failed", "completed"):
            put(status, count=201, started=5, finished=1 if status in ("failed", "completed") else None)
        put("queued", count=201, due=-60)
        names = ("running", "waiting", "later", "failed", "recent")
        board = await look(**dict.fromkeys(names, "5000"))
        assert [len(board.rows(name)) for name in names] == [200] * 5
        assert "This page shows 200 at most." in board.says("running")
        assert "Show more" not in board.text

    @pytest.mark.parametrize("asked", ["", "0", "-1", "many", "1e3", "9" * 5000, "٣"])
    async def test_what_makes_no_sense_is_the_usual(self, look, put, asked):
        put("failed", count=21, finished=1)
        board = await look(failed=asked, open=asked)
        assert len(board.rows("failed")) == 20


class TestRow:
    async def test_can_be_told_from_others(self, look, put, make_lead):
        lead = make_lead(first_name="Anna", last_name="Berg")["id"]
        keys = [*put("queued", count=2), put("queued", lead_id=lead)]
        names = (await look()).buttons("waiting")
        assert sorted(names) == sorted(
            [
                f"Cancel echo, {keys[0][-8:]}",
                f"Cancel echo, {keys[1][-8:]}",
                f"Cancel echo for Anna Berg, {keys[2][-8:]}",
            ]
        )

    async def test_says_whose_it_is_to_those_who_see_all(self, look, put):
        key = put("queued", role="member")
        assert "· by Service (member)" in (await look()).row(key)
        assert "· by" not in (await look("member")).row(key)

    async def test_counts_attempts_and_promises_none(self, look, put):
        key = put("running", attempt=4, max_retries=3, started=51, timeout_seconds=60)
        assert re.search(r"51 s , limit 1 min 4 Cancel", (await look()).row(key))

    async def test_can_be_cancelled_or_retried_if_that_works(self, look, put):
        put("queued")
        for status in ("failed", "timed_out", "cancelled", "completed"):
            put(status, finished=1)
        board = await look()
        assert [len(board.buttons(name)) for name in ("waiting", "failed", "recent")] == [1, 2, 1]
        assert board.buttons("recent")[0].startswith("Retry echo, ")

    async def test_says_what_is_known_of_its_cost(self, look, put):
        keys = [
            put("failed", finished=0.1, **values)
            for values in (
                {"cost_source": "unknown"},
                {"cost_source": "unknown", "cost_usd": "0.5"},
                {"cost_source": "provider", "cost_usd": "1234567.891"},
                {},
            )
        ]
        board = await look()
        for key, words in zip(keys, ("not known", "$0.50 or more", "$1,234,567.89", "–"), strict=True):  # noqa: RUF001
            assert f"just now 0 {words} Retry" in board.row(key)

    async def test_has_nothing_that_is_read_aloud_whenever_it_changes(self, look, put):
        put("running", started=1)
        assert (await look()).elements.of("output") == []


class TestDetails:
    async def test_are_folded_away_without_what_is_large(self, look, put):
        key = put("failed", finished=1, input='{"message": "Hej"}', error="It broke. " * 200)
        board = await look()
        (details,) = [one for one in board.elements.of("details") if one["id"] == f"details-{key}"]
        assert "open" not in details
        assert {key, "Time limit", "Retries"} <= {
            part for part in (key, "Time limit", "Retries") if part in board.row(key)
        }
        assert "Hej" not in board.text
        (link,) = [one["href"] for one in board.elements.of("a") if one["href"].endswith(f"#task-{key}")]
        assert link == f"/console/ai-tasks?open={key}#task-{key}"

    async def test_show_input_result_and_attempts_of_what_was_opened(self, look, put, insert):
        key = put("completed", started=3, finished=1, attempt=2, input='{"message": "Hej"}', result='{"message": "Då"}')
        values = {"task_id": key, "worker": "vm:1", "started_at": "2026-01-31T08:00:00Z"}
        times = {1: "2026-01-31T08:00:04.2Z", 2: "2026-01-31T08:02:05Z"}
        for number, outcome, source in ((1, "failed", "unknown"), (2, "completed", "provider")):
            insert(
                "ai_task_attempts",
                **{
                    **values,
                    "id": f"0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f1{number}",
                    "number": number,
                    "outcome": outcome,
                },
                cost_source=source,
                error="Too busy." if number == 1 else None,
                finished_at=times[number],
            )
        row = (await look(open=key)).row(key)
        assert '{ "message": "Hej" }' in row
        assert '{ "message": "Då" }' in row
        assert "Failed after 4.2 s · cost not known · worker vm:1 Too busy." in row
        assert "Completed after 2 min 5 s · cost $0.00 · worker vm:1" in row

    async def test_clamp_what_is_large(self, look, put):
        key = put("queued", input='{"message": "%s"}' % ("x" * 10_000))
        row = (await look(open=key)).row(key)
        assert row.count("x") < 2050
        assert "more characters are not shown here." in row

    async def test_of_another_users_task_stay_hidden(self, look, put):
        key = put("queued", input='{"message": "Hej"}')
        assert "Hej" not in (await look("member", open=key)).html


class TestWhoLooks:
    async def test_is_named_with_their_role(self, look):
        assert "Signed in as Service (admin) , admin" in (await look()).text
        assert "Signed in as Service (viewer) , viewer" in (await look("viewer")).text

    async def test_a_member_learns_that_others_have_tasks(self, look, put):
        board = await look("member")
        assert ("Nothing runs." in board.says("running"), "Nothing waits." in board.says("waiting")) == (True, True)
        put("running", started=1)
        put("queued")
        put("failed", finished=1)
        board = await look("member")
        assert "None of yours runs." in board.says("running")
        assert "None of yours waits." in board.says("waiting")
        assert "None of yours has failed." in board.says("failed")
        assert "The figures above are everybody's; the tasks below are your own." in board.text
        assert "everybody's" not in (await look()).text

    async def test_a_viewer_gets_nothing_to_press(self, look, put):
        put("queued", role="viewer")
        board = await look("viewer")
        assert "No. 1" in board.says("waiting")
        assert board.elements.of("button") == board.elements.of("select") == []

    async def test_is_told_how_to_try_it_out_if_they_may(self, look, server):
        says = (await look("member")).says("waiting")
        assert f"curl -X POST {server.url} /api/ai/tasks" in says
        assert '-H "authorization: Bearer $TOKEN"' in says
        assert "curl" not in (await look("viewer")).says("waiting")


class TestEscaping:
    async def test_of_whatever_is_shown(self, look, make_lead, put, insert, db):
        lead = make_lead(first_name=HOSTILE, company=HOSTILE)["id"]
        db.execute("UPDATE users SET name = %s WHERE email = 'service-admin@crm.invalid'", (HOSTILE,))
        texts = {"task_type": HOSTILE, "agent_id": HOSTILE, "error": HOSTILE, "model": HOSTILE, "lead_id": lead}
        statuses = ("queued", "running", "retrying", "failed", "completed")
        keys = [put(one, started=2, finished=1 if one in statuses[3:] else None, **texts) for one in statuses]
        db.execute("UPDATE ai_tasks SET input = to_jsonb(%s::text), result = to_jsonb(%s::text)", (HOSTILE, HOSTILE))
        for number, key in enumerate(keys):
            values = {"id": f"0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f1{number}", "worker": HOSTILE, "error": HOSTILE}
            insert("ai_task_attempts", task_id=key, number=1, outcome="failed", **values)
        try:
            board = await look(open=keys, running=HOSTILE)
        finally:
            db.execute("UPDATE users SET name = 'Service (admin)' WHERE email = 'service-admin@crm.invalid'")
        elements = Elements(board.html)
        assert elements.of("script") == elements.of("img") == []
        assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on")]
        assert board.html.count("&lt;script&gt;") >= 50
