"""The score as SQL: one expression, for one lead or for all of them.

Made once from the weights, whose numbers are inlined; the instant and the leads are parameters. Facts later than the
instant do not count (but for a few minutes of clock skew), so a score depends on the facts and the instant alone.
"""

# ruff: noqa: S608  (the text is made of numbers and names that `weights` has checked)

from typing import Final

from crm.core.choice import Choice
from crm.sales.leads.model import LeadStatus
from crm.sales.scoring.weights import CLOSED, CONTACTS, WEIGHTS, Weights


class ScoreSignal(Choice):
    """What the score is made of."""

    RECENCY = "recency", "How long ago the last contact was."
    FREQUENCY = "frequency", "How many contacts there were in the last weeks."
    DEPTH = "depth", "Of what kind they were: a meeting weighs more than a message."
    RESPONSIVENESS = "responsiveness", "How many of them came soon after the one before."
    STAGE = "stage", "Where the lead stands in the sales process."
    BUDGET = "budget", "What the lead may spend."
    OPEN_TASKS = "open_tasks", "Whether a next step is planned."
    COMPLETED_TASKS = "completed_tasks", "How many tasks were done lately."


# `InteractionService` accepts times from clocks a little ahead; they count as now.
_AHEAD: Final = "interval '5 minutes'"
_DAY_SECONDS: Final = 86_400
# 0.5 to the power of this is next to 0; much larger exponents are errors in PostgreSQL.
_MOST_HALVINGS: Final = 64


def scored(leads: str, at: str, weights: Weights = WEIGHTS) -> str:
    """CTEs that end in `scored`, for the rows of the statement `leads` at the instant `at`.

    `leads` selects (id, status, budget, currency, ...); `scored` adds score and factors, among others. A factor is
    {signal, points, max_points, evidence}. Facts are gathered lead by lead along an index (LATERAL), in any plan: with
    a join of groups, an estimate of the number of leads would decide between their rows and whole tables. OFFSET 0
    keeps the planner from reading other indexes as a whole.
    """
    return f"""
    chosen AS MATERIALIZED ({leads}),
    facts AS (
      SELECT chosen.*, contact.*, task.*, {_worth(weights)} AS worth
      FROM chosen
      CROSS JOIN LATERAL ({_contact(at, weights)}) AS contact
      CROSS JOIN LATERAL ({_task(at, weights)}) AS task
    ),
    points AS (
      SELECT *, {", ".join(f"({text}) AS p_{signal}" for signal, text in _points(at, weights).items())} FROM facts
    ),
    scored AS (
      SELECT *, {" + ".join(f"p_{signal}" for signal in ScoreSignal)} AS score,
        jsonb_build_object('version', '{weights.version}', 'factors', jsonb_build_array({_factors(weights)})) AS factors
      FROM points
    )"""


def _contact(at: str, weights: Weights) -> str:
    def since(days: int) -> str:
        return f"occurred_at > {at} - interval '{days} days'"

    soon = f"previous < occurred_at AND previous >= occurred_at - interval '{weights.responsiveness.within_days} days'"
    kinds = ",\n          ".join(
        f"count(*) FILTER (WHERE type = '{kind}' AND {since(weights.depth.days)})::integer AS {kind}s"
        for kind in CONTACTS
    )
    return f"""
        SELECT max(occurred_at) AS last_at, max(type) FILTER (WHERE following IS NULL) AS last_type,
          count(*) FILTER (WHERE {since(weights.frequency.days)})::integer AS recent,
          count(*) FILTER (WHERE {soon} AND {since(weights.responsiveness.days)})::integer AS followed,
          {kinds}
        FROM (
          SELECT type, occurred_at, lag(occurred_at) OVER line AS previous, lead(occurred_at) OVER line AS following
          FROM interactions
          WHERE lead_id = chosen.id AND occurred_at <= {at} + {_AHEAD}
            AND type IN ({", ".join(f"'{kind}'" for kind in CONTACTS)})
          WINDOW line AS (ORDER BY occurred_at, type)
        ) AS contacts"""


def _task(at: str, weights: Weights) -> str:
    done_since = f"coalesce(completed_at, updated_at) > {at} - interval '{weights.completed_tasks.days} days'"
    return f"""
        SELECT count(*) FILTER (WHERE NOT completed)::integer AS open,
          count(*) FILTER (WHERE NOT completed AND due_date IS NULL)::integer AS undated,
          min(due_date) FILTER (WHERE NOT completed AND due_date >= {at}) AS next_due,
          count(*) FILTER (WHERE completed AND {done_since})::integer AS done
        FROM (SELECT * FROM tasks WHERE lead_id = chosen.id OFFSET 0) AS of_lead
        WHERE source = 'manual' AND deleted_at IS NULL"""


def _worth(weights: Weights) -> str:
    """The budget in the currency of the steps; null if there is no rate for its currency."""
    budget = weights.budget
    rates = " ".join(f"WHEN '{code}' THEN budget * {rate}" for code, rate in budget.rates.items())
    return f"CASE coalesce(currency, '{budget.currency}') WHEN '{budget.currency}' THEN budget {rates} END"


