"""Tokens that are not taken any more, though they have not expired: a list of their ids."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import psycopg
from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.model import Model
from crm.core.policy import INTERNAL

# Tokens made before they had an id get one of their text.
_OF_TEXT: Final = UUID("6f1c0f0e-3d0a-5a61-9e0b-7b8f0a4d2c11")
_REVOKE: Final = """
WITH expired AS (DELETE FROM revoked_tokens WHERE expires_at < now())
INSERT INTO revoked_tokens (id, expires_at) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""


class RevokedToken(Model):
    """One token, until it would have expired anyhow."""

    __tablename__ = "revoked_tokens"
    policy = INTERNAL

    id: Mapped[UUID] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime] = mapped_column(server_default=func.now())


def token_id(token: str, claims: dict[str, Any]) -> UUID:
    """What a token is revoked by; ValueError if its `jti` is no UUID.

    One without is known by what its signature covers: the signature itself can be spelled in several ways.
    """
    return UUID(str(claims["jti"])) if "jti" in claims else uuid5(_OF_TEXT, token.rpartition(".")[0])


def revoke(connection: psycopg.Connection[Any], key: UUID, expires_at: datetime) -> None:
    """Take this token no more. Every process hears of it when it next looks at the token's user."""
    connection.execute(_REVOKE, (key, expires_at))
