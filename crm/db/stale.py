"""Changes on top of a version that is not the current one: only what others changed since is in conflict.

Which fields that were is in the record's events, by their versions. Where some of these are gone (they are older than
the retention, or another program changed the record without any), every change is in conflict.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NoReturn
from uuid import UUID

from crm.core import errors
from crm.core.api_json import camel
from crm.core.language import Phrase
from crm.db.statement import Statement

# The newest events of the record's lead, of which those of the record are few or many: so the look has an end.
_MOST_EVENTS: Final = 1000
CHANGED_SINCE: Final = Statement(
    f"""
    SELECT latest.version, coalesce(array_agg(field ->> 'name') FILTER (WHERE field IS NOT NULL), '{{}}') AS names
    FROM (
      SELECT entity, entity_id, version, fields FROM events
      WHERE lead_id = $1::integer ORDER BY id DESC LIMIT {_MOST_EVENTS}
    ) AS latest LEFT JOIN LATERAL jsonb_array_elements(latest.fields) AS field ON true
    WHERE latest.entity = $2::text AND latest.entity_id = $3::text AND latest.version > $4::integer
    GROUP BY latest.version
    """  # noqa: S608  (a constant of ours)
)
_CHANGED: Final = Phrase(
    "The record is at version {version}, not {expected}: somebody changed {fields} meanwhile. Read it again.",
    "Posten har version {version}, inte {expected}: någon har ändrat {fields} under tiden. Läs den på nytt.",
)
_STALE: Final = Phrase(
    "The record is at version {version}, not {expected}: somebody changed it. Read it again.",
    "Posten har version {version}, inte {expected}: någon har ändrat den. Läs den på nytt.",
)


@dataclass(frozen=True)
class StaleRecord:
    """A record that others changed since the version that the caller saw."""

    expected: int
    # The fields that they changed, as the API spells them; None: any may be among them.
    changed: frozenset[str] | None

    @classmethod
    def of(cls, version: int, expected: int, rows: Iterable[Mapping[str, Any]]) -> "StaleRecord":
        """What changed from one version to another, by the rows of `CHANGED_SINCE`."""
        names = {row["version"]: row["names"] for row in rows}
        is_known = expected < version and all(number in names for number in range(expected + 1, version + 1))
        return cls(expected, frozenset(name for found in names.values() for name in found) if is_known else None)

    def check(self, before: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Refuse values that would overwrite somebody's change."""
        overwritten = [name for name in values if self.changed is None or camel(name) in self.changed]
        if overwritten:
            raise self._conflict(before, overwritten, values)

    def refuse_deletion(self, before: Mapping[str, Any]) -> NoReturn:
        """Refuse to delete the record: that would overwrite whatever was changed."""
        raise self._conflict(before, [name for name in before if camel(name) in (self.changed or ())], {})

    def _conflict(self, before: Mapping[str, Any], names: Sequence[str], values: Mapping[str, Any]) -> errors.Conflict:
        changed = [
            errors.ChangedField(camel(name), api_value(values.get(name)), api_value(before[name])) for name in names
        ]
        fields = ", ".join(change.field for change in changed)
        phrase = _STALE if self.changed is None or not fields else _CHANGED
        return errors.Conflict(
            phrase.of(version=before["version"], expected=self.expected, fields=fields),
            conflict=errors.ConflictReason.CHANGED,
            field="expectedVersion",
            currentVersion=before["version"],
            changed=changed,
        )


def api_value(value: Any) -> Any:
    """A column's value as the API shows it."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value) if isinstance(value, UUID) else value
