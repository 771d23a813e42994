"""The list of revoked tokens: ids of tokens that are refused although they have not expired."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import psycopg
from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.model import Model
from crm.core.policy import INTERNAL

# The namespace of ids for tokens without a `jti`: these are made from the token's text.
_NAMESPACE: Final = UUID("6f1c0f0e-3d0a-5a61-9e0b-7b8f0a4d2c11")
_REVOKE: Final = """
WITH expired AS (DELETE FROM revoked_tokens WHERE expires_at < now())
INSERT INTO revoked_tokens (id, expires_at) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""


class RevokedToken(Model):
    """A revoked token; the row is deleted once the token has expired."""

    __tablename__ = "revoked_tokens"
    policy = INTERNAL

    id: Mapped[UUID] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime] = mapped_column(server_default=func.now())


def token_id(token: str, claims: dict[str, Any]) -> UUID:
    """The id by which a token is revoked; ValueError if its `jti` is no UUID.

    Without a `jti` the id is made from the signed part alone: the signature can be spelled in several ways.
    """
    return UUID(str(claims["jti"])) if "jti" in claims else uuid5(_NAMESPACE, token.rpartition(".")[0])


def revoke(connection: psycopg.Connection[Any], key: UUID, expires_at: datetime) -> None:
    """Revoke a token. Each process refuses it from its next check of the token's user on."""
    connection.execute(_REVOKE, (key, expires_at))
