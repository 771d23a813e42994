"""Idempotency keys: a create that is sent again with its key returns the record that it made, and makes no second one.

The key is claimed in the transaction of the create, by a statement that waits while another transaction has it: so a
create that fails leaves no key, and of two at once the second returns the record of the first. A create without a key
does nothing of this (docs/decisions/0041-idempotency-keys-of-creates.md).
"""

# ruff: noqa: S608

from collections.abc import Awaitable, Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import Index, Select, bindparam, func, select, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core import errors, validate
from crm.core.language import Phrase
from crm.core.model import Model
from crm.core.policy import INTERNAL
from crm.core.problems import FieldProblem
from crm.db.missing import missing
from crm.db.statement import Statement, encode
from crm.db.unit_of_work import UnitOfWork

M = TypeVar("M", bound=Model)
M_co = TypeVar("M_co", bound=Model, covariant=True)
BATCH: Final = 1000

_FIELD: Final = "idempotencyKey"
_REUSED: Final = Phrase(
    "This was sent before with other contents, and saved as {record}. Change that one instead.",
    "Det här har redan skickats med andra uppgifter och sparats som {record}. Ändra den i stället.",
)
_clean_key: Final = validate.key(200)


class IdempotencyKey(Model):
    """A key that a user created a record with; it is kept for a day (`CRM_IDEMPOTENCY_KEY_HOURS`)."""

    __tablename__ = "idempotency_keys"
    policy = INTERNAL

    created_by: Mapped[UUID] = mapped_column(primary_key=True)
    record_type: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    record_id: Mapped[int]
    # A hash of the input, by its columns' rules: the same again returns the record, any other is a conflict.
    fingerprint: Mapped[str]
    times: Mapped[int] = mapped_column(server_default=text("1"))  # that it was sent
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("idempotency_keys_created_at_idx", "created_at"),)


# Removes a batch of keys that were used so many hours ago.
FORGET: Final = Statement(
    """
    DELETE FROM idempotency_keys WHERE (created_by, record_type, key) IN (
      SELECT created_by, record_type, key FROM idempotency_keys
      WHERE created_at < now() - make_interval(hours => $1::integer)
      ORDER BY created_at LIMIT $2::integer FOR UPDATE SKIP LOCKED
    )
    """
)


class Make(Protocol[M_co]):
    """Makes a new record of some values; `columns` are set besides."""

    def __call__(self, values: Mapping[str, Any], **columns: Any) -> Awaitable[M_co]:
        """Add the record to the unit of work."""
        ...


async def once(
    unit_of_work: UnitOfWork, model: type[M], key: str | None, values: Mapping[str, Any], make: Make[M]
) -> M:
    """Make a record; with a key that its user made one of the model with before, return that record."""
    if key is None:
        return await make(values)
    claimed = _clean_key(_FIELD, key)
    cleaned, problems = validate.checked(values, model.rules)
    if problems:
        return await make(values)  # which finds them, and all others
    fingerprint = sha256(orjson.dumps(cleaned, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()
    params = [encode(value) for value in (unit_of_work.viewer.id, claimed, fingerprint)]
    (row,) = await unit_of_work.execute(_claim(model), params)
    if row["times"] == 1:
        return await make(values, id=row["record_id"])
    if row["fingerprint"] != fingerprint:
        raise _reused(model, row["record_id"])
    record = await unit_of_work.first(_by_id(model), model, key=row["record_id"])
    if record is None:
        raise missing(model, row["record_id"])
    return record


def _reused(model: type[Model], record_id: int) -> errors.Conflict:
    english, swedish = model.noun or (str(model.entity), str(model.entity))
    record = Phrase("{noun} {id}", "{noun} {id}").of(noun=Phrase(english, swedish), id=str(record_id))
    return errors.Conflict(
        _REUSED.of(record=record),
        conflict=errors.ConflictReason.KEY_REUSED,
        problem=FieldProblem.TAKEN,
        field=_FIELD,
        existingId=str(record_id),
    )


@cache
def _claim(model: type[Model]) -> Statement:
    """The statement that claims a key with the id of the record to be, or finds what it was used for."""
    return Statement(
        f"""
        INSERT INTO idempotency_keys AS claim (created_by, record_type, key, record_id, fingerprint)
        VALUES ($1::uuid, '{model.entity}', $2::text,
          nextval(pg_get_serial_sequence('{model.__table__.name}', 'id')), $3::text)
        ON CONFLICT (created_by, record_type, key) DO UPDATE SET times = claim.times + 1
        RETURNING record_id, fingerprint, times
        """
    )


@cache
def _by_id(model: type[Model]) -> Select[Any]:
    return select(model).where(model.__table__.c.id == bindparam("key"))
