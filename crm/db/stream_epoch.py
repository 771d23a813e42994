"""The stream's epoch: the part of PostgreSQL's history that positions in the stream belong to.

A promoted standby assigns transaction ids again that the lost primary assigned already, so a position is valid only on
the timeline that it was read from: docs/decisions/0018-positions-and-timelines.md has the reasoning.
"""

from typing import Final

from crm.db.statement import Statement

# Null while the server's timeline is not the epoch's: every read of the stream selects it.
EPOCH: Final = "(SELECT epoch::text FROM event_epoch WHERE timeline = crm_timeline())"

# The number of last events before the fork that are searched for the latest horizon.
_LAST_EVENTS: Final = 1000
# The number of transactions, from that horizon on, whose status is checked: committed before the fork or not.
_MOST_ASKED: Final = 1_000_000

# If several processes notice a fork, one renews the epoch: the others wait for its lock, and find it renewed.
RENEW: Final = Statement(
    f"""
    WITH old AS (
      SELECT epoch, timeline FROM event_epoch WHERE timeline <> crm_timeline() FOR UPDATE
    ), last AS (
      SELECT coalesce(max(xid)::text::bigint, 0) AS newest, coalesce(max(horizon)::text::bigint, 0) AS horizon
      FROM (
        SELECT events.xid, events.horizon FROM events, old
        WHERE events.timeline <= old.timeline AND events.timeline <> crm_timeline()
        ORDER BY events.xid DESC, events.id DESC LIMIT {_LAST_EVENTS}
      ) AS newest_first
    ), asked AS (
      -- Timelines only go up: a lower one is another cluster's, and so are the ids of transactions that have not begun.
      SELECT horizon, CASE WHEN old.timeline < crm_timeline()
        AND newest::text::xid8 < pg_snapshot_xmax(pg_current_snapshot())
        THEN least(newest, horizon + {_MOST_ASKED}) ELSE 0 END AS newest
      FROM last, old
    ), undecided AS (
      SELECT number FROM (SELECT generate_series(horizon, newest) AS number FROM asked) AS one
      WHERE pg_xact_status(number::text::xid8) IS DISTINCT FROM 'committed' LIMIT 1
    ), fork AS (
      SELECT coalesce((SELECT greatest(number - 1, 0) FROM undecided), newest)::text::xid8 AS kept FROM asked
    ), renewed AS (
      UPDATE event_epoch SET epoch = gen_random_uuid(), timeline = crm_timeline(), started_at = now()
      FROM old WHERE event_epoch.epoch = old.epoch RETURNING event_epoch.epoch, event_epoch.timeline
    ), earlier AS (
      UPDATE event_forks SET successor = renewed.epoch, kept_xid = least(event_forks.kept_xid, fork.kept)
      FROM old, renewed, fork WHERE event_forks.successor = old.epoch
    ), recorded AS (
      INSERT INTO event_forks (epoch, successor, kept_xid)
      SELECT old.epoch, renewed.epoch, fork.kept FROM old, renewed, fork
    )
    SELECT renewed.epoch::text, renewed.timeline::text, fork.kept::text FROM renewed, fork
    """  # noqa: S608  (constants of ours)
)
