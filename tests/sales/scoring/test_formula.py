"""The score's properties, held against PostgreSQL; and what each signal says."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm.sales.leads.model import LeadStatus
from crm.sales.scoring.formula import ScoreSignal
from crm.sales.scoring.weights import WEIGHTS
from tests.sales.scoring.facts import FACTS, KINDS, NOW, Facts, Task, ago
from tests.support.examples import examples

often = settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DAY = timedelta(days=1)


class TestProperties:
    @often
    @given(facts=FACTS)
    def test_the_factors_add_up_to_a_score_from_0_to_100(self, scorer, facts):
        found = scorer.of(facts)
        assert 0 <= found.score <= 100
        assert found.score == sum(found.points.values())
        assert [one["signal"] for one in found.factors] == [one.value for one in ScoreSignal]
        assert all(0 <= one["points"] <= one["max_points"] for one in found.factors)
        assert sum(one["max_points"] for one in found.factors) == 100
        assert all(found.evidence.values())

    @often
    @given(facts=FACTS)
    def test_the_same_facts_have_the_same_score(self, scorer, facts):
        first, again, reversed_ = scorer.each([facts, facts, facts.reversed()])
        assert first == again == reversed_

    @often
    @given(facts=FACTS, kind=KINDS, sooner=st.integers(0, 60 * 24 * 200))
    def test_a_later_interaction_never_lowers_it(self, scorer, facts, kind, sooner):
        last = max((moment for _, moment in facts.interactions), default=NOW - timedelta(minutes=sooner))
        later = min(NOW, max(last, NOW - timedelta(minutes=sooner)))
        before, after = scorer.each([facts, facts.with_interaction(kind, later)])
        assert all(after.points[signal] >= before.points[signal] for signal in before.points)

    @often
    @given(facts=FACTS, minutes=st.lists(st.integers(0, 60 * 24 * 200), min_size=1, max_size=4))
    def test_time_passing_never_raises_it(self, scorer, facts, minutes):
        moments = [NOW, *(NOW + timedelta(minutes=one) for one in sorted(minutes))]
        found = scorer.at_each(facts, *moments)
        for sooner, later in itertools.pairwise(found):
            assert all(later.points[signal] <= sooner.points[signal] for signal in later.points)

    @often
    @given(several=st.lists(FACTS, min_size=1, max_size=5))
    def test_one_lead_and_many_are_scored_alike(self, scorer, several):
        assert scorer.one_by_one(several) == scorer.each(several)

    @often
    @given(facts=FACTS, kind=KINDS, ahead=st.integers(6, 10_000))
    def test_what_is_yet_to_come_counts_for_nothing(self, scorer, facts, kind, ahead):
        planned = facts.with_interaction(kind, NOW + timedelta(minutes=ahead))
        assert scorer.of(planned) == scorer.of(facts)

    @often
    @given(facts=FACTS, moment=ago())
    def test_a_note_is_no_contact(self, scorer, facts, moment):
        assert scorer.of(facts.with_interaction("note", moment)) == scorer.of(facts)


class TestSignals:
    @pytest.mark.parametrize(
        ("days", "points"), [(0, 25), (1, 24), (7, 18), (14, 12), (28, 6), (42, 3), (70, 1), (90, 0)]
    )
    def test_recency_halves_every_two_weeks(self, scorer, days, points):
        assert scorer.of(Facts(interactions=[("call", NOW - days * DAY)])).points["recency"] == points

    def test_recency_names_the_last_contact(self, scorer):
        found = scorer.of(Facts(interactions=[("meeting", NOW - 3 * DAY), ("email", NOW - DAY), ("note", NOW)]))
        assert found.evidence["recency"] == "Last contact: e-mail on 2026-05-31"

    @pytest.mark.parametrize("moment", ["-infinity", datetime(1, 1, 1, tzinfo=UTC), "4713-01-01 BC", "infinity"])
    def test_dates_beyond_reason_break_nothing(self, scorer, moment):
        found = scorer.of(Facts(interactions=[("call", moment), ("call", moment)], tasks=[Task(due_date=moment)]))
        assert found.points["recency"] == 0

    def test_a_clock_that_is_a_little_ahead_counts_as_now(self, scorer):
        assert scorer.of(Facts(interactions=[("call", NOW + timedelta(minutes=4))])).points["recency"] == 25

    @pytest.mark.parametrize(("count", "points"), [(0, 0), (1, 3), (4, 12), (5, 15), (9, 15)])
    def test_frequency_counts_contacts_of_thirty_days(self, scorer, count, points):
        lately = [("message", NOW - index * DAY) for index in range(count)]
        found = scorer.of(Facts(interactions=[*lately, ("call", NOW - 30 * DAY)]))
        assert found.points["frequency"] == points

    @pytest.mark.parametrize(("kind", "points"), [("meeting", 5), ("call", 3), ("email", 1), ("message", 1)])
    def test_depth_weighs_a_meeting_more_than_a_message(self, scorer, kind, points):
        found = scorer.of(Facts(interactions=[(kind, NOW - 89 * DAY), (kind, NOW - 90 * DAY)]))
        assert found.points["depth"] == points
        assert found.evidence["depth"] == f"1 {kind.replace('email', 'e-mail')} in 90 days"

    def test_responsiveness_counts_what_came_soon_after_the_contact_before(self, scorer):
        found = scorer.of(
            Facts(
                interactions=[
                    ("email", NOW - 20 * DAY),
                    ("call", NOW - 17 * DAY),  # after three days: soon
                    ("meeting", NOW - 13 * DAY),
                    ("meeting", NOW - 13 * DAY),  # the same one twice
                    ("message", NOW - 12 * DAY),  # soon
                ]
            )
        )
        assert found.points["responsiveness"] == 4
        assert found.evidence["responsiveness"] == "2 contacts within 3 days of the one before, in 90 days"

    @pytest.mark.parametrize("status", list(LeadStatus))
    def test_the_stage_has_its_points(self, scorer, status):
        assert scorer.of(Facts(status=status.value)).points["stage"] == WEIGHTS.stage.points[status]

    @pytest.mark.parametrize(
        ("budget", "currency", "points", "evidence"),
        [
            (None, "SEK", 0, "No budget"),
            (Decimal(0), "SEK", 0, "No budget"),
            (Decimal("0.01"), "ISK", 2, "0 ISK, about 0 SEK"),
            (Decimal(99_999), "SEK", 4, "99,999 SEK"),
            (Decimal(100_000), None, 6, "100,000 SEK"),
            (Decimal(100_000), "EUR", 10, "100,000 EUR, about 1,100,000 SEK"),
            (Decimal("999999999999.99"), "GBP", 10, "1,000,000,000,000 GBP, about 13,000,000,000,000 SEK"),
            (Decimal(100_000), "JPY", 2, "100,000 JPY, of unknown worth"),
        ],
    )
    def test_budgets_are_compared_across_currencies(self, scorer, budget, currency, points, evidence):
        found = scorer.of(Facts(budget=budget, currency=currency))
        assert (found.points["budget"], found.evidence["budget"]) == (points, evidence)

    @pytest.mark.parametrize("status", ["won", "lost"])
    def test_a_closed_lead_has_nothing_to_win_but_what_happens_counts(self, scorer, status):
        found = scorer.of(Facts(status=status, budget=Decimal(10**6), interactions=[("meeting", NOW)]))
        assert found.points["stage"] == found.points["budget"] == 0
        assert found.score == found.points["recency"] + found.points["frequency"] + found.points["depth"] > 0

    @pytest.mark.parametrize(
        ("tasks", "points", "evidence"),
        [
            ([], 0, "No open task"),
            ([Task(due_date=NOW + DAY), Task(due_date=NOW - DAY)], 4, "2 open tasks, next due 2026-06-02"),
            ([Task(), Task(due_date=NOW - DAY)], 3, "2 open tasks, without a date"),
            ([Task(due_date=NOW - DAY)], 1, "1 open task, overdue"),
            ([Task(source="ai_suggested"), Task(source="dismissed"), Task(deleted_at=NOW)], 0, "No open task"),
        ],
    )
    def test_open_tasks_say_whether_a_next_step_is_planned(self, scorer, tasks, points, evidence):
        found = scorer.of(Facts(tasks=tasks))
        assert (found.points["open_tasks"], found.evidence["open_tasks"]) == (points, evidence)

    def test_doing_the_planned_task_costs_no_points(self, scorer):
        planned, done = Task(due_date=NOW + DAY), Task(due_date=NOW + DAY, completed=True, completed_at=NOW)
        before, after = scorer.each([Facts(tasks=[planned]), Facts(tasks=[done])])
        assert after.score >= before.score

    def test_completed_tasks_count_for_thirty_days(self, scorer):
        done = [Task(completed=True, completed_at=NOW - days * DAY) for days in (1, 29, 30, 31)]
        found = scorer.of(Facts(tasks=done))
        assert (found.points["completed_tasks"], found.evidence["completed_tasks"]) == (6, "2 tasks done in 30 days")
