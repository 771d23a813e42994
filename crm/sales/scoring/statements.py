"""The statements that write scores, with their events. No other code writes scores.

$1 is the instant, $2 the ids of the leads.
"""

# ruff: noqa: S608  (put together from constants)

from typing import Final

from crm.db.statement import Statement
from crm.sales.scoring.formula import scored

_LOCK: Final = "FOR NO KEY UPDATE"
# Leads that other transactions have locked are left out, not waited for.
_LOCK_FREE: Final = f"{_LOCK} SKIP LOCKED"
# Each lead is looked up by its id, in any plan: LIMIT keeps PostgreSQL from joining with the table. Without statistics
# it would read the whole index of living leads as well, taking them for few.
_CHOSEN: Final = """
      SELECT lead.* FROM (SELECT DISTINCT id FROM unnest($2::integer[]) AS given (id) ORDER BY id) AS wanted
      CROSS JOIN LATERAL (
        SELECT id, status, budget, currency, activity_score AS was FROM leads
        WHERE leads.id = wanted.id AND deleted_at IS NULL LIMIT 1 {lock}
      ) AS lead"""
_WRITTEN: Final = """
    written AS (
      UPDATE leads SET activity_score = scored.score, score_factors = scored.factors, score_calculated_at = $1
      FROM scored WHERE leads.id = scored.id AND {only}
      RETURNING leads.id, leads.version, scored.was, leads.activity_score AS score
    )"""
_AT: Final = "$1::timestamptz"

NOW: Final = Statement("SELECT clock_timestamp() AS at")
LIVING: Final = Statement("SELECT count(*)::text FROM leads WHERE deleted_at IS NULL")
# The ids of the living among the next leads, as an array's text, null if all are deleted; and the last id of them, null
# when there are no more leads. (A limit on living leads alone could make PostgreSQL sort all leads.)
NEXT: Final = Statement(
    """
    SELECT (array_agg(id ORDER BY id) FILTER (WHERE deleted_at IS NULL))::text, max(id)::text FROM (
      SELECT id, deleted_at FROM leads WHERE id > $1::integer ORDER BY id LIMIT $2::integer
    ) AS following
    """
)

_SHOWN: Final = _CHOSEN.format(lock="")
SHOW: Final = Statement(f"WITH {scored(_SHOWN, _AT)} SELECT id, score, factors FROM scored")

_LOGGED: Final = """
    logged AS (
      INSERT INTO events (type, entity, entity_id, lead_id, via, version, fields)
      SELECT 'lead.scored', 'lead', id::text, id, 'program', version,
        jsonb_build_array(jsonb_build_object('name', 'activityScore', 'before', was, 'after', score))
      FROM written WHERE was IS DISTINCT FROM score
    )"""
_LOCKED: Final = _CHOSEN.format(lock=_LOCK)

# Writes the leads whose score or factors changed, with an event for each changed score; other leads are left alone.
FOLLOW: Final = Statement(
    f"""
    WITH {scored(_LOCKED, _AT)},
    {_WRITTEN.format(only="(leads.score_calculated_at IS NULL OR leads.score_factors <> scored.factors)")},{_LOGGED}
    SELECT id FROM written
    """
)
# The same, but every lead is written, as of now; events are still only for changed scores.
REFRESH: Final = Statement(
    f"""
    WITH {scored(_LOCKED, _AT)},{_WRITTEN.format(only="true")},{_LOGGED}
    SELECT id FROM written
    """
)

_BATCH: Final = f"""
    WITH {scored(_CHOSEN.format(lock=_LOCK_FREE), _AT)},
    {_WRITTEN.format(only="coalesce(leads.score_calculated_at <= $1, true)")}"""
_COUNTED: Final = """
    SELECT (SELECT count(*) FROM chosen)::integer AS count,
      (SELECT count(*) FROM written WHERE was IS DISTINCT FROM score)::integer AS changed,
      CASE WHEN (SELECT count(*) FROM chosen) < cardinality($2::integer[]) THEN (
        SELECT array_agg(wanted.id)::text FROM unnest($2::integer[]) AS wanted (id)
        CROSS JOIN LATERAL (SELECT FROM leads WHERE leads.id = wanted.id AND deleted_at IS NULL LIMIT 1) AS living
        WHERE wanted.id NOT IN (SELECT id FROM chosen)
      ) END AS locked"""

# A batch of a recalculation: returns how many leads it scored, how many scores changed, and which leads were locked. A
# newer score than this run's stays. One event for the batch, with the run ($3) and its user ($4).
BATCH: Final = Statement(
    f"""{_BATCH},
    logged AS (
      INSERT INTO events (type, entity, entity_id, actor_id, via, fields)
      SELECT 'scores.recalculated', 'recalculation', $3::text, $4::uuid,
        CASE WHEN $4::uuid IS NULL THEN 'program' ELSE 'api' END, jsonb_build_array(
        jsonb_build_object('name', 'count', 'before', NULL, 'after', count(*)),
        jsonb_build_object('name', 'firstLeadId', 'before', NULL, 'after', min(id)),
        jsonb_build_object('name', 'lastLeadId', 'before', NULL, 'after', max(id)))
      FROM written HAVING count(*) > 0
    ){_COUNTED}"""
)
# The same for demo data, whose events are those of its histories.
QUIET_BATCH: Final = f"{_BATCH}{_COUNTED}"