def _points(at: str, weights: Weights) -> dict[ScoreSignal, str]:
    w = weights
    age = f"greatest(extract(epoch FROM {at}) - extract(epoch FROM last_at), 0)"
    halvings = f"least({age} / {w.recency.half_life_days * _DAY_SECONDS}, {_MOST_HALVINGS})::double precision"
    depth = " + ".join(f"{kind}s * {points}" for kind, points in w.depth.points_each.items())
    stages = " ".join(f"WHEN '{stage}' THEN {points}" for stage, points in w.stage.points.items())
    steps = " ".join(f"WHEN worth >= {step.at_least} THEN {step.points}" for step in w.budget.steps)
    tasks = w.open_tasks
    return {
        # (greatest() ignores nulls: without a contact the result would be now.)
        ScoreSignal.RECENCY: (
            f"CASE WHEN last_at IS NULL THEN 0 ELSE round({w.recency.max_points} * power(0.5, {halvings}))::integer END"
        ),
        ScoreSignal.FREQUENCY: f"least(recent * {w.frequency.points_each}, {w.frequency.max_points})",
        ScoreSignal.DEPTH: f"least({depth}, {w.depth.max_points})",
        ScoreSignal.RESPONSIVENESS: (
            f"least(followed * {w.responsiveness.points_each}, {w.responsiveness.max_points})"
        ),
        ScoreSignal.STAGE: f"CASE status {stages} ELSE 0 END",
        ScoreSignal.BUDGET: f"CASE WHEN {_no_budget()} THEN 0 {steps} ELSE {w.budget.steps[-1].points} END",
        ScoreSignal.OPEN_TASKS: (
            f"CASE WHEN next_due IS NOT NULL THEN {tasks.planned} WHEN undated > 0 THEN {tasks.undated} "
            f"WHEN open > 0 THEN {tasks.overdue} ELSE 0 END"
        ),
        ScoreSignal.COMPLETED_TASKS: f"least(done * {w.completed_tasks.points_each}, {w.completed_tasks.max_points})",
    }


def _no_budget() -> str:
    return f"status IN ({_closed()}) OR coalesce(budget, 0) = 0"


def _closed() -> str:
    return ", ".join(f"'{stage}'" for stage in CLOSED)


def _factors(weights: Weights) -> str:
    evidence = _evidence(weights)
    return ",\n        ".join(
        f"jsonb_build_object('signal', '{signal}', 'points', p_{signal}, "
        f"'max_points', {getattr(weights, signal).max_points}, 'evidence', {evidence[signal]})"
        for signal in ScoreSignal
    )


def _evidence(weights: Weights) -> dict[ScoreSignal, str]:
    """The evidence of each signal, with dates rather than ages: it stays the same until a fact changes."""
    w = weights
    stages = " ".join(
        f"WHEN '{stage}' THEN '{stage.title()}{': closed' if stage in CLOSED else ''}'" for stage in LeadStatus
    )
    kinds = ", ".join(f"CASE WHEN {kind}s > 0 THEN {_counted(f'{kind}s', _spelled(kind))} END" for kind in CONTACTS)
    return {
        ScoreSignal.RECENCY: (
            f"CASE WHEN last_at IS NULL THEN 'No contact yet' ELSE 'Last contact: ' || replace(last_type, 'email', "
            f"'e-mail') || ' on ' || {_date('last_at')} END"
        ),
        ScoreSignal.FREQUENCY: f"{_counted('recent', 'contact')} || ' in {w.frequency.days} days'",
        ScoreSignal.DEPTH: f"coalesce(nullif(concat_ws(', ', {kinds}), ''), 'No contact') || ' in {w.depth.days} days'",
        ScoreSignal.RESPONSIVENESS: (
            f"{_counted('followed', 'contact')} || ' within {w.responsiveness.within_days} days of the one before, "
            f"in {w.responsiveness.days} days'"
        ),
        ScoreSignal.STAGE: f"CASE status {stages} ELSE status END",
        ScoreSignal.BUDGET: _budget_evidence(w),
        ScoreSignal.OPEN_TASKS: (
            f"{_counted('open', 'open task')} || CASE WHEN next_due IS NOT NULL THEN ', next due ' || "
            f"{_date('next_due')} WHEN undated > 0 THEN ', without a date' WHEN open > 0 THEN ', overdue' ELSE '' END"
        ),
        ScoreSignal.COMPLETED_TASKS: f"{_counted('done', 'task')} || ' done in {w.completed_tasks.days} days'",
    }


def _budget_evidence(weights: Weights) -> str:
    own = weights.budget.currency
    worth = f"', about ' || {_amount('worth')} || ' {own}'"
    return (
        f"CASE WHEN status IN ({_closed()}) THEN 'Closed: nothing left to win' WHEN {_no_budget()} THEN 'No budget' "
        f"ELSE {_amount('budget')} || ' ' || coalesce(currency, '{own}') || CASE WHEN worth IS NULL THEN "
        f"', of unknown worth' WHEN currency <> '{own}' THEN {worth} ELSE '' END END"
    )


def _spelled(kind: str) -> str:
    return "e-mail" if kind == "email" else kind


def _counted(count: str, noun: str) -> str:
    """`No task`, `1 task`, `2 tasks`."""
    return f"CASE {count} WHEN 0 THEN 'No {noun}' WHEN 1 THEN '1 {noun}' ELSE {count} || ' {noun}s' END"


def _amount(column: str) -> str:
    return f"to_char({column}, 'FM999,999,999,999,990')"


def _date(column: str) -> str:
    return f"to_char(timezone('UTC', {column}), 'YYYY-MM-DD')"
