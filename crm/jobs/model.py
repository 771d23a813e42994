"""The table of event consumers' positions."""

from datetime import datetime

from sqlalchemy import BigInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.model import Model
from crm.core.policy import INTERNAL
from crm.db.events import Xid8


class ConsumerPosition(Model):
    """A consumer's position in the event stream: all events up to and including this one are done."""

    __tablename__ = "event_followers"
    policy = INTERNAL

    name: Mapped[str] = mapped_column(primary_key=True)
    xid: Mapped[int] = mapped_column(Xid8)
    id: Mapped[int] = mapped_column(BigInteger)
    # How many events the next batch may have; a failing batch gets smaller, until the event that fails is alone.
    batch: Mapped[int | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    failed_at: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    error: Mapped[str | None]
    skipped: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    updated_at: Mapped[datetime | None]
