"""Changes on top of a version that is not the current one: only what others changed since is in conflict.

Which fields that were is in the record's events, by their versions. Where some of these are gone (they are older than
the retention, or another program changed the record without any), every change is in conflict. Columns that a choice
follows from (`DerivedChoice`) are one field: two who change one each overwrite one another's choice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Final, NoReturn
from uuid import UUID

from crm.core import errors
from crm.core.api_json import camel
from crm.core.labels import listed
from crm.core.language import Phrase
from crm.core.model import Model
from crm.db.statement import Params, Statement, encode

# The newest events of a record's lead, of which those of the record are few or many: so the look has an end. A version
# is made by the first of its events; after it come those of what was worked out of it, such as a score.
_MOST_EVENTS: Final = 1000
CHANGED_SINCE: Final = Statement(
    f"""
    WITH stale AS (
      SELECT * FROM unnest($2::integer[], $3::text[], $4::integer[], $5::integer[])
        AS given(lead_id, entity_id, seen, current)
    ), found AS (
      SELECT stale.entity_id, count(DISTINCT latest.version) AS versions,
        coalesce(array_agg(DISTINCT field ->> 'name') FILTER (WHERE field IS NOT NULL), '{{}}') AS names,
        (array_agg(latest.occurred_at ORDER BY latest.version DESC, latest.id))[1] AS at,
        (array_agg(latest.actor_id ORDER BY latest.version DESC, latest.id))[1] AS actor_id
      FROM (SELECT DISTINCT lead_id FROM stale) AS lead
      CROSS JOIN LATERAL (
        SELECT id, entity, entity_id, version, fields, occurred_at, actor_id FROM events
        WHERE events.lead_id = lead.lead_id ORDER BY id DESC LIMIT {_MOST_EVENTS}
      ) AS latest
      JOIN stale ON stale.lead_id = lead.lead_id AND stale.entity_id = latest.entity_id
        AND latest.version > stale.seen AND latest.version <= stale.current
      LEFT JOIN LATERAL jsonb_array_elements(latest.fields) AS field ON true
      WHERE latest.entity = $1::text
      GROUP BY stale.entity_id
    )
    SELECT found.*, users.id AS by_id, users.name AS by_name FROM found LEFT JOIN users ON users.id = found.actor_id
    """  # noqa: S608  (a constant of ours)
)
_CHANGED: Final = Phrase(
    "The record is at version {version}, not {expected}: {who} changed {fields} meanwhile. Read it again.",
    "Posten har version {version}, inte {expected}: {who} har ändrat {fields} under tiden. Läs den på nytt.",
)
_STALE: Final = Phrase(
    "The record is at version {version}, not {expected}: {who} changed it. Read it again.",
    "Posten har version {version}, inte {expected}: {who} har ändrat den. Läs den på nytt.",
)
_SOMEBODY: Final = Phrase("somebody", "någon")


@dataclass(frozen=True)
class StaleRecord:
    """A record that others changed since the version that the caller saw."""

    model: type[Model]
    expected: int
    # The fields that they changed, as the API spells them; None: any may be among them.
    changed: frozenset[str] | None
    # When the last of them did so, and which user it was, as far as events tell it.
    at: datetime | None = None
    by_id: UUID | None = None
    by_name: str | None = None

    @classmethod
    def of(cls, record: Model, expected: int, found: Mapping[str, Any] | None) -> "StaleRecord":
        """What changed since a version, by the record's row of `CHANGED_SINCE`."""
        if found is None:
            return cls(type(record), expected, None)
        is_whole = found["versions"] == record.__dict__["version"] - expected
        changed = frozenset(found["names"]) if is_whole else None
        return cls(type(record), expected, changed, found["at"], found["by_id"], found["by_name"])

    def check(self, before: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Refuse values that would overwrite somebody's change."""
        overwritten = [name for name in values if self.changed is None or self._has_changed(name)]
        overwritten += [name for name in self._of_several(values) if name not in overwritten]
        if overwritten:
            # What the service sets beside what was asked for, as when a task was decided on, tells nobody more.
            asked = [name for name in overwritten if self._is_asked_for(name)]
            raise self._conflict(before, asked or overwritten, values)

    def refuse_deletion(self, before: Mapping[str, Any]) -> NoReturn:
        """Refuse to delete the record: that would overwrite whatever was changed."""
        raise self._conflict(before, [name for name in before if self._has_changed(name)], {})

    def _of_several(self, values: Mapping[str, Any]) -> list[str]:
        """The columns that they and these values change, of fields that follow from several and that both change."""
        return [
            name
            for columns in _fields_of_several(self.model)
            if not columns.isdisjoint(values) and any(self._has_changed(name) for name in columns)
            for name in sorted(columns)
            if name in values or self._has_changed(name)
        ]

    def _is_asked_for(self, name: str) -> bool:
        return name in self.model.rules or any(name in columns for columns in _fields_of_several(self.model))

    def _has_changed(self, name: str) -> bool:
        return self.changed is not None and camel(name) in self.changed

    def _conflict(self, before: Mapping[str, Any], names: Sequence[str], values: Mapping[str, Any]) -> errors.Conflict:
        changed = [
            errors.ChangedField(camel(name), api_value(values.get(name)), api_value(before[name])) for name in names
        ]
        fields = listed(camel(name) for name in names if self._has_changed(name))
        phrase = _CHANGED if fields.english else _STALE
        who = self.by_name or _SOMEBODY
        return errors.Conflict(
            phrase.of(version=before["version"], expected=self.expected, fields=fields, who=who),
            conflict=errors.ConflictReason.CHANGED,
            field="expectedVersion",
            currentVersion=before["version"],
            changed=changed,
            changedAt=api_value(self.at),
            changedById=api_value(self.by_id),
            changedByName=self.by_name,
        )


def looked_for(stale: Iterable[tuple[Model, int]]) -> Params:
    """The parameters of `CHANGED_SINCE` for records of one model, each with the version that the caller saw."""
    records, seen = zip(*stale, strict=True)
    leads = [record.__dict__[str(record.timeline)] for record in records]
    ids = [str(record.__dict__["id"]) for record in records]
    versions = [record.__dict__["version"] for record in records]
    return [encode(values) for values in (records[0].entity, leads, ids, list(seen), versions)]


def stale_records(stale: Sequence[tuple[Model, int]], rows: Iterable[Mapping[str, Any]]) -> dict[int, StaleRecord]:
    """What others changed of each record, by its identity in this process, from the rows of `CHANGED_SINCE`."""
    found = {row["entity_id"]: row for row in rows}
    return {id(record): StaleRecord.of(record, seen, found.get(str(record.__dict__["id"]))) for record, seen in stale}


@cache
def _fields_of_several(model: type[Model]) -> tuple[frozenset[str], ...]:
    """The columns of each field that follows from several."""
    return tuple(choice.columns(model) for choice in model.derived_choices.values())


def api_value(value: Any) -> Any:
    """A column's value as the API shows it."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value) if isinstance(value, UUID) else value
