"""Leases: a named piece of work belongs to one process at a time, by a row in the table `leases`.

A session's advisory lock would end with its connection, and a pooler shares connections among clients. A row with an
expiry needs no session, and is free again some time after its holder crashed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

import psycopg
from sqlalchemy.orm import Mapped, mapped_column

from crm.core import errors
from crm.core.language import Phrase
from crm.core.model import Model
from crm.core.policy import INTERNAL
from crm.db.database import Database
from crm.db.statement import Statement, encode


class Lease(Model):
    """The holder of a named lease, and the time until which no other process may take it."""

    __tablename__ = "leases"
    policy = INTERNAL

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[UUID]
    expires_at: Mapped[datetime]


_TAKE: Final = Statement(
    """
    INSERT INTO leases (name, holder, expires_at)
    VALUES ($1::text, $2::uuid, clock_timestamp() + make_interval(secs => $3::double precision))
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE leases.holder = excluded.holder OR leases.expires_at <= clock_timestamp()
    RETURNING 1
    """
)
_LEFT: Final = Statement(
    """
    SELECT greatest(ceil(extract(epoch FROM expires_at - clock_timestamp())), 1)::text
    FROM leases WHERE name = $1::text
    """
)
_GIVE_BACK: Final = Statement("DELETE FROM leases WHERE name = $1::text AND holder = $2::uuid")


_UNDER_WAY: Final = Phrase(
    "{name} is under way already; try again when that is done.", "{name} pågår redan; försök igen när det är klart."
)


class LockTaken(errors.Conflict):
    """Somebody else does this already; try again when that is done."""


class RowLock:
    """A lease that this process may hold; renew it before it expires.

    A process that comes back as the same `holder` gets its own lease at once, though it has not expired.
    """

    def __init__(self, database: Database, name: str, seconds: float, holder: UUID | None = None) -> None:
        self._database = database
        self._name = name
        self._seconds = seconds
        self._holder = holder or uuid4()

    async def renew(self) -> None:
        """Take the lease, or extend it; LockTaken if another holder has it."""
        params = [encode(self._name), encode(self._holder), encode(self._seconds)]
        if not (await self._database.write(_TAKE, params)).ntuples:
            message = _UNDER_WAY.of(name=self._name)
            raise LockTaken(message, conflict=errors.ConflictReason.BUSY)

    async def seconds_left(self) -> int:
        """The seconds until the present holder's lease expires, unless it is renewed."""
        result = await self._database.write(_LEFT, [encode(self._name)])
        return int(result.get_value(0, 0) or b"1") if result.ntuples else 1

    async def give_back(self) -> None:
        """Release the lease for others at once; if that fails, it expires."""
        with suppress(errors.CrmError, psycopg.Error):
            await self._database.write(_GIVE_BACK, [encode(self._name), encode(self._holder)])


@asynccontextmanager
async def lease(database: Database, name: str, *, seconds: float, holder: UUID | None = None) -> AsyncIterator[RowLock]:
    """Hold the lease of this name within the context; LockTaken if another holder has it."""
    lock = RowLock(database, name, seconds, holder)
    await lock.renew()
    try:
        yield lock
    finally:
        await lock.give_back()
